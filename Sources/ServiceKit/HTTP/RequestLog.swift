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

/// The log lines about one request, which carry its ids (OP-03), and its place in the metrics.
package struct RequestLog: Sendable {
    let logger: Logger
    let requestID: Correlation.RequestID
    let trace: TraceContext
    /// Times the request, or the command of a batch.
    let metrics: RequestMetrics?

    package init(
        logger: Logger, requestID: Correlation.RequestID, trace: TraceContext, metrics: RequestMetrics? = nil
    ) {
        self.logger = logger
        self.requestID = requestID
        self.trace = trace
        self.metrics = metrics
    }

    /// The line that every answered request gets.
    func write(
        _ level: Logger.Level, method: String, route: String, status: Int, duration: Duration, orderID: String?
    ) {
        metrics?.record(method: method, route: route, status: status, duration: duration)
        guard logger.logLevel <= level else { return }
        var metadata: Logger.Metadata = [
            "method": .string(method), "route": .string(route), "status": .stringConvertible(status),
            "duration_ms": .stringConvertible(duration.inSeconds * 1000), "request_id": .string(requestID.value),
            "trace_id": .string(trace.traceID), "span_id": .string(trace.spanID),
        ]
        if let orderID { metadata["order_id"] = .string(orderID) }
        logger.log(level: level, "request", metadata: metadata)
    }

    /// Something went wrong that the client is told nothing of.
    func error(_ message: Logger.Message, _ error: any Error) {
        logger.error(
            message,
            metadata: [
                "error": .string("\(error)"), "request_id": .string(requestID.value),
                "trace_id": .string(trace.traceID), "span_id": .string(trace.spanID),
            ])
    }
}

extension Problem {
    /// What the client is told of an error that a handler threw; what it is not told is logged.
    package init(_ error: any Error, _ log: RequestLog) {
        switch error {
        case let problem as Problem: self = problem
        case let failure as ValidationFailure: self.init(failure)
        case let error as StoreError:
            log.error("the store refused a transaction", error)
            self.init(.storeUnavailable, "The store cannot be written at the moment; nothing was executed.")
        default:
            log.error("unexpected error", error)
            self.init(
                .internalError, "The request failed unexpectedly; it is safe to send it again with its key.")
        }
    }

    static var userIDInvalid: Problem {
        Problem(.userIDInvalid, "X-User-ID must be one value of 1 to 128 letters, digits or any of . _ : @ -")
    }
}
