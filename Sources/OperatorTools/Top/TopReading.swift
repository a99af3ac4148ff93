import Resilience

/// What the three services said of themselves at one moment. A service that did not answer is not there.
package struct TopSample: Sendable {
    /// By the monotonic clock.
    package let at: Duration
    package let services: [String: MetricsText]
    /// Of those that are not ready, what they say: `unready` if the store does not take a write, `draining` while one stops.
    package let unready: [String: String]

    package init(at: Duration, services: [String: MetricsText], unready: [String: String] = [:]) {
        self.at = at
        self.services = services
        self.unready = unready
    }
}

/// What happened between two samples, in numbers: all that `checkout top` shows and prints.
package struct TopReading: Sendable, Equatable {
    package struct Service: Sendable, Equatable {
        package let name: String
        package let isUp: Bool
        /// Why it takes no requests; nil if it does.
        package var unready: String?
        /// Answers a second, and those that were a 5xx.
        package var requests = 0.0
        package var errors = 0.0
        /// Seconds; nil when nothing was answered.
        package var p50: Double?
        package var p99: Double?
        package var transactions = 0.0
        package var storeP99: Double?
        package var storeFailures = 0.0
        /// Why most of these failed, as `full`; nil if none did.
        package var storeFailure: String?
        /// Cores in use.
        package var processor = 0.0
        package var memory = 0.0

        /// Whether it can do its work.
        package var isWell: Bool { isUp && unready == nil && storeFailures == 0 }
    }

    /// A provider behind Payment.
    package struct Provider: Sendable, Equatable {
        package let name: String
        /// 0 closed, 1 half open, 2 open.
        package let breaker: Int
        /// Payments through it whose end is still to come.
        package let open: Int
        /// Seconds for which one of them has been due.
        package let overdue: Double

        /// Whether it holds payments up. A half-open breaker with nothing to ask says nothing: only a payment finds out whether the
        /// provider is well.
        package var isTroubled: Bool { breaker != 0 && open > 0 || overdue > TopReading.longestOverdue }
    }

    package struct Limbo: Sendable, Equatable {
        package let state: String
        package let currency: String
        package let minorUnits: Int64
    }

    /// As for the alert PaymentsOverdue, in seconds.
    static let longestOverdue = 60.0

    package static let serviceNames = ["order", "stock", "payment"]
    /// The states of a saga in the order of a checkout.
    package static let states = [
        "reserving", "charging", "completing", "releasing", "canceling", "refunding", "waiting", "parked",
    ]

    /// How long the two samples are apart, in seconds.
    package let seconds: Double
    /// Checkouts that have ended in a second, by outcome, those that there were.
    package let outcomes: [String: Double]
    package let p50: Double?
    package let p99: Double?
    package let sagas: [String: Int]
    package let limbo: [Limbo]
    /// By target: 0 closed, 1 half open, 2 open.
    package let breakers: [String: Int]
    package let providers: [Provider]
    /// Payments that were given up and that nobody has decided about; nil when Payment does not say.
    package let deadLetters: Int?
    /// What the last check of the ledger found; nil when there was none.
    package let isLedgerBalanced: Bool?
    package let retries: Double
    package let compensations: Double
    package let services: [Service]

    package init(from before: TopSample, to after: TopSample) {
        let change = TopChange(before: before, after: after)
        let order = after.services["order"] ?? MetricsText("")
        seconds = change.seconds
        outcomes = order.matching("checkout_total").reduce(into: [:]) { outcomes, series in
            guard let outcome = series.labels["outcome"] else { return }
            let rate = change.rate("order", "checkout_total", ["outcome": outcome])
            if rate > 0 { outcomes[outcome] = rate }
        }
        let checkouts = ["http_route": "/checkout"]
        p50 = change.quantile(0.5, "order", TopChange.requests, checkouts)
        p99 = change.quantile(0.99, "order", TopChange.requests, checkouts)
        sagas = order.matching("checkout_sagas").reduce(into: [:]) { sagas, series in
            if let state = series.labels["state"], let count = series.whole { sagas[state] = count }
        }
        limbo = order.matching("checkout_limbo_minor_units").compactMap { series in
            guard let state = series.labels["state"], let currency = series.labels["currency"], series.value != 0,
                let amount = Int64(exactly: series.value.rounded())
            else { return nil }
            return Limbo(state: state, currency: currency, minorUnits: amount)
        }.sorted { ($0.currency, $0.state) < ($1.currency, $1.state) }
        breakers = order.matching("circuit_breaker_state").reduce(into: [:]) { breakers, series in
            if let target = series.labels["target"], let state = series.whole { breakers[target] = state }
        }
        let payment = after.services["payment"] ?? MetricsText("")
        providers = payment.matching("circuit_breaker_state").compactMap { series in
            guard let name = series.labels["target"], let breaker = series.whole else { return nil }
            let overdue = payment.sum("payments_oldest_due_seconds", ["provider": name])
            return Provider(
                name: name, breaker: breaker,
                open: payment.matching("payments_open", ["provider": name]).first?.whole ?? 0,
                overdue: overdue.isFinite ? overdue : 0)
        }.sorted { $0.name < $1.name }
        deadLetters = payment.matching("payment_dead_letters").first?.whole
        isLedgerBalanced = payment.matching("ledger_balanced").first.map { $0.value != 0 }
        retries = change.rate("order", "retry_attempts_total")
        compensations = change.rate("order", "saga_compensations_total")
        services = Self.serviceNames.map { change.service($0) }
    }

    /// Whether something is not as it should be.
    package var isTroubled: Bool {
        services.contains { !$0.isWell } || breakers.values.contains { $0 != 0 } || (sagas["parked"] ?? 0) > 0
            || providers.contains(where: \.isTroubled) || isLedgerBalanced == false
    }
}
