import Resilience
import StrictJSON
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
        for (width, height) in [(80, 24), (30, 5), (200, 60), (1, 1)] {
            let plain = TopView(width: width, height: height, hasColour: false).lines(reading, title: "top")
            #expect(plain.count <= max(1, height))
            #expect(plain.allSatisfy { $0.count <= max(20, width) })
            #expect(!plain.joined().contains("\u{1B}"))
        }
        let lines = TopView(width: 80, height: 40, hasColour: true).lines(reading, title: "top")
        #expect(lines.contains { $0.hasPrefix("\u{1B}[31m") && $0.contains("payment open") })
        #expect(lines.contains { $0.contains("parked 20.00 USD") })
        #expect(lines.contains { $0.contains("100/s   p50 5.0 ms   p99 9.9 ms") })
        #expect(lines.contains { $0.contains("no answer") })
    }

    @Test("as JSON it has the same numbers")
    func json() {
        #expect(reading.json["checkoutsPerSecond"]?["completed"] == .number("100.0"))
        #expect(reading.json["breakers"]?.text("payment") == "open")
        #expect(reading.json["services"]?["stock"]?["up"] == .bool(false))
        #expect(reading.json["services"]?["stock"]?["p99Seconds"] == .null)
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
