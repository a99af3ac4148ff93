import CoreMetrics
import Prometheus
import Resilience

/// What is measured of charges and refunds that their provider has not answered: how many there are, and for how long. Each is asked
/// about again by itself; one that stays open is for a person.
struct ChargeMetrics: Sendable {
    static let families = [
        MetricFamily(
            "charges_open", .gauge,
            "Charges and refunds that have no answer of their provider yet, up to 10000, by kind."),
        MetricFamily(
            "charges_oldest_open_seconds", .gauge,
            "For how long the oldest of these has had no answer, however often it was asked about, by kind."),
    ]

    /// So many are counted at the most: each time the metrics are read, and all requests wait meanwhile.
    static let maximumCounted: Int64 = 10_000

    /// Charges or refunds without an answer.
    struct Open: Sendable {
        let count: Int64
        let since: Timestamp?
    }

    private let charges: (open: Meter, oldest: Meter)
    private let refunds: (open: Meter, oldest: Meter)

    init(_ factory: any MetricsFactory) {
        func meters(_ kind: String) -> (open: Meter, oldest: Meter) {
            (
                Meter(label: "charges_open", dimensions: [("kind", kind)], factory: factory),
                Meter(label: "charges_oldest_open_seconds", dimensions: [("kind", kind)], factory: factory)
            )
        }
        charges = meters("charge")
        refunds = meters("refund")
    }

    func set(charges: Open, refunds: Open, at now: Timestamp) {
        for (meters, open) in [(self.charges, charges), (self.refunds, refunds)] {
            meters.open.set(open.count)
            let age = open.since.map { max(0, now.milliseconds - $0.milliseconds) } ?? 0
            meters.oldest.set(Double(age) / 1000)
        }
    }
}
