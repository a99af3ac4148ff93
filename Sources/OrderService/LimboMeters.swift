import CoreMetrics
import Money
import Synchronization

/// Unfinished sagas that nobody drives.
struct LimboCount: Hashable, Sendable {
    /// `waiting` or `parked`.
    let state: String
    let count: Int64
    /// What may have been taken for them, if anything.
    let atStake: Amount?

    /// What many orders are worth together: more than `Money` has room for (hazard 45).
    struct Amount: Hashable, Sendable {
        let minorUnits: Int128
        let currency: Currency
    }
}

/// The meters of money in limbo: one for each state and each currency that was ever in that state. One that has nothing
/// in it any more says 0.
final class LimboMeters: Sendable {
    private let factory: any MetricsFactory
    private let meters = Mutex<[Key: Meter]>([:])

    private struct Key: Hashable {
        let state: String
        let currency: String
    }

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        // There from the start, so that an alert sees a zero and not nothing.
        for state in ["in_flight", "waiting", "parked"] { meter(state, Currency.usd.code).set(0) }
    }

    func meter(_ state: String, _ currency: String) -> Meter {
        meters.withLock { meters in
            let key = Key(state: state, currency: currency)
            if let known = meters[key] { return known }
            let made = Meter(
                label: "checkout_limbo_minor_units", dimensions: [("state", state), ("currency", currency)],
                factory: factory)
            meters[key] = made
            return made
        }
    }

    func set(_ waiting: [LimboCount]) {
        let stored = meters.withLock { meters in meters.filter { $0.key.state != "in_flight" }.map(\.value) }
        stored.forEach { $0.set(0) }
        for sagas in waiting {
            guard let amount = sagas.atStake else { continue }
            meter(sagas.state, amount.currency.code).set(Double(amount.minorUnits))
        }
    }
}
