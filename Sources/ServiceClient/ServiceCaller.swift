import Correlation
import Resilience
import StrictJSON

/// What travels with a call besides the command.
public struct CallContext: Sendable {
    /// The request this call serves.
    public let requestID: RequestID
    /// The span this call is made in.
    public let trace: TraceContext
    /// The user this call is made for; empty for nobody in particular.
    public let user: String
    /// When the caller's own answer is due.
    public let deadline: Deadline

    /// A context.
    public init(requestID: RequestID, trace: TraceContext, user: String, deadline: Deadline) {
        self.requestID = requestID
        self.trace = trace
        self.user = user
        self.deadline = deadline
    }
}

/// Calls one service and says what each answer means.
///
/// The codes of problem documents decide, not the bare status: a 404 from some other server that happens to listen there is
/// no refusal, and a 503 from a proxy says nothing about what ran behind it.
public struct ServiceCaller: Sendable {
    /// Without a slash at the end, for example `http://127.0.0.1:3133`.
    public let baseURL: String
    private let transport: any Transport
    private let attemptTimeout: Duration
    private let time: any TimeSource
    private let refusalCodes: Set<String>

    /// Problems by which our services promise that nothing was executed.
    private static let notExecutedCodes: Set<String> = [
        "store-unavailable", "draining", "overloaded", "deadline-exceeded", "provider-unavailable", "too-many-requests",
    ]

    /// A caller of one service.
    ///
    /// - Parameters:
    ///   - attemptTimeout: the most that one attempt may take (`GATEWAY_TIMEOUT_SECONDS`).
    ///   - refusalCodes: the problems by which this service refuses a command for good.
    public init(
        baseURL: String,
        transport: any Transport,
        attemptTimeout: Duration,
        time: any TimeSource,
        refusalCodes: Set<String>
    ) {
        self.baseURL = baseURL
        self.transport = transport
        self.attemptTimeout = attemptTimeout
        self.time = time
        self.refusalCodes = refusalCodes
    }

    /// One attempt of a command.
    ///
    /// - Parameters:
    ///   - key: sent as `Idempotency-Key` when there is one.
    ///   - read: the value that a 200 carries.
    /// - Throws: `CallFailure`.
    public func post<T>(
        _ path: String,
        key: String?,
        body: [UInt8],
        context: CallContext,
        read: (JSONValue) throws -> T
    ) async throws(CallFailure) -> T {
        let remaining = context.deadline.remaining(on: time)
        guard remaining > .zero else { throw .notExecuted(.timedOut) }
        let timeout = min(attemptTimeout, remaining)
        var headers = [
            ServiceRequest.Header("Content-Type", "application/json"),
            ServiceRequest.Header("X-Request-ID", context.requestID.value),
            ServiceRequest.Header("traceparent", context.trace.child().header),
            ServiceRequest.Header("X-Request-Timeout-Ms", String(max(1, timeout.wholeMilliseconds))),
        ]
        if let key { headers.append(.init("Idempotency-Key", key)) }
        if !context.user.isEmpty { headers.append(.init("X-User-ID", context.user)) }
        let request = ServiceRequest(
            method: "POST", url: baseURL + path, headers: headers, body: body, timeout: timeout)
        let response: ServiceResponse
        do {
            response = try await transport.send(request)
        } catch {
            throw Self.failure(error)
        }
        return try interpret(response, read)
    }

    private static func failure(_ error: TransportError) -> CallFailure {
        switch error {
        case .notSent: .notExecuted(.unreachable)
        case .timedOut: .unknown(.timedOut)
        case .connectionLost: .unknown(.connectionLost)
        case .responseTooLarge, .notHTTP: .unknown(.garbled)
        }
    }

    private func interpret<T>(_ response: ServiceResponse, _ read: (JSONValue) throws -> T) throws(CallFailure) -> T {
        let json = try? JSONParser.parse(response.body)
        if response.status == 200 {
            guard let json, let value = try? read(json) else { throw .unknown(.garbled) }
            return value
        }
        guard let json, let problem = ProblemReader(json), problem.status == response.status else {
            throw .unknown(.garbled, retryAfter: response.retryAfter)
        }
        if refusalCodes.contains(problem.refusal.code) { throw .refused(problem.refusal) }
        if Self.notExecutedCodes.contains(problem.refusal.code) {
            throw .notExecuted(.unavailable, retryAfter: response.retryAfter)
        }
        switch problem.refusal.code {
        case "request-in-progress": throw .unknown(.inProgress, retryAfter: response.retryAfter)
        case "outcome-unknown", "gateway-timeout": throw .unknown(.timedOut, retryAfter: response.retryAfter)
        default: throw .unknown(.garbled, retryAfter: response.retryAfter)
        }
    }
}

/// The members of a problem document (RFC 9457) that a caller acts on.
private struct ProblemReader {
    let status: Int
    let refusal: Refusal

    init?(_ json: JSONValue) {
        guard case .object(let members) = json else { return nil }
        func text(_ name: String) -> String? {
            guard case .string(let text)? = members.first(where: { $0.name == name })?.value else { return nil }
            return text
        }
        guard case .number(let number)? = members.first(where: { $0.name == "status" })?.value,
            let status = Int(number), let code = text("code")
        else { return nil }
        self.status = status
        refusal = Refusal(code: code, detail: text("detail") ?? "", declineCode: text("declineCode"))
    }
}
