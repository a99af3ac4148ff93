import CoreMetrics
import Money
import Prometheus
import Resilience
import ServiceKit
import StockAPI

/// What is measured of sagas. Every series is made at the start, those of money when their currency is first seen: so a checkout
/// takes no lock to be counted, and a rate does not miss the first of anything.
final class SagaMetrics: Sendable {
    static let families = [
        MetricFamily("checkout_total", .counter, "Checkouts that have ended, by how: completed, or why they failed."),
        MetricFamily(
            "checkout_saga_duration_seconds", .histogram,
            "Time from a checkout's beginning to its end, whoever drove it."),
        MetricFamily(
            "checkout_sagas", .gauge,
            "Unfinished checkouts: by their step if this process drives them, else waiting for their next round, or parked."
        ),
        MetricFamily(
            "checkout_limbo_minor_units", .gauge,
            "Money that may have been taken for unfinished checkouts, in minor units: in_flight, waiting or parked."),
        MetricFamily("retry_attempts_total", .counter, "Calls to another service that were made again, by target."),
        MetricFamily(
            "saga_compensations_total", .counter, "Steps back of failing checkouts, by what came of each asking."),
        MetricFamily("circuit_breaker_state", .gauge, "0 closed, 1 half open, 2 open."),
    ]

    private static let outcomes = [
        "completed", "payment_declined", "insufficient_stock", "item_not_found", "refused", "unavailable", "timed_out",
        "garbled", "reservation_lost", "deadline", "withdrawn",
    ]
    private static let answers = ["succeeded", "refused", "not_sent", "not_executed", "unknown"]
    private static let calls = [
        Labels("stock", "reserve"), Labels("stock", "complete"), Labels("stock", "release"),
        Labels("payment", "charge"),
        Labels("payment", "refund"),
    ]

    private let ends: [String: Counter]
    private let compensations: [Labels: Counter]
    private let retries: [Labels: Counter]
    private let breakers: [String: Meter]
    /// Of the sagas that are driven here, in the order of `Saga.Step.place`.
    private let steps: [Meter]
    /// Of those that wait for their next round, and of parked ones.
    private let waiting: [String: Meter]
    private let limbo: LimboMeters
    private let durations: [Bool: CoreMetrics.Timer]

    /// The values of two labels.
    private struct Labels: Hashable {
        let first, second: String

        init(_ first: String, _ second: String) {
            self.first = first
            self.second = second
        }
    }

    init(_ factory: any MetricsFactory) {
        func counters(_ name: String, _ labels: (String, String), _ values: [Labels]) -> [Labels: Counter] {
            let made = values.map { value in
                let dimensions = [(labels.0, value.first), (labels.1, value.second)]
                return (value, Counter(label: name, dimensions: dimensions, factory: factory))
            }
            return Dictionary(uniqueKeysWithValues: made)
        }
        ends = Dictionary(
            uniqueKeysWithValues: Self.outcomes.map {
                ($0, Counter(label: "checkout_total", dimensions: [("outcome", $0)], factory: factory))
            })
        compensations = counters(
            "saga_compensations_total", ("step", "outcome"),
            ["release", "cancel", "refund"].flatMap { step in Self.answers.map { Labels(step, $0) } })
        retries = counters("retry_attempts_total", ("target", "operation"), Self.calls)
        breakers = Dictionary(
            uniqueKeysWithValues: ["stock", "payment"].map {
                ($0, Meter(label: "circuit_breaker_state", dimensions: [("target", $0)], factory: factory))
            })
        func sagas(_ state: String) -> Meter {
            Meter(label: "checkout_sagas", dimensions: [("state", state)], factory: factory)
        }
        steps = ["reserving", "charging", "completing", "releasing", "canceling", "refunding"].map(sagas)
        waiting = ["waiting": sagas("waiting"), "parked": sagas("parked")]
        limbo = LimboMeters(factory)
        func duration(_ outcome: String) -> CoreMetrics.Timer {
            CoreMetrics.Timer(
                label: "checkout_saga_duration_seconds", dimensions: [("outcome", outcome)], factory: factory)
        }
        durations = [true: duration("completed"), false: duration("failed")]
    }

    // MARK: - A saga under way

    /// A saga is driven here now, or is not any more.
    func count(_ step: Saga.Step, by amount: Double) {
        if let place = step.place { steps[place].increment(by: amount) }
    }

    /// A saga has gone from one step to another.
    func move(from old: Saga.Step, to new: Saga.Step) {
        count(old, by: -1)
        count(new, by: 1)
    }

    /// What a saga under way may have taken has changed.
    func move(atStake old: Money?, to new: Money?) {
        guard old != new else { return }
        if let old { limbo.meter("in_flight", old.currency.code).decrement(by: Double(old.minorUnits)) }
        if let new { limbo.meter("in_flight", new.currency.code).increment(by: Double(new.minorUnits)) }
    }

    /// A step back was asked for.
    func compensated(_ step: Saga.Step, _ event: Saga.Event) {
        let outcome: String
        switch event {
        case .released(let result), .refunded(let result): outcome = result.label
        case .reserved, .charged, .completed: return
        }
        compensations[Labels(step.compensation, outcome)]?.increment()
    }

    /// A call is made again.
    func retried(_ target: String, _ operation: String) {
        retries[Labels(target, operation)]?.increment()
    }

    /// A saga has ended, durably.
    func ended(_ step: Saga.Step, after duration: Duration) {
        ends[step.outcome]?.increment()
        let isCompleted = step.status == .completed
        durations[isCompleted]?.recordNanoseconds(max(.zero, duration).wholeNanoseconds)
    }

    // MARK: - With every scrape

    /// What waits in the store.
    func set(waiting: [LimboCount]) {
        for (state, meter) in self.waiting {
            meter.set(waiting.filter { $0.state == state }.reduce(0) { $0 + $1.count })
        }
        limbo.set(waiting)
    }

    /// Whether a service is asked.
    func set(breaker state: CircuitBreaker.State, of target: String) {
        let number =
            switch state {
            case .closed: 0
            case .halfOpen: 1
            case .open: 2
            }
        breakers[target]?.set(number)
    }
}

extension Outcome {
    /// The outcome's kind, in one word.
    fileprivate var label: String {
        switch self {
        case .succeeded: "succeeded"
        case .refused: "refused"
        case .notSent: "not_sent"
        case .notExecuted: "not_executed"
        case .unknown: "unknown"
        }
    }
}

extension Saga.Step {
    /// Which of the meters counts the sagas in this step; none counts those that have ended.
    fileprivate var place: Int? {
        switch self {
        case .reserving: 0
        case .charging: 1
        case .completing: 2
        case .releasing: 3
        case .canceling: 4
        case .refunding: 5
        case .completed, .failed: nil
        }
    }

    /// What the step undoes.
    fileprivate var compensation: String {
        switch self {
        case .releasing: "release"
        case .canceling: "cancel"
        case .refunding: "refund"
        case .reserving, .charging, .completing, .completed, .failed: "none"
        }
    }

    /// How a saga has ended. What other services say is not taken as a label unless it is known here.
    fileprivate var outcome: String {
        guard let failure else { return "completed" }
        switch (failure.kind, failure.code) {
        case (.refused, "payment-declined"): return "payment_declined"
        case (.refused, "insufficient-stock"): return "insufficient_stock"
        case (.refused, "item-not-found"): return "item_not_found"
        case (.refused, _): return "refused"
        case (.unavailable, _): return "unavailable"
        case (.timedOut, _): return "timed_out"
        case (.garbled, _): return "garbled"
        case (.reservationLost, _): return "reservation_lost"
        case (.deadline, _): return "deadline"
        case (.withdrawn, _): return "withdrawn"
        }
    }

    /// What may have been taken by the time of this step. - Parameter known: what was, a step ago.
    func atStake(_ known: Money?) -> Money? {
        switch self {
        case .charging(let goods), .completing(let goods): goods.total
        // One that was charged before its process ended begins at reserving again.
        case .reserving, .releasing(_, .cancel), .releasing(_, .refund), .releasing(_, .withdraw),
            .releasing(_, .abandon), .canceling, .refunding:
            known
        case .releasing(_, .nothing), .completed, .failed: nil
        }
    }
}
