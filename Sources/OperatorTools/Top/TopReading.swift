import Resilience
import StrictJSON

/// What the three services said of themselves at one moment. A service that did not answer is not there.
package struct TopSample: Sendable {
    /// By the monotonic clock.
    package let at: Duration
    package let services: [String: MetricsText]

    package init(at: Duration, services: [String: MetricsText]) {
        self.at = at
        self.services = services
    }
}

/// What happened between two samples, in numbers: all that `checkout top` shows and prints.
package struct TopReading: Sendable, Equatable {
    package struct Service: Sendable, Equatable {
        package let name: String
        package let isUp: Bool
        /// Answers a second, and those that were a 5xx.
        package var requests = 0.0
        package var errors = 0.0
        /// Seconds; nil when nothing was answered.
        package var p50: Double?
        package var p99: Double?
        package var transactions = 0.0
        package var storeP99: Double?
        package var storeFailures = 0.0
        /// Cores in use.
        package var processor = 0.0
        package var memory = 0.0
    }

    package struct Limbo: Sendable, Equatable {
        package let state: String
        package let currency: String
        package let minorUnits: Int64
    }

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
    package let retries: Double
    package let compensations: Double
    package let services: [Service]

    package init(from before: TopSample, to after: TopSample) {
        let change = Change(before: before, after: after)
        let order = after.services["order"] ?? MetricsText("")
        seconds = change.seconds
        outcomes = order.matching("checkout_total").reduce(into: [:]) { outcomes, series in
            guard let outcome = series.labels["outcome"] else { return }
            let rate = change.rate("order", "checkout_total", ["outcome": outcome])
            if rate > 0 { outcomes[outcome] = rate }
        }
        let checkouts = ["http_route": "/checkout"]
        p50 = change.quantile(0.5, "order", Change.requests, checkouts)
        p99 = change.quantile(0.99, "order", Change.requests, checkouts)
        sagas = order.matching("checkout_sagas").reduce(into: [:]) { sagas, series in
            if let state = series.labels["state"] { sagas[state] = Int(series.value) }
        }
        limbo = order.matching("checkout_limbo_minor_units").compactMap { series in
            guard let state = series.labels["state"], let currency = series.labels["currency"], series.value != 0,
                let amount = Int64(exactly: series.value.rounded())
            else { return nil }
            return Limbo(state: state, currency: currency, minorUnits: amount)
        }.sorted { ($0.currency, $0.state) < ($1.currency, $1.state) }
        breakers = order.matching("circuit_breaker_state").reduce(into: [:]) { breakers, series in
            if let target = series.labels["target"] { breakers[target] = Int(series.value) }
        }
        retries = change.rate("order", "retry_attempts_total")
        compensations = change.rate("order", "saga_compensations_total")
        services = Self.serviceNames.map { change.service($0) }
    }

    /// What counters and histograms have gained between two samples.
    private struct Change {
        static let requests = "http_server_request_duration_seconds"

        let before: TopSample
        let after: TopSample

        var seconds: Double { max(0.001, (after.at - before.at).inSeconds) }

        /// The increase in a second. A counter that went down began anew, with its process.
        func rate(_ service: String, _ name: String, _ labels: [String: String] = [:]) -> Double {
            guard let now = after.services[service], let then = before.services[service] else { return 0 }
            return max(0, now.sum(name, labels) - then.sum(name, labels)) / seconds
        }

        func quantile(_ share: Double, _ service: String, _ name: String, _ labels: [String: String] = [:]) -> Double? {
            guard let now = after.services[service], let then = before.services[service] else { return nil }
            let earlier = then.buckets(name, labels)
            let increase = now.buckets(name, labels).reduce(into: [Double: Double]()) { increase, bucket in
                increase[bucket.key] = max(0, bucket.value - (earlier[bucket.key] ?? 0))
            }
            return Quantile.value(share, increase)
        }

        func service(_ name: String) -> Service {
            guard let metrics = after.services[name] else { return Service(name: name, isUp: false) }
            let statuses = metrics.matching("\(Self.requests)_count").compactMap {
                $0.labels["http_response_status_code"]
            }
            let errors = Set(statuses.filter { $0.hasPrefix("5") }).reduce(0.0) { sum, status in
                sum + rate(name, "\(Self.requests)_count", ["http_response_status_code": status])
            }
            return Service(
                name: name, isUp: true, requests: rate(name, "\(Self.requests)_count"), errors: errors,
                p50: quantile(0.5, name, Self.requests), p99: quantile(0.99, name, Self.requests),
                transactions: rate(name, "store_transaction_duration_seconds_count"),
                storeP99: quantile(0.99, name, "store_transaction_duration_seconds"),
                storeFailures: rate(name, "store_transaction_failures_total"),
                processor: rate(name, "process_cpu_seconds_total"),
                memory: metrics.sum("process_resident_memory_bytes"))
        }
    }

    /// Whether something is not as it should be.
    package var isTroubled: Bool {
        services.contains { !$0.isUp } || breakers.values.contains { $0 != 0 } || (sagas["parked"] ?? 0) > 0
    }

    package var json: JSONValue {
        func number(_ value: Double?) -> JSONValue {
            guard let value, value.isFinite else { return .null }
            return .number(String((value * 1_000_000).rounded() / 1_000_000))
        }
        func object(_ values: [(String, JSONValue)]) -> JSONValue { .object(values.map { .init($0, $1) }) }
        return object([
            ("seconds", number(seconds)),
            ("checkoutsPerSecond", object(outcomes.sorted { $0.key < $1.key }.map { ($0, number($1)) })),
            ("p50Seconds", number(p50)), ("p99Seconds", number(p99)),
            ("sagas", object(sagas.sorted { $0.key < $1.key }.map { ($0, .number(String($1))) })),
            (
                "limbo",
                .array(
                    limbo.map {
                        object([
                            ("state", .string($0.state)), ("currency", .string($0.currency)),
                            ("amount", .number(String($0.minorUnits))),
                        ])
                    })
            ),
            ("breakers", object(breakers.sorted { $0.key < $1.key }.map { ($0, .string(Self.breaker($1))) })),
            ("retriesPerSecond", number(retries)), ("compensationsPerSecond", number(compensations)),
            (
                "services",
                object(
                    services.map { service in
                        (
                            service.name,
                            object([
                                ("up", .bool(service.isUp)), ("requestsPerSecond", number(service.requests)),
                                ("errorsPerSecond", number(service.errors)), ("p50Seconds", number(service.p50)),
                                ("p99Seconds", number(service.p99)),
                                ("transactionsPerSecond", number(service.transactions)),
                                ("storeP99Seconds", number(service.storeP99)),
                                ("storeFailuresPerSecond", number(service.storeFailures)),
                                ("processor", number(service.processor)), ("memoryBytes", number(service.memory)),
                            ])
                        )
                    })
            ),
        ])
    }

    static func breaker(_ state: Int) -> String {
        switch state {
        case 0: "closed"
        case 1: "half open"
        default: "open"
        }
    }
}
