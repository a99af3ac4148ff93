import Histogram
import Resilience
import ServiceClient
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import OperatorTools

@Suite("checkout load", .timeLimit(.minutes(5)))
struct LoadTests {
    /// Order, as far as a client sees it: an answer for each request, made from its key and its number.
    private final class FakeOrder: Transport {
        typealias Answer = Result<ServiceResponse, TransportError>

        private let answer: @Sendable (_ key: String, _ number: Int) -> Answer
        private let asked = Mutex<[String: Int]>([:])
        var requests: [String: Int] { asked.withLock { $0 } }

        init(_ answer: @escaping @Sendable (String, Int) -> Answer) { self.answer = answer }

        func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
            let key = request.headers.first { $0.name == "Idempotency-Key" }?.value ?? ""
            let number = asked.withLock { asked in
                asked[key, default: 0] += 1
                return asked[key, default: 0]
            }
            return try answer(key, number).get()
        }

        static func paid(_ key: String) -> Answer { .success(ServiceResponse(status: 200, body: Array(key.utf8))) }

        static func problem(_ status: Int, _ code: String, isRetryable: Bool) -> Answer {
            let body = #"{"code":"\#(code)","detail":"","retryable":\#(isRetryable)}"#
            return .success(ServiceResponse(status: status, body: Array(body.utf8)))
        }
    }

    private let time = ManualTime()

    private func settings(_ change: (inout LoadSettings) -> Void = { _ in }) -> LoadSettings {
        var settings = LoadSettings(url: "http://order/checkout", clients: 1, count: 10, name: "run", seed: 1)
        change(&settings)
        return settings
    }

    private func run(_ settings: LoadSettings, _ order: FakeOrder) async -> LoadReport {
        let sleeper = RecordingSleeper(advancing: time, maximum: 10_000)
        return await LoadRun(settings, transport: order, sleeper: sleeper, time: time).run()
    }

    @Test("makes as many checkouts as it is told, each with a key of its own")
    func count() async {
        let order = FakeOrder { key, _ in FakeOrder.paid(key) }
        let report = await run(settings { $0.clients = 4 }, order)
        #expect(report.completed == 10)
        #expect(report.requests == 10)
        #expect(order.requests.count == 10)
        #expect(report.violationCount == 0)
        #expect(report.latency.totalCount == 10)
    }

    @Test("asks again under the same key until the outcome is definite")
    func retries() async {
        let order = FakeOrder { key, number in
            switch number {
            case 1: .failure(.timedOut)
            case 2: FakeOrder.problem(504, "outcome-unknown", isRetryable: true)
            case 3: FakeOrder.problem(409, "request-in-progress", isRetryable: true)
            default: FakeOrder.paid(key)
            }
        }
        let report = await run(settings { $0.count = 3 }, order)
        #expect(report.completed == 3)
        #expect(order.requests.values.allSatisfy { $0 == 4 })
        #expect(report.repeated == ["no answer in time": 3, "outcome-unknown": 3, "request-in-progress": 3])
    }

    @Test("what nobody answers is told as unanswered, after a bounded number of askings")
    func unanswered() async {
        let order = FakeOrder { _, _ in .failure(.notSent("refused")) }
        let report = await run(settings { $0.count = 1 }, order)
        #expect(report.unanswered == 1)
        #expect(report.requests == LoadRun.maximumAttempts)
    }

    @Test("a refusal is an end and no fault; two orders of one key, an answer that is no problem, and a 500 are faults")
    func violations() async {
        let refused = await run(
            settings { $0.count = 1 },
            FakeOrder { _, _ in FakeOrder.problem(402, "payment-declined", isRetryable: false) })
        #expect(refused.refused == ["payment-declined": 1])
        #expect(refused.violationCount == 0)
        let order = FakeOrder { key, number in FakeOrder.paid("\(key) \(number)") }
        let twice = await run(
            settings {
                $0.count = 2; $0.replays = 1
            }, order)
        #expect(twice.violationCount == 2)
        #expect(twice.violations.first?.contains("different orders") == true)
        let broken = await run(
            settings { $0.count = 1 },
            FakeOrder { _, _ in FakeOrder.problem(500, "internal-error", isRetryable: false) })
        #expect(broken.violations == ["key run-0: 500 internal-error"])
        let html = FakeOrder { key, number in
            number == 1 ? .success(ServiceResponse(status: 502, body: Array("<html>".utf8))) : FakeOrder.paid(key)
        }
        #expect(await run(settings { $0.count = 1 }, html).violationCount == 1)
    }

    @Test("sends the share that it is told twice, again, or impatiently; the same ones for the same seed")
    func habits() async {
        let all = settings {
            $0.duplicates = 1; $0.replays = 1; $0.abandoned = 1
        }
        let order = FakeOrder { key, _ in FakeOrder.paid(key) }
        let report = await run(all, order)
        #expect((report.duplicated, report.replayed, report.abandoned) == (10, 10, 10))
        #expect(report.requests == 30)
        let some = settings {
            $0.duplicates = 0.3; $0.seed = 7
        }
        let duplicated = (0..<10_000).count { some.habits(of: $0).isDuplicated }
        #expect((2700...3300).contains(duplicated))
        #expect((0..<100).allSatisfy { some.habits(of: $0) == some.habits(of: $0) })
    }

    @Test("at a rate, a checkout's time counts from when it was to begin, however late it could")
    func coordinatedOmission() async {
        let time = time
        // Every answer takes a second, and ten a second are to begin: the tenth waits nine seconds for its turn.
        let order = FakeOrder { key, _ in
            time.advance(by: .seconds(1))
            return FakeOrder.paid(key)
        }
        let report = await run(settings { $0.rate = 10 }, order)
        let longest = Double(report.latency.valueAtPercentile(100)) / 1_000_000
        #expect(abs(longest - (10 - 0.9)) < 0.1)
    }

    @Test("ends when its time is over")
    func duration() {
        let timed = settings {
            $0.count = nil; $0.duration = .seconds(2); $0.rate = 10
        }
        #expect(timed.includes(19, elapsed: .zero))
        #expect(!timed.includes(20, elapsed: .zero))
        let closed = settings {
            $0.count = nil; $0.duration = .seconds(2)
        }
        #expect(closed.includes(1_000_000, elapsed: .seconds(1)))
        #expect(!closed.includes(0, elapsed: .seconds(2)))
    }

    @Test("the progress bar is never wider than the terminal")
    func bar() {
        var report = LoadReport()
        report.completed = 50
        report.seconds = 2
        #expect(
            ProgressBar.line(0.5, report, width: 80).hasPrefix("[####################....................] 50 % 50"))
        for width in [0, 1, 10, 40, 200] {
            for share in [nil, 0, 0.5, 1, 7] as [Double?] {
                #expect(ProgressBar.line(share, report, width: width).count <= width)
            }
        }
    }

    @Test("the report has its percentiles and a bar for each doubling of the time")
    func report() {
        var report = LoadReport()
        for milliseconds in 1...100 { report.took(.milliseconds(milliseconds)) }
        report.completed = 100
        report.seconds = 10
        let text = report.text
        #expect(text.hasPrefix("100 checkouts in 10.0 s, 10.0/s\ncompleted     100"))
        #expect(text.contains("p50     50.0 ms"))
        #expect(text.contains("up to 64.0 ms"))
        #expect(report.json["latencyMilliseconds"]?["p100"] != nil)
    }
}
