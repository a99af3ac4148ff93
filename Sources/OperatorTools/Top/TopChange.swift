import Resilience

/// What counters and histograms have gained between two samples.
struct TopChange {
    static let requests = "http_server_request_duration_seconds"

    let before: TopSample
    let after: TopSample

    init(before: TopSample, after: TopSample) {
        self.before = before.withoutLooks
        self.after = after.withoutLooks
    }

    var seconds: Double { max(0.001, (after.at - before.at).inSeconds) }

    /// The increase in a second. A counter that went down began anew, with its process.
    func rate(_ service: String, _ name: String, _ labels: [String: String] = [:]) -> Double {
        guard let now = after.services[service], let then = before.services[service] else { return 0 }
        let increase = now.sum(name, labels) - then.sum(name, labels)
        return increase.isFinite ? max(0, increase) / seconds : 0
    }

    func quantile(_ share: Double, _ service: String, _ name: String, _ labels: [String: String] = [:]) -> Double? {
        guard let now = after.services[service], let then = before.services[service] else { return nil }
        let earlier = then.buckets(name, labels)
        let increase = now.buckets(name, labels).reduce(into: [Double: Double]()) { increase, bucket in
            increase[bucket.key] = max(0, bucket.value - (earlier[bucket.key] ?? 0))
        }
        return Quantile.value(share, increase)
    }

    func service(_ name: String) -> TopReading.Service {
        guard let metrics = after.services[name] else { return TopReading.Service(name: name, isUp: false) }
        let statuses = metrics.matching("\(Self.requests)_count").compactMap {
            $0.labels["http_response_status_code"]
        }
        let errors = Set(statuses.filter { $0.hasPrefix("5") }).reduce(0.0) { sum, status in
            sum + rate(name, "\(Self.requests)_count", ["http_response_status_code": status])
        }
        let failures = "store_transaction_failures_total"
        let causes = Set(metrics.matching(failures).compactMap { $0.labels["error_type"] }).sorted()
        let failed = causes.map { (cause: $0, rate: rate(name, failures, ["error_type": $0])) }
        return TopReading.Service(
            name: name, isUp: true, unready: after.unready[name], requests: rate(name, "\(Self.requests)_count"),
            errors: errors,
            p50: quantile(0.5, name, Self.requests), p99: quantile(0.99, name, Self.requests),
            transactions: rate(name, "store_transaction_duration_seconds_count"),
            storeP99: quantile(0.99, name, "store_transaction_duration_seconds"),
            storeFailures: rate(name, failures),
            storeFailure: failed.filter { $0.rate > 0 }.max { $0.rate < $1.rate }?.cause,
            processor: rate(name, "process_cpu_seconds_total"),
            memory: metrics.sum("process_resident_memory_bytes"))
    }
}

extension TopSample {
    /// Without the requests by which somebody only looks: this tool and Prometheus, and the health checks.
    fileprivate var withoutLooks: TopSample {
        TopSample(
            at: at,
            services: services.mapValues { metrics in
                metrics.filtered { series in
                    let route = series.labels["http_route"] ?? ""
                    return route != "/metrics" && !route.hasPrefix("/health")
                }
            }, unready: unready)
    }
}
