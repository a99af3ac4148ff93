import Resilience
import StrictJSON
import TestSupport
import Testing

@testable import OperatorTools

@Suite("checkout top")
struct TopTests {
    private static func order(completed: Int, fast: Int, slow: Int, cpu: Double = 1) -> MetricsText {
        MetricsText(
            """
            # HELP checkout_total Checkouts that have ended.
            checkout_total{outcome="completed"} \(completed)
            checkout_total{outcome="unavailable"} 4
            checkout_sagas{state="charging"} 3
            checkout_sagas{state="parked"} 1
            checkout_limbo_minor_units{currency="USD",state="parked"} 2000
            checkout_limbo_minor_units{currency="USD",state="waiting"} 0
            circuit_breaker_state{target="payment"} 2
            circuit_breaker_state{target="stock"} 0
            http_server_request_duration_seconds_bucket{http_route="/checkout",http_response_status_code="200",le="0.005"} \(fast)
            http_server_request_duration_seconds_bucket{http_route="/checkout",http_response_status_code="200",le="0.01"} \(fast + slow)
            http_server_request_duration_seconds_bucket{http_route="/checkout",http_response_status_code="200",le="+Inf"} \(fast + slow)
            http_server_request_duration_seconds_count{http_route="/checkout",http_response_status_code="200"} \(fast + slow)
            http_server_request_duration_seconds_count{http_route="/checkout",http_response_status_code="503"} 4
            process_cpu_seconds_total \(cpu)
            process_resident_memory_bytes 10485760
            """)
    }

    private let reading = TopReading(
        from: TopSample(at: .seconds(10), services: ["order": order(completed: 100, fast: 50, slow: 50)]),
        to: TopSample(
            at: .seconds(12), services: ["order": order(completed: 300, fast: 150, slow: 150, cpu: 2)]))

    @Test("rates and quantiles are of what happened between two readings")
    func rates() {
        #expect(reading.seconds == 2)
        #expect(reading.outcomes == ["completed": 100])
        #expect(reading.p50 == 0.005)
        #expect(abs((reading.p99 ?? 0) - 0.0099) < 0.000_001)
        #expect(reading.sagas == ["charging": 3, "parked": 1])
        #expect(reading.limbo == [.init(state: "parked", currency: "USD", minorUnits: 2000)])
        #expect(reading.breakers == ["payment": 2, "stock": 0])
        #expect(reading.services[0].requests == 100)
        #expect(reading.services[0].errors == 0)
        #expect(reading.services[0].processor == 0.5)
        #expect(reading.services.map(\.isUp) == [true, false, false])
        #expect(reading.isTroubled)
    }

    @Test("counters that begin anew with their process count nothing, and not less than nothing")
    func restarted() {
        let reading = TopReading(
            from: TopSample(at: .seconds(1), services: ["order": Self.order(completed: 900, fast: 9, slow: 9)]),
            to: TopSample(at: .seconds(2), services: ["order": Self.order(completed: 1, fast: 1, slow: 0)]))
        #expect(reading.outcomes.isEmpty)
        #expect(reading.p99 == nil)
        #expect(reading.services[0].requests == 0)
    }

    @Test("the screen fits, whatever its size, and has escapes only where colours are wanted")
    func screen() {
        for (width, height) in [(80, 24), (30, 5), (200, 60), (10, 8), (1, 1)] {
            let plain = TopView(width: width, height: height, hasColour: false).lines(reading, title: "top")
            #expect(plain.count <= max(1, height))
            #expect(plain.allSatisfy { $0.count <= width })
            #expect(!plain.joined().contains("\u{1B}"))
        }
        let lines = TopView(width: 80, height: 40, hasColour: true).lines(reading, title: "top")
        #expect(lines.contains { $0.hasPrefix("\u{1B}[31m") && $0.contains("payment open") })
        #expect(lines.contains { $0.contains("parked 20.00 USD") })
        #expect(lines.contains { $0.contains("100/s   p50 5.0 ms   p99 9.9 ms") })
        #expect(lines.contains { $0.contains("no answer") })
    }

    private static func payment(breaker: Int, open: Int, due: Int, balanced: String = "1") -> TopReading {
        let text = MetricsText(
            """
            circuit_breaker_state{target="stripe"} \(breaker)
            circuit_breaker_state{target="paypal"} 0
            payments_open{provider="stripe"} \(open)
            payments_open{provider="paypal"} 5
            payments_oldest_due_seconds{provider="stripe"} \(due)
            payment_dead_letters 3
            ledger_balanced \(balanced)
            """)
        let quiet = MetricsText("up 1")
        let sample = TopSample(at: .seconds(1), services: ["order": quiet, "stock": quiet, "payment": text])
        return TopReading(from: sample, to: sample)
    }

    @Test("a service that is not ready, or whose store fails, is trouble and says so in its row")
    func unready() {
        let quiet = MetricsText("")
        let services = ["order": quiet, "stock": quiet, "payment": quiet]
        let before = TopSample(at: .seconds(1), services: services)
        #expect(!TopReading(from: before, to: before).isTroubled)
        let full = TopReading(
            from: before, to: TopSample(at: .seconds(2), services: services, unready: ["stock": "unready"]))
        #expect(full.isTroubled)
        let view = TopView(width: 80, height: 40, hasColour: false)
        #expect(view.lines(full, title: "top").contains { $0.hasPrefix("stock (unready)") })
        let json = String(decoding: JSONWriter.bytes { $0.value(full.json) }, as: UTF8.self)
        #expect(json.contains(#""unready":"unready""#))
        var failing = services
        failing["payment"] = MetricsText(#"store_transaction_failures_total{error_type="full"} 3"#)
        let failed = TopReading(from: before, to: TopSample(at: .seconds(2), services: failing))
        let both = TopReading(
            from: before, to: TopSample(at: .seconds(2), services: failing, unready: ["payment": "unready"]))
        #expect(view.lines(both, title: "top").contains { $0.hasPrefix("payment (unready, store: full)") })
        #expect(failed.isTroubled)
        #expect(view.lines(failed, title: "top").contains { $0.hasPrefix("payment (store: full)") })
    }

    @Test(
        "providers, payments that were given up and the ledger are shown; a half-open breaker that nothing waits for is no trouble"
    )
    func providers() {
        let idle = Self.payment(breaker: 1, open: 0, due: 0)
        #expect(!idle.isTroubled)
        #expect(idle.breakers.isEmpty && idle.providers.map(\.name) == ["paypal", "stripe"])
        #expect(idle.deadLetters == 3)
        #expect(Self.payment(breaker: 1, open: 1, due: 0).isTroubled)
        #expect(Self.payment(breaker: 0, open: 1, due: 61).isTroubled)
        #expect(!Self.payment(breaker: 0, open: 1, due: 59).isTroubled)
        let wrong = Self.payment(breaker: 2, open: 4, due: 90, balanced: "0")
        #expect(wrong.isTroubled)
        let lines = TopView(width: 80, height: 40, hasColour: false).lines(wrong, title: "top")
        #expect(lines.contains("provider    stripe open, 4 payments open, due for 90.0 s"))
        #expect(lines.contains("given up    3 payments wait for somebody to decide"))
        #expect(lines.contains("ledger      OUT OF BALANCE"))
        let json = JSONNode(reading: wrong.json)
        #expect(json["providers"]?["stripe"]?.text("breaker") == "open")
        #expect(json["providers"]?["stripe"]?.integer("openPayments") == 4)
        #expect(json.integer("deadLetters") == 3 && json["ledgerBalanced"]?.bool == false)
    }

    @Test("in a low window the services stay, and what is cut is below them")
    func lowWindow() {
        let lines = TopView(width: 80, height: 6, hasColour: false).lines(reading, title: "top")
        #expect(lines.count == 6)
        #expect(lines.contains { $0.hasPrefix("order ") } && lines.contains { $0.hasPrefix("payment ") })
    }

    @Test("what is not ASCII is taken to be two columns wide")
    func wide() {
        let title = String(repeating: "試", count: 30)
        let lines = TopView(width: 11, height: 1, hasColour: false).lines(reading, title: title)
        #expect(lines.first?.count == 5)
    }

    @Test("no number of a service makes it fall over", arguments: ["NaN", "+Inf", "-Inf", "1e300", "-1e300", "1.5"])
    func oddNumbers(_ number: String) {
        let names = [
            #"checkout_sagas{state="parked"}"#, #"circuit_breaker_state{target="stock"}"#,
            #"payments_open{provider="stripe"}"#,
            #"checkout_limbo_minor_units{currency="USD",state="parked"}"#, "payment_dead_letters", "ledger_balanced",
            #"payments_oldest_due_seconds{provider="stripe"}"#, #"checkout_total{outcome="completed"}"#,
            "process_resident_memory_bytes", "process_cpu_seconds_total",
            #"http_server_request_duration_seconds_bucket{http_route="/checkout",le="1"}"#,
            #"http_server_request_duration_seconds_bucket{http_route="/checkout",le="NaN"}"#,
            #"http_server_request_duration_seconds_count{http_response_status_code="500"}"#,
        ]
        let text = MetricsText(names.map { "\($0) \(number)" }.joined(separator: "\n"))
        let zero = MetricsText(names.map { "\($0) 0" }.joined(separator: "\n"))
        let services = ["order": text, "payment": text]
        let reading = TopReading(
            from: TopSample(at: .seconds(1), services: ["order": zero, "payment": zero]),
            to: TopSample(at: .seconds(2), services: services))
        #expect(!TopView(width: 80, height: 40, hasColour: false).lines(reading, title: "top").isEmpty)
        #expect(!JSONWriter.bytes { $0.value(reading.json) }.isEmpty)
    }

    @Test("requests by which somebody only looks are not counted")
    func looking() {
        func sample(_ at: Int, _ looks: Int) -> TopSample {
            let text = """
                http_server_request_duration_seconds_count{http_route="/metrics",http_response_status_code="500"} \(looks)
                http_server_request_duration_seconds_count{http_route="/health/ready",http_response_status_code="200"} \(looks)
                http_server_request_duration_seconds_bucket{http_route="/metrics",le="1"} \(looks)
                http_server_request_duration_seconds_bucket{http_route="/metrics",le="+Inf"} \(looks)
                http_server_request_duration_seconds_count{http_route="/charge",http_response_status_code="200"} \(at)
                """
            return TopSample(at: .seconds(at), services: ["payment": MetricsText(text)])
        }
        let payment = TopReading(from: sample(1, 0), to: sample(2, 1000)).services[2]
        #expect(payment.requests == 1 && payment.errors == 0 && payment.p99 == nil)
    }

    @Test("as JSON it has the same numbers")
    func json() {
        let json = JSONNode(reading: reading.json)
        #expect(json["checkoutsPerSecond"]?["completed"]?.number == "100.0")
        #expect(json["breakers"]?.text("payment") == "open")
        #expect(json["services"]?["stock"]?["up"]?.bool == false)
        #expect(json["services"]?["stock"]?["p99Seconds"]?.isNull == true)
    }

    @Test("labels are read with their escapes, and what is no metric is left out")
    func parsing() {
        let text = MetricsText("a{x=\"q\\\"u\\\\o\\n\",y=\"2\"} 3\nb +Inf\nc NaN\nnonsense\nd{ 1\n# a 4\n")
        #expect(text.series.count == 3)
        #expect(text.series.first?.labels == ["x": "q\"u\\o\n", "y": "2"])
        #expect(text.sum("b") == .infinity)
    }

    @Test("a quantile above the last bound is that bound, and nothing has none")
    func quantiles() {
        #expect(Quantile.value(0.99, [1: 0, .infinity: 10]) == 1)
        #expect(Quantile.value(0.5, [:]) == nil)
        #expect(Quantile.value(0.5, [1: 0, .infinity: 0]) == nil)
        #expect(Quantile.value(0.5, [1: 10, 2: 10, .infinity: 10]) == 0.5)
    }
}
