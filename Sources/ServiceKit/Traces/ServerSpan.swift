import Correlation
import Hummingbird
import Tracing

/// The span of a request, or of a command that came in a batch, in the words of OpenTelemetry's semantic conventions for HTTP.
struct ServerSpan {
    /// What a client sends is kept up to this length, in characters, since many spans may wait.
    private static let maximumText = 256

    private let span: any Span
    private let method: String

    /// A request's span; nil when it is not recorded. What asks for health and metrics all the time never is.
    init?(_ traces: Traces, _ request: Request, as trace: TraceContext) {
        let path = request.uri.path
        guard trace.isSampled, !path.hasPrefix("/health"), path != "/metrics",
            let span = traces.start("HTTP", as: trace, ofKind: .server)
        else { return nil }
        self.span = span
        method = RequestMetrics.known(request.method.rawValue)
        span.updateAttributes { attributes in
            attributes["http.request.method"] = method
            attributes["url.path"] = String(path.prefix(Self.maximumText))
            attributes["url.scheme"] = "http"
            if let agent = request.headers[.userAgent] {
                attributes["user_agent.original"] = String(agent.prefix(Self.maximumText))
            }
        }
    }

    /// The span of a command in a batch; it is under the sender's span of that command, and links to the span of the request that
    /// brought the batch.
    init?(_ traces: Traces, commandTo path: String, as trace: TraceContext) {
        guard let span = traces.start("POST \(path)", as: trace, ofKind: .server) else { return nil }
        self.span = span
        method = "POST"
        if let batch = InstrumentationContext.current?.trace { span.link(to: batch) }
        span.updateAttributes { attributes in
            attributes["http.request.method"] = method
            attributes["checkout.batch"] = true
        }
    }

    /// Does something in the span, so that what it does is recorded below it.
    func within<T>(_ body: () async throws -> T) async rethrows -> T {
        try await InstrumentationContext.withValue(span.context) { try await body() }
    }

    /// The request has its answer. To a server only a 5xx is an error of its own.
    func end(route: String, status: Int, requestID: Correlation.RequestID, orderID: String?) {
        span.operationName = "\(method == RequestMetrics.other ? "HTTP" : method) \(route)"
        span.updateAttributes { attributes in
            attributes["http.route"] = route
            attributes["http.response.status_code"] = status
            attributes["checkout.request_id"] = requestID.value
            if let orderID { attributes["checkout.order_id"] = orderID }
        }
        if status >= 500 { span.fail(String(status)) } else { span.end() }
    }

    /// The command was not carried out: it will come again in a request of its own.
    func endAlone() {
        span.updateAttributes { $0["checkout.batch.alone"] = true }
        span.end()
    }
}
