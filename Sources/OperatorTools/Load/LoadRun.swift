import AuditAPI
import Correlation
import Resilience
import ServiceClient
import StrictJSON
import Synchronization

/// Drives checkouts as clients do who want to know how each has ended: whoever gets no definite answer asks again, under the
/// same key.
package final class LoadRun: Sendable {
    /// How often a client asks for one checkout.
    static let maximumAttempts = 20
    /// The longest wait between two askings.
    static let longestWait = Duration.seconds(5)
    /// How long a patient client waits for an answer: longer than nginx.
    static let patience = Duration.seconds(60)
    /// So soon at the latest a client that waits for its turn notices that the run is stopped.
    static let longestDoze = Duration.milliseconds(200)
    /// Of so many orders that were answered as completed the ids are kept, the first ones, to look for them at the end: some 20 MB.
    package static let maximumKept = 100_000

    private let settings: LoadSettings
    private let transport: any Transport
    private let sleeper: any Sleeper
    private let time: any TimeSource
    private let state: Mutex<State>
    private let began: Duration

    private struct State {
        var next = 0
        var isStopped = false
        var report = LoadReport()
        var receipts: [Receipt] = []
        var acknowledged = 0
    }

    package init(
        _ settings: LoadSettings, transport: any Transport, sleeper: any Sleeper = ClockSleeper(),
        time: any TimeSource = SystemTime()
    ) {
        self.settings = settings
        self.transport = transport
        self.sleeper = sleeper
        self.time = time
        state = Mutex(State())
        began = time.uptime
    }

    /// What has happened so far.
    package var report: LoadReport {
        state.withLock { state in
            state.report.seconds = (time.uptime - began).inSeconds
            return state.report
        }
    }

    /// No checkout begins any more; those under way end.
    package func stop() { state.withLock { $0.isStopped = true } }

    private var isStopped: Bool { state.withLock { $0.isStopped } }

    /// Looks for the orders that were answered as completed, and notes each that is not there, is not completed, or has another
    /// charge than its client was told. - Throws: `ToolError` when Order cannot be asked.
    package func checkAcknowledged(at order: OperatorClient) async throws(ToolError) -> LoadReport {
        let (receipts, acknowledged) = state.withLock { ($0.receipts, $0.acknowledged) }
        var rest = receipts[...]
        while !rest.isEmpty {
            let some = rest.prefix(AuditLimits.ids)
            rest = rest.dropFirst(some.count)
            let found = try await order.orders(some.map(\.orderID))
            for receipt in some {
                guard let fault = receipt.fault(found[receipt.orderID]) else { continue }
                note { $0.violated("key \(receipt.key) was answered with order \(receipt.orderID), \(fault)") }
            }
        }
        note { $0.checked = (receipts.count, acknowledged) }
        return report
    }

    /// Runs until every checkout of the run has ended.
    package func run() async -> LoadReport {
        await withTaskGroup { group in
            for _ in 0..<settings.clients { group.addTask { await self.client() } }
        }
        return report
    }

    private func client() async {
        while let index = nextIndex() {
            let start = settings.start(of: index).map { began + $0 } ?? time.uptime
            guard await doze(until: start) else { return }
            await checkout(index, since: start)
        }
    }

    /// Waits for a checkout's time, in short sleeps. - Returns: false when the run is stopped meanwhile.
    private func doze(until start: Duration) async -> Bool {
        while case let wait = start - time.uptime, wait > .zero {
            guard !isStopped else { return false }
            try? await sleeper.sleep(for: min(wait, Self.longestDoze))
        }
        return !isStopped
    }

    private func nextIndex() -> Int? {
        let elapsed = time.uptime - began
        return state.withLock { state in
            guard !state.isStopped, settings.includes(state.next, elapsed: elapsed) else { return nil }
            defer { state.next += 1 }
            return state.next
        }
    }

    // MARK: - One checkout

    /// How a client's asking has ended.
    private enum Ending: Equatable {
        case completed(ServiceResponse)
        case refused(String)
        case unanswered
    }

    private func checkout(_ index: Int, since start: Duration) async {
        let habits = settings.habits(of: index)
        let key = "\(settings.name)-\(index)"
        note { report in
            if habits.isDuplicated { report.duplicated += 1 }
            if habits.patience != nil { report.abandoned += 1 }
        }
        let endings = await withTaskGroup { group in
            for _ in 0..<(habits.isDuplicated ? 2 : 1) {
                group.addTask { await self.ask(key, patience: habits.patience) }
            }
            return await group.reduce(into: [Ending]()) { $0.append($1) }
        }
        var answers: [ServiceResponse] = []
        for case .completed(let answer) in endings { answers.append(answer) }
        let took = time.uptime - start
        note { report in
            report.took(took)
            if !answers.isEmpty { return report.completed += 1 }
            switch endings.first {
            case .refused(let code): report.refused[code, default: 0] += 1
            case .completed, .unanswered, nil: report.unanswered += 1
            }
        }
        guard let first = answers.first else { return }
        keep(first, of: key)
        if answers.count(where: { !$0.isReplay }) > 1 { note { $0.violated("key \(key) was executed twice") } }
        if habits.isReplayed, let again = await replay(key) { answers.append(again) }
        let bodies = Set(answers.map(\.body))
        if bodies.count > 1 { note { $0.violated("key \(key) was answered with \(bodies.count) different orders") } }
    }

    /// Asks once more for what was answered as completed (IK-11).
    private func replay(_ key: String) async -> ServiceResponse? {
        note { $0.replayed += 1 }
        switch await ask(key, patience: nil) {
        case .completed(let again):
            if !again.isReplay { note { $0.violated("key \(key) was answered 200 again, and not as a replay") } }
            return again
        case .refused(let code): note { $0.violated("key \(key) was answered 200, and then \(code)") }
        case .unanswered: note { $0.violated("key \(key) was answered 200, and then not any more") }
        }
        return nil
    }

    /// Remembers what a client was told, to look for it at the end.
    private func keep(_ answer: ServiceResponse, of key: String) {
        guard let receipt = Receipt(answer.body, key: key) else {
            return note { $0.violated("key \(key): 200 without a completed order, its id and its charge") }
        }
        state.withLock { state in
            state.acknowledged += 1
            if state.receipts.count < Self.maximumKept { state.receipts.append(receipt) }
        }
    }

    /// Asks until the answer is definite, or often enough.
    private func ask(_ key: String, patience: Duration?) async -> Ending {
        var patience = patience
        for attempt in 1...Self.maximumAttempts {
            let request = ServiceRequest(
                method: "POST", url: settings.url,
                headers: [.init("Content-Type", "application/json"), .init("Idempotency-Key", key)],
                body: body, timeout: patience ?? Self.patience)
            patience = nil
            note { $0.requests += 1 }
            let wait: Duration
            do {
                let response = try await transport.send(request)
                switch judge(response, key) {
                case .definite(let ending): return ending
                case .again(let why):
                    note { $0.repeated[why, default: 0] += 1 }
                    wait = min(response.retryAfter ?? .milliseconds(100), Self.longestWait)
                }
            } catch {
                note { $0.repeated[error.words, default: 0] += 1 }
                wait = .milliseconds(min(1000, 20 * attempt))
            }
            if attempt < Self.maximumAttempts { try? await sleeper.sleep(for: wait) }
        }
        return .unanswered
    }

    private enum Judgement {
        case definite(Ending)
        case again(String)
    }

    private func judge(_ response: ServiceResponse, _ key: String) -> Judgement {
        if response.status == 200 { return .definite(.completed(response)) }
        let problem = try? JSONParser.parse(response.body)
        guard let code = problem?.text("code") else {
            note { $0.violated("key \(key): \(response.status) without a problem document") }
            return .again("no problem document")
        }
        // A duplicate that came first may have been refused, and this one executed: only what may not be repeated is an end.
        if problem?.flag("retryable") == true { return .again(code) }
        if response.status >= 500 || code == "idempotency-key-reused" {
            note { $0.violated("key \(key): \(response.status) \(code)") }
        }
        return .definite(.refused(code))
    }

    private var body: [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.integer("itemId", settings.item)
                json.integer("quantity", settings.quantity)
                if let method = settings.method { json.string("method", method) }
            }
        }
    }

    private func note(_ change: (inout LoadReport) -> Void) { state.withLock { change(&$0.report) } }
}
