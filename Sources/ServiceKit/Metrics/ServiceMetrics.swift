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
        MetricFamily("store_size_bytes", .gauge, "Size of the store's files: the database, and the log beside it."),
        MetricFamily("store_disk_available_bytes", .gauge, "Room that is left on the disk of the store."),
        MetricFamily("store_disk_size_bytes", .gauge, "Size of the disk of the store."),
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
    /// By a number made of a route's length and a status: to hash three texts for each command costs more than to compare two.
    private let timers = Mutex([[Entry]](repeating: [], count: 64))

    private struct Entry {
        let method: String
        let route: String
        let status: Int
        let timer: CoreMetrics.Timer
    }

    /// Stands for every method that is not known: a client may send any word as one.
    static let other = "_OTHER"

    static func known(_ method: String) -> String {
        switch method {
        case "POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS": method
        default: other
        }
    }

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
        let method = Self.known(method)
        let number = (route.utf8.count &+ 31 &* status) & 63
        let timer = timers.withLock { timers in
            let known = timers[number].first { $0.status == status && $0.route == route && $0.method == method }
            if let known { return known.timer }
            let made = CoreMetrics.Timer(
                label: name,
                dimensions: [
                    ("http_request_method", method), ("http_route", route),
                    ("http_response_status_code", String(status)),
                ], factory: factory)
            timers[number].append(Entry(method: method, route: route, status: status, timer: made))
            return made
        }
        timer.recordNanoseconds(duration.wholeNanoseconds)
    }
}
