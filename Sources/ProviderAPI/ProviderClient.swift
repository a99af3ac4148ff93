import Correlation
import Resilience
import ServiceClient
import StrictJSON

/// One provider over HTTP. Each call is one attempt; every command is idempotent by its reference. Whatever is asked, an answer
/// counts only if it is about the money of the command: of another amount or in another direction it settles nothing.
public struct ProviderClient: Sendable {
    private let baseURL: String
    private let transport: any Transport
    private let attemptTimeout: Duration
    private let time: any TimeSource

    /// A client.
    ///
    /// - Parameters:
    ///   - baseURL: the provider's address without a slash at the end, for example `http://127.0.0.1:3134/stripe`.
    ///   - attemptTimeout: the most that one attempt may take.
    public init(baseURL: String, transport: any Transport, attemptTimeout: Duration, time: any TimeSource) {
        self.baseURL = baseURL
        self.transport = transport
        self.attemptTimeout = attemptTimeout
        self.time = time
    }

    /// Has a payment made.
    public func pay(_ command: ProviderCommand, _ context: CallContext) async -> ProviderReply {
        let answer = await ask(
            "POST", "/v1/payments", command.reference, movesMoney: true, body: command.json(), context)
        return ProviderReply(answer, about: command)
    }

    /// Learns where a payment stands.
    public func payment(_ command: ProviderCommand, _ context: CallContext) async -> ProviderReply {
        let answer = await ask("GET", "/v1/payments/:reference", command.reference, context)
        if case .problem(404, let refusal) = answer, refusal.code == Self.notFoundCode { return .notFound }
        return ProviderReply(answer, about: command)
    }

    /// Makes sure that nothing is ever taken under a reference under which nothing was; answers how the payment stands
    /// otherwise.
    public func cancel(_ command: ProviderCommand, _ context: CallContext) async -> ProviderReply {
        let answer = await ask(
            "POST", "/v1/payments/:reference/cancel", command.reference, body: Array("{}".utf8), context)
        return ProviderReply(answer, about: command)
    }

    /// Has money given back.
    public func refund(_ command: ProviderRefundCommand, _ context: CallContext) async -> ProviderReply {
        let answer = await ask(
            "POST", "/v1/refunds", command.reference, movesMoney: true, body: command.json(), context)
        return ProviderReply(answer, about: command)
    }

    /// Learns whether a refund was made.
    public func refundStatus(_ command: ProviderRefundCommand, _ context: CallContext) async -> ProviderReply {
        let answer = await ask("GET", "/v1/refunds/:reference", command.reference, context)
        if case .problem(404, let refusal) = answer, refusal.code == Self.notFoundCode { return .notFound }
        return ProviderReply(answer, about: command)
    }

    // MARK: - Answers

    private static let notFoundCode = "not-found"

    /// An answer before anybody has looked whether it is about a payment.
    enum Answer {
        case value(JSONNode)
        case problem(Int, Refusal)
        /// None that could be about one: what stood in its way.
        case noAnswer(ProviderReply)
    }

    /// - Parameters:
    ///   - route: a path, with `:reference` where the reference stands.
    ///   - movesMoney: then the reference is the `Idempotency-Key`, and one copy is sent at the most: "too many requests" for a second one
    ///     would be taken for proof that nothing was taken.
    private func ask(
        _ method: String, _ route: String, _ reference: String, movesMoney: Bool = false, body: [UInt8] = [],
        _ context: CallContext
    ) async -> Answer {
        precondition(ProviderReference.isValid(reference), "a reference is part of a path")
        let remaining = context.deadline.remaining(on: time)
        guard remaining > .zero else { return .noAnswer(.notSent(.timedOut)) }
        var headers = [
            ServiceRequest.Header("X-Request-ID", context.requestID.value),
            ServiceRequest.Header("traceparent", context.trace.child().header),
        ]
        if !body.isEmpty { headers.append(.init("Content-Type", "application/json")) }
        if movesMoney { headers.append(.init("Idempotency-Key", reference)) }
        let request = ServiceRequest(
            method: method, url: baseURL + route.replacing(":reference", with: reference), headers: headers, body: body,
            timeout: min(attemptTimeout, remaining), isSentOnce: movesMoney)
        do {
            return Self.answer(try await transport.send(request))
        } catch {
            switch error {
            case .notSent: return .noAnswer(.notSent(.unreachable))
            case .queueFull: return .noAnswer(.notSent(.queueFull))
            case .notSentInTime: return .noAnswer(.notSent(.timedOut))
            case .timedOut: return .noAnswer(.unknown(.timedOut))
            case .connectionLost: return .noAnswer(.unknown(.connectionLost))
            case .notHTTP, .responseTooLarge: return .noAnswer(.unknown(.garbled))
            }
        }
    }

    /// A refusal is one only by the word of a problem document. Without one it may be that of a proxy, which may have held back the
    /// provider's answer and not our command.
    private static func answer(_ response: ServiceResponse) -> Answer {
        let json = try? JSONParser.parse(response.body)
        switch response.status {
        case 200: return json.map { .value($0) } ?? .noAnswer(.unknown(.garbled))
        case 400..<500:
            guard let problem = json.flatMap({ ProblemReader($0) }), problem.status == response.status else {
                // Too many requests for whoever stands there, which is heeded; whether the provider had the command all the same is not
                // known.
                return .noAnswer(.unknown(response.status == 429 ? .unavailable : .garbled, after: response.retryAfter))
            }
            switch problem.refusal.code {
            case "too-many-requests": return .noAnswer(.throttled(after: response.retryAfter))
            case "request-in-progress": return .noAnswer(.unknown(.inProgress, after: response.retryAfter))
            case "request-timeout": return .noAnswer(.unknown(.timedOut, after: response.retryAfter))
            case "payment-declined", "payment-canceled", "refund-exceeds-payment":
                return .problem(problem.status, problem.refusal)
            case _ where response.status == 429: return .noAnswer(.unknown(.unavailable, after: response.retryAfter))
            default:
                let mayPass = passing.contains(response.status) || response.retryAfter != nil
                return mayPass
                    ? .noAnswer(.unknown(.garbled, after: response.retryAfter))
                    : .problem(problem.status, problem.refusal)
            }
        case 500..<600: return .noAnswer(.unknown(.unavailable, after: response.retryAfter))
        default: return .noAnswer(.unknown(.garbled))
        }
    }

    /// Time-out, conflict and "too early": unless a code that we know says more, something is under way, or may be tried again.
    private static let passing: Set<Int> = [408, 409, 425]
}
