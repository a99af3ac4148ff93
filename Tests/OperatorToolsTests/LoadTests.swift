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
    final class FakeOrder: Transport {
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

        static func paid(_ key: String, charge: String? = nil, isReplay: Bool = false) -> Answer {
            let body = #"{"orderId":"o-\#(key)","status":"completed","chargeId":"\#(charge ?? "c-\(key)")"}"#
            return .success(ServiceResponse(status: 200, body: Array(body.utf8), isReplay: isReplay))
        }

        /// As it should be: executed once, then replayed.
        static func honest(_ key: String, _ number: Int) -> Answer { paid(key, isReplay: number > 1) }

        static func problem(_ status: Int, _ code: String, isRetryable: Bool) -> Answer {
            let body = #"{"code":"\#(code)","detail":"","retryable":\#(isRetryable)}"#
            return .success(ServiceResponse(status: status, body: Array(body.utf8)))
        }
    }

    /// What Order tells an audit: which of the orders that were asked for it has, and how they stand.
    private final class FakeBooks: Transport {
        private let order: @Sendable (_ id: String) -> (status: String, charge: String)?
        private let asked = Mutex<[Int]>([])
        /// How many orders were asked for, in each request.
        var requests: [Int] { asked.withLock { $0 } }

        init(_ order: @escaping @Sendable (String) -> (status: String, charge: String)?) { self.order = order }

        func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
            let ids = request.url.split(separator: "?")[1].split(separator: "&").map { String($0.dropFirst(3)) }
            asked.withLock { $0.append(ids.count) }
            let entries = ids.compactMap { id in
                order(id).map { status, charge in
                    """
                    {"orderId":"\(id)","user":"","status":"\(status)","key":"k","saga":{"step":"\(status)",\
                    "status":"\(status)","reservationId":"r","chargeId":"\(charge)","refundId":"f",\
                    "lines":[{"itemId":1,"quantity":1}]},"createdAtMs":0,"updatedAtMs":0}
                    """
                }
            }
            let body = #"{"readAtMs":0,"entries":[\#(entries.joined(separator: ","))],"nextCursor":null}"#
            return ServiceResponse(status: 200, body: Array(body.utf8))
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
        let order = FakeOrder { FakeOrder.honest($0, $1) }
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
            default: FakeOrder.paid(key, isReplay: true)
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
        let order = FakeOrder { key, number in FakeOrder.paid("\(key)-\(number)", isReplay: number > 1) }
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

    @Test(
        "a replay must be the same 200 and say that it is one: another answer, none, or a second execution is a fault",
        arguments: [
            ("and not as a replay", FakeOrder { key, _ in FakeOrder.paid(key) }),
            ("different orders", FakeOrder { FakeOrder.paid($0, charge: "c-\($1)", isReplay: $1 > 1) }),
            (
                "and then payment-declined",
                FakeOrder { key, number in
                    number == 1
                        ? FakeOrder.paid(key) : FakeOrder.problem(402, "payment-declined", isRetryable: false)
                }
            ),
            (
                "and then not any more",
                FakeOrder { key, number in number == 1 ? FakeOrder.paid(key) : .failure(.notSent("refused")) }
            ),
        ])
    func replays(_ fault: String, _ order: FakeOrder) async {
        let report = await run(
            settings {
                $0.count = 3; $0.replays = 1
            }, order)
        #expect(report.completed == 3 && report.replayed == 3)
        #expect(report.violationCount == 3, "\(report.violations)")
        #expect(report.violations.allSatisfy { $0.contains(fault) })
    }

    @Test("of two that are sent at once one is executed; that both are is a fault, and so is a 200 that is no receipt")
    func duplicates() async {
        let twice = settings {
            $0.count = 2; $0.duplicates = 1
        }
        #expect(await run(twice, FakeOrder { FakeOrder.honest($0, $1) }).violations.isEmpty)
        let both = await run(twice, FakeOrder { key, _ in FakeOrder.paid(key) })
        #expect(both.violations == ["key run-0 was executed twice", "key run-1 was executed twice"])
        let empty = FakeOrder { _, _ in .success(ServiceResponse(status: 200, body: Array("{}".utf8))) }
        #expect(await run(settings { $0.count = 1 }, empty).violations.count == 1)
    }

    @Test("each order that was answered as completed is looked for: one that is lost, or is another one, is a fault")
    func acknowledged() async throws {
        let settings = settings { $0.count = 130 }
        let sleeper = RecordingSleeper(advancing: time, maximum: 10_000)
        let run = LoadRun(
            settings, transport: FakeOrder { FakeOrder.honest($0, $1) }, sleeper: sleeper, time: time)
        #expect(await run.run().violationCount == 0)
        let lying = FakeBooks { id in
            switch id {
            case "o-run-7": nil
            case "o-run-70": ("failed", "c-run-70")
            case "o-run-129": ("completed", "another")
            default: ("completed", "c-\(id.dropFirst(2))")
            }
        }
        let report = try await run.checkAcknowledged(at: OperatorClient("http://order", transport: lying))
        #expect(lying.requests == [64, 64, 2])
        #expect(report.checked?.orders == 130 && report.checked?.acknowledged == 130)
        #expect(
            report.violations == [
                "key run-7 was answered with order o-run-7, and Order has no such order",
                "key run-70 was answered with order o-run-70, and the order is failed",
                "key run-129 was answered with order o-run-129, and the order has another charge than its client was told",
            ])
        #expect(report.text.contains("looked for    130 orders that were answered as completed"))
    }

    /// Moves the clock, and does something with its fifth sleep.
    private struct InterruptedSleeper: Sleeper {
        let time: ManualTime
        let sleeps = SleepCount()
        let interrupt: @Sendable () -> Void

        final class SleepCount: Sendable {
            let value = Mutex(0)
        }

        func sleep(for duration: Duration) async throws {
            time.advance(by: duration)
            let count = sleeps.value.withLock { count in
                count += 1
                return count
            }
            if count == 5 { interrupt() }
        }
    }

    @Test("when it is stopped, a client that waits for its checkout's time does not begin it, and does not wait on")
    func stop() async {
        let holder = Mutex<LoadRun?>(nil)
        let sleeper = InterruptedSleeper(time: time) { holder.withLock { $0 }?.stop() }
        let hourly = settings { $0.rate = 1.0 / 3600 }
        let order = FakeOrder { FakeOrder.honest($0, $1) }
        let run = LoadRun(hourly, transport: order, sleeper: sleeper, time: time)
        holder.withLock { $0 = run }
        let begun = time.uptime
        #expect(await run.run().completed == 1)
        #expect(order.requests.count == 1)
        #expect(time.uptime - begun <= LoadRun.longestDoze * 5)
    }

    @Test("sends the share that it is told twice, again, or impatiently; the same ones for the same seed")
    func habits() async {
        let all = settings {
            $0.duplicates = 1; $0.replays = 1; $0.abandoned = 1
        }
        let order = FakeOrder { FakeOrder.honest($0, $1) }
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
        #expect(JSONNode(reading: report.json)["latencyMilliseconds"]?["p100"] != nil)
    }
}
