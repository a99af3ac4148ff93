import CoreMetrics
import Prometheus
import Testing

@Suite("Prometheus registry")
struct PrometheusRegistryTests {
    private let registry = PrometheusRegistry([
        MetricFamily("seen_total", .counter, "What was seen."), MetricFamily("level", .gauge, "How high."),
        MetricFamily("wait_seconds", .histogram, "How long."),
    ])

    private func lines(_ name: String) -> [String] {
        registry.text.split(separator: "\n").map(String.init).filter { $0.hasPrefix(name) }
    }

    @Test("a counter is written with its help, its type, and its labels in the order of their names")
    func counter() {
        let counter = Counter(label: "seen_total", dimensions: [("where", "here"), ("by", "me")], factory: registry)
        counter.increment()
        counter.increment(by: 2)
        #expect(
            registry.text.hasPrefix(
                """
                # HELP seen_total What was seen.
                # TYPE seen_total counter
                seen_total{by="me",where="here"} 3

                """))
    }

    @Test("the same labels in any order are the same series")
    func sameSeries() {
        Counter(label: "seen_total", dimensions: [("a", "1"), ("b", "2")], factory: registry).increment()
        Counter(label: "seen_total", dimensions: [("b", "2"), ("a", "1")], factory: registry).increment()
        #expect(lines("seen_total") == [#"seen_total{a="1",b="2"} 2"#])
    }

    @Test("a gauge goes up and down and may be set, also to what is no number")
    func gauge() {
        let meter = Meter(label: "level", factory: registry)
        meter.set(2.5)
        meter.increment(by: 1.0)
        meter.decrement()
        #expect(lines("level") == ["level 2.5"])
        meter.set(9_007_199_254_740_992)
        #expect(lines("level") == ["level 9007199254740992"])
        for (value, text) in [(Double.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN")] {
            meter.set(value)
            #expect(lines("level") == ["level \(text)"])
        }
    }

    @Test("a histogram counts each duration in every bucket that is not below it, and adds them up in seconds")
    func histogram() {
        let timer = Timer(label: "wait_seconds", dimensions: [("to", "stock")], factory: registry)
        timer.recordMilliseconds(5)
        timer.recordNanoseconds(5_000_001)
        timer.recordSeconds(11)
        let written = lines("wait_seconds")
        #expect(written.count == 17)
        #expect(written[0] == #"wait_seconds_bucket{to="stock",le="0.005"} 1"#)
        #expect(written[1] == #"wait_seconds_bucket{to="stock",le="0.01"} 2"#)
        #expect(written[13] == #"wait_seconds_bucket{to="stock",le="10"} 2"#)
        #expect(written[14] == #"wait_seconds_bucket{to="stock",le="+Inf"} 3"#)
        #expect(written[15] == #"wait_seconds_sum{to="stock"} 11.010000001"#)
        #expect(written[16] == #"wait_seconds_count{to="stock"} 3"#)
    }

    @Test("what would end a label or a line is escaped")
    func escaping() {
        Counter(label: "seen_total", dimensions: [("a", "\"\\\n")], factory: registry).increment()
        #expect(lines("seen_total") == [#"seen_total{a="\"\\\n"} 1"#])
    }

    @Test("a metric that nobody declared, or declared as another kind, is not kept")
    func undeclared() {
        Counter(label: "unknown_total", factory: registry).increment()
        Counter(label: "level", factory: registry).increment()
        Recorder(label: "wait_seconds", factory: registry).record(1)
        #expect(!registry.text.contains("unknown_total") && !registry.text.contains("level"))
        #expect(!registry.text.contains("wait_seconds"))
    }

    @Test("a label that never ends does not fill the memory: what is too much is counted and not kept")
    func bound() {
        for number in 0..<(PrometheusRegistry.maximumSeries + 5) {
            Counter(label: "seen_total", dimensions: [("user", "\(number)")], factory: registry).increment()
        }
        #expect(lines("seen_total").count == PrometheusRegistry.maximumSeries)
        #expect(lines("metrics_series_dropped_total") == ["metrics_series_dropped_total 5"])
    }

    @Test("many threads lose nothing")
    func threads() async {
        let counter = Counter(label: "seen_total", factory: registry)
        let meter = Meter(label: "level", factory: registry)
        await withDiscardingTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1000 {
                        counter.increment()
                        meter.increment()
                    }
                }
            }
        }
        #expect(lines("seen_total") == ["seen_total 8000"])
        #expect(lines("level") == ["level 8000"])
    }
}
