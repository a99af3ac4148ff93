import CoreMetrics
import HTTPTypes
import OTLP
import Prometheus
import Resilience
import Synchronization

/// The metrics that every service has (OP-02). Those of one service alone are declared by its `ServiceDefinition`.
public enum ServiceMetrics {
    static let families = [
        MetricFamily(
            "http_server_request_duration_seconds", .histogram,
            "Time to answer a request, by route template."),
        MetricFamily(
            "batched_command_duration_seconds", .histogram,
            "Time to answer one command of a batch, by the route that it would have had alone."),
        MetricFamily(
            "http_client_request_duration_seconds", .histogram,
            "Time of one request to another service, by target; error_type says why there was no answer."),
        MetricFamily(
            "idempotency_requests_total", .counter,
            "Keyed commands by what their key was: first, replayed, in_progress, or mismatch."),
        MetricFamily(
            "store_transaction_duration_seconds", .histogram, "Time until a transaction is durable, waiting included."),
        MetricFamily(
            "store_transaction_failures_total", .counter,
            "Transactions that the store did not take, by why."),
        SpanCounters.family,
        MetricFamily("checkout_build_info", .gauge, "Always 1; the labels say which build this is."),
        MetricFamily("process_cpu_seconds_total", .total, "Processor time used, in user and system mode."),
        MetricFamily("process_resident_memory_bytes", .gauge, "Memory in use."),
        MetricFamily("process_virtual_memory_bytes", .gauge, "Addresses in use."),
        MetricFamily("process_open_fds", .gauge, "Open file descriptors."),
        MetricFamily("process_max_fds", .gauge, "Most file descriptors that may be open."),
        MetricFamily("process_threads", .gauge, "Threads."),
        MetricFamily("process_start_time_seconds", .gauge, "When the process started, in seconds since 1970."),
    ]
}

/// Times the answers to requests, or to the commands of batches. The timers are made when a route first answers with a status; the labels are bounded by the
/// routes and the statuses that there are.
package final class RequestMetrics: Sendable {
    private let name: String
    private let factory: any MetricsFactory
    private let timers = Mutex<[Key: CoreMetrics.Timer]>([:])

    private struct Key: Hashable {
        let method: String
        let route: String
        let status: Int
    }

    private static let methods: Set<String> = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
    /// Stands for every method that is not known: a client may send any word as one.
    static let other = "_OTHER"

    static func known(_ method: String) -> String { methods.contains(method) ? method : other }

    /// - Parameter name: the histogram's.
    package init(_ factory: any MetricsFactory, name: String = "http_server_request_duration_seconds") {
        self.factory = factory
        self.name = name
    }

    /// For the commands of batches.
    package static func ofBatches(_ factory: any MetricsFactory) -> RequestMetrics {
        RequestMetrics(factory, name: "batched_command_duration_seconds")
    }

    package func record(method: String, route: String, status: Int, duration: Duration) {
        let key = Key(method: Self.known(method), route: route, status: status)
        let timer = timers.withLock { timers in
            if let known = timers[key] { return known }
            let made = CoreMetrics.Timer(
                label: name,
                dimensions: [
                    ("http_request_method", key.method), ("http_route", key.route),
                    ("http_response_status_code", String(key.status)),
                ], factory: factory)
            timers[key] = made
            return made
        }
        timer.recordNanoseconds(duration.wholeNanoseconds)
    }
}

extension Duration {
    /// Whole nanoseconds; enough for 292 years.
    public var wholeNanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
}
