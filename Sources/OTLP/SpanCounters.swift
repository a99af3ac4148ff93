import CoreMetrics
import Prometheus

/// What became of the spans that have ended.
public struct SpanCounters: Sendable {
    /// The metric, to be declared by whoever keeps metrics.
    public static let family = MetricFamily(
        "otlp_spans_total", .counter,
        "Spans that have ended, by what became of them: exported, or why they were dropped.")

    enum Result: String, CaseIterable {
        /// The collector has taken it.
        case exported
        /// There was no room in the queue.
        case queueFull = "queue_full"
        /// The collector could not be reached, or did not take it, for as long as it may be tried.
        case exportFailed = "export_failed"
        /// The collector has taken its batch, but not it.
        case rejected
        /// The process ended first.
        case unsent
    }

    private let counters: [Result: Counter]

    /// Counters, all of them zero.
    public init(_ factory: any MetricsFactory) {
        counters = Dictionary(
            uniqueKeysWithValues: Result.allCases.map {
                ($0, Counter(label: Self.family.name, dimensions: [("result", $0.rawValue)], factory: factory))
            })
    }

    func count(_ result: Result, _ spans: Int) {
        if spans > 0 { counters[result]?.increment(by: spans) }
    }
}
