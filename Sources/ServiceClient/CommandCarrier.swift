import Correlation
import Resilience
import StrictJSON

/// Brings a command to its service and the answer back: in a request of its own, or together with others. Every carrier
/// makes one attempt, and passes the same conformance suite.
public protocol CommandCarrier: Sendable {
    /// One attempt. - Throws: `TransportError` when there is no answer to this command.
    func carry(_ command: ServiceCommand) async throws(TransportError) -> ServiceAnswer
}

/// One command to a service.
public final class ServiceCommand: Sendable {
    /// Its route, for example `/reserve`.
    public let path: String
    /// Its idempotency key, if it takes one.
    public let key: String?
    /// A JSON object.
    public let body: [UInt8]
    /// What travels with it.
    public let context: CallContext

    /// A command.
    public init(path: String, key: String?, body: [UInt8], context: CallContext) {
        self.path = path
        self.key = key
        self.body = body
        self.context = context
    }
}

/// What a service answered to a command.
public struct ServiceAnswer: Sendable, Equatable {
    /// The HTTP status.
    public let status: Int
    /// The body; nil if it is not JSON.
    public let json: JSONNode?
    /// The wait that the service asks for.
    public let retryAfter: Duration?

    /// An answer.
    public init(status: Int, json: JSONNode?, retryAfter: Duration? = nil) {
        self.status = status
        self.json = json
        self.retryAfter = retryAfter
    }

    /// The code of the problem that the service answered with, if it is one.
    var problemCode: String? { json?.member("code")?.string }
}

/// Sends each command in a request of its own, to the route that everyone may use.
public final class SingleCalls: CommandCarrier {
    let baseURL: String
    let transport: any Transport
    let attemptTimeout: Duration
    let time: any TimeSource
    let traces: Traces?

    /// A carrier.
    ///
    /// - Parameters:
    ///   - baseURL: the service's address without a slash at the end, for example `http://127.0.0.1:3133`.
    ///   - attemptTimeout: the most that one attempt may take (`GATEWAY_TIMEOUT_SECONDS`).
    ///   - traces: records the requests that carry batches. Commands are recorded by `TracedCalls`.
    public init(
        baseURL: String, transport: any Transport, attemptTimeout: Duration, time: any TimeSource,
        traces: Traces? = nil
    ) {
        self.baseURL = baseURL
        self.transport = transport
        self.attemptTimeout = attemptTimeout
        self.time = time
        self.traces = traces
    }

    public func carry(_ command: ServiceCommand) async throws(TransportError) -> ServiceAnswer {
        let context = command.context
        context.tally?.note(1)
        let remaining = context.deadline.remaining(on: time)
        guard remaining > .zero else { throw .notSentInTime }
        let timeout = min(attemptTimeout, remaining)
        var headers = [
            ServiceRequest.Header("Content-Type", "application/json"),
            ServiceRequest.Header("X-Request-ID", context.requestID.value),
            ServiceRequest.Header("traceparent", context.traceparent),
            ServiceRequest.Header(ServiceRequest.timeoutHeader, String(max(1, timeout.wholeMilliseconds))),
        ]
        if let key = command.key { headers.append(.init("Idempotency-Key", key)) }
        if !context.user.isEmpty { headers.append(.init("X-User-ID", context.user)) }
        let response = try await transport.send(
            ServiceRequest(
                method: "POST", url: baseURL + command.path, headers: headers, body: command.body, timeout: timeout))
        return ServiceAnswer(response)
    }
}

extension ServiceAnswer {
    init(_ response: ServiceResponse) {
        self.init(
            status: response.status, json: try? JSONParser.parse(response.body), retryAfter: response.retryAfter)
    }
}
