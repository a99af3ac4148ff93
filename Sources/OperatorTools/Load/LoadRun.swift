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
            let wait = start - time.uptime
            if wait > .zero { try? await sleeper.sleep(for: wait) }
            await checkout(index, since: start)
        }
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
        case completed([UInt8])
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
        var bodies = Set<[UInt8]>()
        for case .completed(let answer) in endings { bodies.insert(answer) }
        let (took, isPaid) = (time.uptime - start, !bodies.isEmpty)
        note { report in
            report.took(took)
            if isPaid { return report.completed += 1 }
            switch endings.first {
            case .refused(let code): report.refused[code, default: 0] += 1
            case .completed, .unanswered, nil: report.unanswered += 1
            }
        }
        if habits.isReplayed, isPaid {
            note { $0.replayed += 1 }
            if case .completed(let again) = await ask(key, patience: nil) { bodies.insert(again) }
        }
        if bodies.count > 1 { note { $0.violated("key \(key) was answered with \(bodies.count) different orders") } }
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
        if response.status == 200 { return .definite(.completed(response.body)) }
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

/// A progress bar, as one line.
package enum ProgressBar {
    /// - Parameter share: done, from 0 to 1; nil when nobody knows how much there is.
    package static func line(_ share: Double?, _ report: LoadReport, width: Int) -> String {
        let rate = TopView.number(Double(report.ended) / max(report.seconds, 0.001))
        let text = " \(report.ended) checkouts  \(rate)/s"
        guard let share, width > text.count + 12 else { return String(text.prefix(max(0, width))) }
        let length = min(40, width - text.count - 8)
        let done = Int((min(max(share, 0), 1) * Double(length)).rounded(.down))
        let bar = String(repeating: "#", count: done) + String(repeating: ".", count: length - done)
        return "[\(bar)] \(Int(min(max(share, 0), 1) * 100)) %\(text)"
    }
}
