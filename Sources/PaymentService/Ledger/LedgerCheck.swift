import CoreMetrics
import Logging
import Resilience
import ServiceKit
import Storage

/// Proves that debits equal credits and that each balance is the sum of its entries (INV-11), while money moves.
///
/// A check is a row of short transactions between which requests are served. Each first adds up the entries that have come
/// since, and once there are none left compares a page of accounts in the same transaction, so that what it compares is of one
/// moment. One check runs at a time, for all who ask meanwhile, and to its end whether or not anybody still waits for it. Its
/// outcome is given to others for a second, or for as long as it took. So however often the public asks, Payment spends a
/// quarter of its time on it at the most: a check pauses for as long as it works, and then not less than that passes to the next. While
/// nobody waits it pauses nine times as long: after a start it goes through all entries once, which with millions is minutes.
actor LedgerCheck {
    /// What a check has found.
    struct Report: Sendable {
        /// What was added up, until the last accounts were compared.
        var progress = LedgerSums.Progress()
        var accounts = 0
        /// How many accounts differ from their entries.
        var faultyAccounts = 0
        /// When it began to look: what was committed before then is in it.
        let at: Timestamp

        /// Whether all of the ledger is as it must be.
        var isBalanced: Bool {
            progress.faultyEntries == 0 && faultyAccounts == 0
                && progress.totals.values.allSatisfy { $0.debits == $0.credits }
        }
    }

    /// How many accounts one transaction compares.
    static let accountsPerStep = 500
    /// How long an outcome is given to others, at the least and at the most.
    static let freshness = (least: Duration.seconds(1), most: Duration.seconds(600))
    /// How long a request waits for a check that is under way, unless another time is given.
    static let patience = Duration.seconds(5)
    /// How often it is made when nobody asks for it.
    static let interval = Duration.seconds(600)
    /// How many times as long as a step the pause after it is while nobody waits.
    static let pausesUnasked = 9
    /// How many requests may wait for it; more are told at once that it is running.
    static let maximumWaiting = 1024

    private let environment: ServiceEnvironment
    private let patience: Duration
    private let sums = LedgerSums()
    private var latest: (report: Report, until: Duration)?
    private var isRunning = false
    private var waiting: [Waiter] = []

    private struct Waiter {
        let since: Duration
        let continuation: CheckedContinuation<Report, any Error>
    }

    init(_ environment: ServiceEnvironment, patience: Duration = LedgerCheck.patience) {
        self.environment = environment
        self.patience = patience
    }

    /// The outcome of the check that ended last, if that was just now, or else of the one that is under way or begins now.
    ///
    /// - Throws: `Problem` when it takes longer than a request may wait: it goes on meanwhile; or `StoreError`.
    func outcome() async throws -> Report {
        let now = environment.time.uptime
        if let latest, now < latest.until { return latest.report }
        if !isRunning {
            isRunning = true
            environment.detach { await self.run() }
        }
        guard waiting.count < Self.maximumWaiting else { throw Problem.ledgerCheckRunning }
        return try await withCheckedThrowingContinuation { waiting.append(Waiter(since: now, continuation: $0)) }
    }

    /// Accounts beside the sums of their entries, of one moment, for the audit.
    ///
    /// - Throws: `Problem` when there is more to add up than a request may wait for: what was added up stays so; or `StoreError`.
    nonisolated func accounts(after number: Int64, limit: Int) async throws -> [CheckedAccount] {
        try await upToDate(after: number, limit: limit).page
    }

    /// What all entries add up to, for the audit. - Throws: as `accounts`.
    nonisolated func entries() async throws -> LedgerSums.Progress {
        try await upToDate(after: Int64.max, limit: 0).progress
    }

    private nonisolated func upToDate(
        after number: Int64, limit: Int
    ) async throws -> (progress: LedgerSums.Progress, page: [CheckedAccount]) {
        let start = environment.time.uptime
        var found: (LedgerSums.Progress, [CheckedAccount])?
        try await environment.stepByStep {
            let (progress, page) = try await step(after: number, limit: limit)
            found = page.map { (progress, $0) }
            return found == nil && environment.time.uptime - start < patience
        }
        guard let found else { throw Problem.ledgerCheckRunning }
        return found
    }

    /// Begins a check unless one is under way or has just ended; nobody waits for it. What it finds is told to the log and the metrics.
    func begin() {
        guard !isRunning, environment.time.uptime >= latest?.until ?? .zero else { return }
        isRunning = true
        environment.detach { await self.run() }
    }

    // MARK: - The check

    /// Ends because it has a bound: it adds up entries faster than they can be made, and then goes through the accounts once.
    private func run() async {
        let start = environment.time.uptime
        var report = Report(at: environment.time.now)
        var cursor = Int64.min
        do {
            try await environment.stepByStep(pauses: { waiting.isEmpty ? Self.pausesUnasked : 1 }) {
                let (progress, page) = try await step(after: cursor, limit: Self.accountsPerStep)
                dismissImpatient()
                guard let page else { return true }
                report.progress = progress
                report.accounts += page.count
                report.faultyAccounts += page.count { !$0.isSound }
                cursor = page.last?.number ?? cursor
                return page.count == Self.accountsPerStep
            }
            tell(report)
            let now = environment.time.uptime
            latest = (report, now + min(max(now - start, Self.freshness.least), Self.freshness.most))
            end(.success(report))
        } catch {
            // Nothing of it is kept: the next one looks at every account anew. Perhaps nobody waits who would be told.
            environment.logger.warning("the ledger could not be checked", metadata: ["error": .string("\(error)")])
            end(.failure(error))
        }
    }

    /// One transaction: adds entries up, and gives a page of accounts if no entries are left.
    private nonisolated func step(
        after number: Int64, limit: Int
    ) async throws -> (progress: LedgerSums.Progress, page: [CheckedAccount]?) {
        try await environment.store.transaction { [sums] transaction in
            let progress = try sums.advance(in: transaction)
            guard progress.isUpToDate else { return (progress, nil) }
            return (progress, try sums.accounts(after: number, limit: limit, in: transaction))
        }
    }

    private func dismissImpatient() {
        let earliest = environment.time.uptime - patience
        let impatient = waiting.filter { $0.since <= earliest }
        guard !impatient.isEmpty else { return }
        waiting.removeAll { $0.since <= earliest }
        for waiter in impatient { waiter.continuation.resume(throwing: Problem.ledgerCheckRunning) }
    }

    private func end(_ outcome: Result<Report, any Error>) {
        isRunning = false
        let waiters = waiting
        waiting = []
        for waiter in waiters { waiter.continuation.resume(with: outcome) }
    }

    /// Whoever asked may be anybody: that the books are wrong is for the operator, once until they are right again.
    private func tell(_ report: Report) {
        // Made with the first outcome: before that nobody knows.
        Meter(label: "ledger_balanced", factory: environment.metrics).set(report.isBalanced ? 1 : 0)
        guard !report.isBalanced, latest?.report.isBalanced ?? true else { return }
        environment.logger.critical(
            "the ledger is out of balance",
            metadata: [
                "faulty_entries": .stringConvertible(report.progress.faultyEntries),
                "faulty_accounts": .stringConvertible(report.faultyAccounts),
            ])
    }
}

extension Problem {
    static var ledgerCheckRunning: Problem {
        Problem(.ledgerCheckRunning, "The ledger is long and the check still at work: it goes on, so ask again.")
    }
}
