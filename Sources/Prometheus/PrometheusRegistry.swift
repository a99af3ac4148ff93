import CoreMetrics
import Synchronization

/// A metric of which there is one series for each combination of its labels' values.
public struct MetricFamily: Sendable, Equatable {
    /// What kind of numbers they are.
    public enum Kind: Sendable {
        /// Counted here, by a `Counter`.
        case counter
        /// Counted elsewhere and set by a `Meter`; never goes down.
        case total
        case gauge, histogram

        /// What the text calls it.
        var type: String {
            switch self {
            case .counter, .total: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    /// The metric's name.
    public let name: String
    /// What it counts or measures, for a person.
    public let help: String
    /// What kind it is.
    public let kind: Kind

    /// A metric.
    public init(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        self.help = help
        self.kind = kind
    }
}

/// Keeps the metrics of one process and writes them in Prometheus' text format 0.0.4.
///
/// Whoever measures makes its counters, meters and timers once, by the API of swift-metrics, and keeps them: making one takes
/// a lock, using one does not. Only metrics that are declared are kept, each with at most `maximumSeries` combinations of
/// labels, so that no label can fill the memory.
public final class PrometheusRegistry: MetricsFactory {
    /// How many combinations of labels one metric may have. Further ones are not kept, and counted.
    public static let maximumSeries = 1000
    /// The media type of the text.
    public static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    private static let dropped = MetricFamily(
        "metrics_series_dropped_total", .counter,
        "Combinations of labels that were not kept because there were too many.")

    private let families: [String: MetricFamily]
    private let series = Mutex<[String: [String: Handler]]>([:])
    private let droppedSeries = PrometheusCounter()

    private enum Handler: Sendable {
        case counter(PrometheusCounter)
        case gauge(PrometheusGauge)
        case histogram(PrometheusHistogram)
    }

    /// A registry. - Parameter families: the metrics that it keeps; any other is taken and forgotten.
    public init(_ families: [MetricFamily]) {
        self.families = Dictionary(families.map { ($0.name, $0) }) { first, _ in first }
    }

    // MARK: - Factory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        guard case .counter(let counter)? = handler(label, dimensions, .counter, { .counter(PrometheusCounter()) })
        else {
            return NOOPMetricsHandler.instance
        }
        return counter
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        gauge(label, dimensions) ?? NOOPMetricsHandler.instance
    }

    /// - Parameter aggregate: a distribution without a unit is not kept; durations are for `makeTimer`.
    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        (aggregate ? nil : gauge(label, dimensions)) ?? NOOPMetricsHandler.instance
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let made = handler(label, dimensions, .histogram) { .histogram(PrometheusHistogram()) }
        guard case .histogram(let histogram)? = made else { return NOOPMetricsHandler.instance }
        return histogram
    }

    // A series is kept until the process ends: one that came and went would look like a counter that was reset.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    private func gauge(_ name: String, _ labels: [(String, String)]) -> PrometheusGauge? {
        let kind: MetricFamily.Kind = families[name]?.kind == .total ? .total : .gauge
        guard case .gauge(let gauge)? = handler(name, labels, kind, { .gauge(PrometheusGauge()) }) else { return nil }
        return gauge
    }

    private func handler(
        _ name: String, _ labels: [(String, String)], _ kind: MetricFamily.Kind, _ make: () -> Handler
    ) -> Handler? {
        guard families[name]?.kind == kind else { return nil }
        let key = Self.text(of: labels)
        return series.withLock { series in
            if let known = series[name]?[key] { return known }
            guard series[name, default: [:]].count < Self.maximumSeries else {
                droppedSeries.increment(by: 1)
                return nil
            }
            let made = make()
            series[name, default: [:]][key] = made
            return made
        }
    }

    // MARK: - Text

    /// `method="GET",route="/items"`, in the order of the names, so that the same labels are the same series.
    private static func text(of labels: [(String, String)]) -> String {
        labels.sorted { $0.0 < $1.0 }.map { name, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
            return "\(name)=\"\(escaped)\""
        }.joined(separator: ",")
    }

    /// All metrics, in the order of their names.
    public var text: String {
        let series = series.withLock { $0 }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            guard let known = series[name], !known.isEmpty else { continue }
            text += Self.head(family)
            for (labels, handler) in known.sorted(by: { $0.key < $1.key }) {
                Self.write(name, labels, handler, to: &text)
            }
        }
        return text + Self.head(Self.dropped) + "\(Self.dropped.name) \(droppedSeries.value)\n"
    }

    private static func head(_ family: MetricFamily) -> String {
        let help = family.help.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
        return "# HELP \(family.name) \(help)\n# TYPE \(family.name) \(family.kind.type)\n"
    }

    private static func write(_ name: String, _ labels: String, _ handler: Handler, to text: inout String) {
        let braces = labels.isEmpty ? "" : "{\(labels)}"
        switch handler {
        case .counter(let counter): text += "\(name)\(braces) \(counter.value)\n"
        case .gauge(let gauge): text += "\(name)\(braces) \(number(gauge.value))\n"
        case .histogram(let histogram):
            let (cumulative, sum) = histogram.reading
            let comma = labels.isEmpty ? "" : ","
            let bounds = PrometheusHistogram.bounds.map(number) + ["+Inf"]
            for (bound, count) in zip(bounds, cumulative) {
                text += "\(name)_bucket{\(labels)\(comma)le=\"\(bound)\"} \(count)\n"
            }
            text += "\(name)_sum\(braces) \(number(sum))\n\(name)_count\(braces) \(cumulative.last ?? 0)\n"
        }
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        guard let whole = Int64(exactly: value) else { return value.description }
        return whole.description
    }
}
