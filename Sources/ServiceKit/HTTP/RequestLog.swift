import Correlation
import Logging
import Resilience
import Storage
import StrictJSON
import Synchronization

/// What a handler finds out that belongs to the log line and the span of its request.
public final class RequestNotes: Sendable {
    private let order = Mutex<String?>(nil)

    init() {}

    /// The order that the request is about.
    public var orderID: String? {
        get { order.withLock { $0 } }
        set { order.withLock { $0 = newValue } }
    }
}

/// Where every answered request of a router, or command of a batch route, is logged and timed.
package final class RequestLogs: Sendable {
    fileprivate let logger: Logger
    /// The logger's own. Nil when it is of another kind, as in a test that is not about the log: then requests have no lines.
    fileprivate let handler: JSONLogHandler?
    fileprivate let metrics: RequestMetrics?

    /// - Parameter metrics: times the requests, or the commands of batches; nil where nothing is measured.
    package init(_ logger: Logger, metrics: RequestMetrics? = nil) {
        self.logger = logger
        handler = logger.handler as? JSONLogHandler
        self.metrics = metrics
    }
}

/// The log lines about one request, which carry its ids (OP-03), and its time in the metrics.
package struct RequestLog: Sendable {
    let logs: RequestLogs
    let requestID: Correlation.RequestID
    let trace: TraceContext

    package init(_ logs: RequestLogs, requestID: Correlation.RequestID, trace: TraceContext) {
        self.logs = logs
        self.requestID = requestID
        self.trace = trace
    }

    /// Counts the answered request in the metrics with the time that it took, and writes its line to the log.
    func write(
        _ level: Logger.Level, method: String, route: String, status: Int, duration: Duration, orderID: String?
    ) {
        logs.metrics?.record(method: method, route: route, status: status, duration: duration)
        let line = RequestLine(
            method: method, route: route, status: status, duration: duration, requestID: requestID, trace: trace,
            orderID: orderID)
        logs.handler?.log(line, level)
    }

    /// Something went wrong that the client is told nothing of.
    func error(_ message: Logger.Message, _ error: any Error) {
        logs.logger.error(
            message,
            metadata: [
                "error": .string("\(error)"), "request_id": .string(requestID.value),
                "trace_id": .string(trace.traceID), "span_id": .string(trace.spanID),
            ])
    }
}

/// What the line of an answered request says.
struct RequestLine: Sendable {
    static let message = "request"
    /// The names of its members.
    static let names: Set<String> = [
        "method", "route", "status", "duration_ms", "request_id", "trace_id", "span_id", "order_id",
    ]

    let method: String
    let route: String
    let status: Int
    let duration: Duration
    let requestID: Correlation.RequestID
    let trace: TraceContext
    let orderID: String?

    func writeMembers(to json: inout JSONWriter) {
        json.string("method", method)
        json.string("route", route)
        json.integer("status", status)
        // With three digits after the point.
        json.decimal("duration_ms", max(0, duration.wholeNanoseconds) / 1000, exponent: 3)
        json.string("request_id", requestID.value)
        json.string("trace_id", plain: TraceContext.traceIDLength, trace.putTraceID)
        json.string("span_id", plain: TraceContext.spanIDLength, trace.putSpanID)
        if let orderID { json.string("order_id", orderID) }
    }
}

extension Problem {
    /// What the client is told of an error that a handler threw; what it is not told is logged.
    package init(_ error: any Error, _ log: RequestLog) {
        switch error {
        case let problem as Problem: self = problem
        case let failure as ValidationFailure: self.init(failure)
        case let error as StoreError where error.leavesDoubt:
            log.error("the store may have stored what it refused", error)
            self.init(
                .internalError,
                "It is not certain whether the request was executed; send it again with its key.")
        case let error as StoreError:
            log.error("the store refused a transaction", error)
            self.init(.storeUnavailable, "The store cannot be written at the moment; nothing was executed.")
        default:
            log.error("unexpected error", error)
            self.init(
                .internalError, "The request failed unexpectedly; it is safe to send it again with its key.")
        }
    }
}
