import Resilience
import ServiceKit
import Storage

/// Proves that debits equal credits and that each balance is the sum of its entries (INV-11), while money moves.
///
/// A check is a row of short transactions between which requests are served. Each first adds up the entries that have come
/// since, and once there are none left compares a page of accounts in the same transaction, so that what it compares is of one
/// moment. One check runs at a time, and who asks meanwhile gets its outcome; who asks within a second after it, too. So
/// however often the public asks, it costs no more than one check does: the entries since the last one, and one look at each
/// account. A check that is not done after `maximumSteps` goes on when it is asked for again.
actor LedgerCheck {
    /// What a check has found.
    struct Report: Sendable {
        /// What was added up, until the last accounts were compared.
        var progress = LedgerSums.Progress()
        var accounts = 0
        /// How many accounts differ from their entries.
        var faultyAccounts = 0
        let at: Timestamp

        /// Whether all of the ledger is as it must be.
        var isBalanced: Bool {
            progress.faultyEntries == 0 && faultyAccounts == 0
                && progress.totals.values.allSatisfy { $0.debits == $0.credits }
        }
    }

    /// How many accounts one transaction compares.
    static let accountsPerStep = 500
    /// How many transactions one request may cause, of some milliseconds each.
    static let maximumSteps = 1000
    /// How long an outcome is given to others.
    static let freshness = Duration.seconds(1)

    private let environment: ServiceEnvironment
    private let sums = LedgerSums()
    private var report: Report
    private var cursor = Int64.min
    private var latest: (report: Report, at: Duration)?
    private var running: Task<Result<Report, any Error>, Never>?

    init(_ environment: ServiceEnvironment) {
        self.environment = environment
        report = Report(at: environment.time.now)
    }

    /// The outcome of a check that ended within the last second.
    ///
    /// - Throws: `Problem` when there is more to look at than one request may cause; or `StoreError`.
    func outcome() async throws -> Report {
        if let latest, environment.time.uptime - latest.at < Self.freshness { return latest.report }
        if let running { return try await running.value.get() }
        let task = environment.detach { await self.run() }
        running = task
        return try await task.value.get()
    }

    /// Accounts beside the sums of their entries, of one moment, for the audit.
    ///
    /// - Throws: `Problem` when there is more to add up than one request may cause; or `StoreError`.
    nonisolated func accounts(after number: Int64, limit: Int) async throws -> [CheckedAccount] {
        for _ in 0..<Self.maximumSteps {
            if let page = try await step(after: number, limit: limit).page { return page }
        }
        throw Problem.ledgerCheckRunning
    }

    private func run() async -> Result<Report, any Error> {
        defer { running = nil }
        do {
            for _ in 0..<Self.maximumSteps {
                let (progress, page) = try await step(after: cursor, limit: Self.accountsPerStep)
                guard let page else { continue }
                report.progress = progress
                report.accounts += page.count
                report.faultyAccounts += page.count { !$0.isSound }
                cursor = page.last?.number ?? cursor
                if page.count < Self.accountsPerStep { return .success(finish()) }
            }
            return .failure(Problem.ledgerCheckRunning)
        } catch {
            return .failure(error)
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

    private func finish() -> Report {
        let done = report
        latest = (done, environment.time.uptime)
        report = Report(at: environment.time.now)
        cursor = Int64.min
        return done
    }
}

extension Problem {
    static var ledgerCheckRunning: Problem {
        Problem(.ledgerCheckRunning, "There is more to add up than one request may; ask again, and the check goes on.")
    }
}
