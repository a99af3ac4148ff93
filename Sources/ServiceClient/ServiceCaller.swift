import Correlation
import Resilience
import StrictJSON

/// What travels with a call besides the command.
///
/// A class, like the command itself: a call hands it from one layer to the next a dozen times, and only its attempt and its spans ever
/// change, each in a context of their own.
public final class CallContext: Sendable {
    /// The request this call serves.
    public let requestID: RequestID
    /// The span this call is made in.
    public let trace: TraceContext
    /// The span of this call, if somebody records it.
    public let callSpan: TraceContext?
    /// Which attempt of the call this is, from 1.
    public let attempt: Int
    /// The user this call is made for; empty for nobody in particular.
    public let user: String
    /// When the caller's own answer is due.
    public let deadline: Deadline
    /// Learns in how much company the call went; nil if nobody wants to know.
    public let tally: RequestTally?

    /// A context.
    public init(
        requestID: RequestID, trace: TraceContext, user: String, deadline: Deadline, callSpan: TraceContext? = nil,
        attempt: Int = 1, tally: RequestTally? = nil
    ) {
        self.requestID = requestID
        self.trace = trace
        self.user = user
        self.deadline = deadline
        self.callSpan = callSpan
        self.attempt = attempt
        self.tally = tally
    }

    /// The same call in another span, as another attempt, or counted by somebody. The span of the call itself is not kept: it is
    /// one attempt's.
    public func with(
        trace: TraceContext? = nil, callSpan: TraceContext? = nil, attempt: Int? = nil, tally: RequestTally? = nil
    ) -> CallContext {
        CallContext(
            requestID: requestID, trace: trace ?? self.trace, user: user, deadline: deadline,
            callSpan: callSpan, attempt: attempt ?? self.attempt, tally: tally ?? self.tally)
    }

    /// What the service is told of the trace: the span of the call, which nobody knows of unless it is recorded.
    var traceparent: String { (callSpan ?? trace.child()).header }
}

/// Calls one service and says what each answer means.
///
/// The codes of problem documents decide, not the bare status: a 404 from some other server that happens to listen there is
/// no refusal, and a 503 from a proxy says nothing about what ran behind it.
public final class ServiceCaller: Sendable {
    private let carrier: any CommandCarrier
    private let refusalCodes: Set<String>

    /// Problems by which our services promise that nothing was executed.
    private static let notExecutedCodes: Set<String> = [
        "store-unavailable", "draining", "overloaded", "deadline-exceeded", "too-many-requests",
    ]

    /// A caller of one service.
    ///
    /// - Parameters:
    ///   - carrier: brings the commands there.
    ///   - refusalCodes: the problems by which this service refuses a command for good.
    public init(carrier: any CommandCarrier, refusalCodes: Set<String>) {
        self.carrier = carrier
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
        read: (JSONNode) throws -> T
    ) async throws(CallFailure) -> T {
        let answer: ServiceAnswer
        do {
            answer = try await carrier.carry(ServiceCommand(path: path, key: key, body: body, context: context))
        } catch {
            throw Self.failure(error)
        }
        return try interpret(answer, read)
    }

    private static func failure(_ error: TransportError) -> CallFailure {
        switch error {
        case .notSent: .notSent(.unreachable)
        case .queueFull: .notSent(.queueFull)
        case .notSentInTime: .notSent(.timedOut)
        case .timedOut: .unknown(.timedOut)
        case .connectionLost: .unknown(.connectionLost)
        case .responseTooLarge, .notHTTP: .unknown(.garbled)
        }
    }

    private func interpret<T>(_ answer: ServiceAnswer, _ read: (JSONNode) throws -> T) throws(CallFailure) -> T {
        if answer.status == 200 {
            guard let json = answer.json, let value = try? read(json) else { throw .unknown(.garbled) }
            return value
        }
        guard let problem = answer.json.flatMap({ ProblemReader($0) }), problem.status == answer.status else {
            throw .unknown(.garbled, retryAfter: answer.retryAfter)
        }
        if refusalCodes.contains(problem.refusal.code) { throw .refused(problem.refusal) }
        if Self.notExecutedCodes.contains(problem.refusal.code) {
            throw .notExecuted(.unavailable, retryAfter: answer.retryAfter)
        }
        switch problem.refusal.code {
        case "provider-unavailable": throw .notExecuted(.providerUnavailable, retryAfter: answer.retryAfter)
        // The service answers, and does not know either: it waits for somebody else.
        case "request-in-progress", "outcome-unknown": throw .unknown(.inProgress, retryAfter: answer.retryAfter)
        case "gateway-timeout": throw .unknown(.timedOut, retryAfter: answer.retryAfter)
        default: throw .unknown(.garbled, retryAfter: answer.retryAfter)
        }
    }
}

/// The members of a problem document (RFC 9457) that a caller acts on.
package struct ProblemReader {
    package let status: Int
    package let refusal: Refusal

    package init?(_ json: JSONNode) {
        guard let status = json.member("status")?.number.flatMap({ Int($0) }), let code = json.member("code")?.string
        else { return nil }
        self.status = status
        refusal = Refusal(
            code: code, detail: json.member("detail")?.string ?? "", declineCode: json.member("declineCode")?.string)
    }
}
