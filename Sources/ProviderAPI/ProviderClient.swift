import Correlation
import Resilience
import ServiceClient
import StrictJSON

/// What one attempt to have a payment made, or to learn of one, has brought.
public enum PaymentOutcome: Equatable, Sendable {
    /// The money has moved; what was given back of it stands in the payment.
    case succeeded(ProviderPayment)
    /// The provider has taken it up and settles it by itself: ask again, or wait for its message.
    case pending(ProviderPayment)
    /// No money has moved and none will, says the provider of this reference.
    case declined(code: String)
    /// Nothing was taken under this reference, and nothing ever will be.
    case canceled
    /// Nothing was taken under this reference so far. An earlier attempt may still arrive: only `cancel` makes that harmless.
    case notFound
    /// The provider does not take this command, and will not. Whether an earlier attempt was taken it does not say.
    case refused(Refusal)
    /// This attempt took nothing; ask again after the wait.
    case throttled(retryAfter: Duration?)
    /// This attempt never left this process.
    case unavailable(CallTrouble)
    /// This attempt may have been taken: ask, never guess.
    case unknown(CallTrouble, retryAfter: Duration? = nil)
}

/// What one attempt to have a refund made, or to learn of one, has brought.
public enum RefundOutcome: Equatable, Sendable {
    /// The money was given back.
    case succeeded(ProviderRefund)
    /// Nothing was given back under this reference so far.
    case notFound
    /// The provider does not give this back, and will not.
    case refused(Refusal)
    /// This attempt gave nothing back; ask again after the wait.
    case throttled(retryAfter: Duration?)
    /// This attempt never left this process.
    case unavailable(CallTrouble)
    /// This attempt may have given the money back: ask, never guess.
    case unknown(CallTrouble, retryAfter: Duration? = nil)
}

/// One provider over HTTP. Each call is one attempt; every command is idempotent by its reference.
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
    public func pay(_ command: ProviderCommand, _ context: CallContext) async -> PaymentOutcome {
        let answer = await ask(
            "POST", "/v1/payments", command.reference, isKey: true, body: command.json(), context)
        let outcome = Self.payment(answer, reference: command.reference)
        // An answer about another command is no answer to this one.
        if let payment = outcome.payment,
            payment.command.kind != command.kind || payment.command.amount != command.amount
        {
            return .unknown(.garbled)
        }
        return outcome
    }

    /// Learns where a payment stands.
    public func payment(_ reference: String, _ context: CallContext) async -> PaymentOutcome {
        let answer = await ask("GET", "/v1/payments/:reference", reference, context)
        if case .problem(404, let refusal) = answer, refusal.code == Self.notFoundCode { return .notFound }
        return Self.payment(answer, reference: reference)
    }

    /// Makes sure that nothing is ever taken under a reference under which nothing was; answers how the payment stands
    /// otherwise.
    public func cancel(_ reference: String, _ context: CallContext) async -> PaymentOutcome {
        let answer = await ask(
            "POST", "/v1/payments/:reference/cancel", reference, body: Array("{}".utf8), context)
        return Self.payment(answer, reference: reference)
    }

    /// Has money given back.
    public func refund(_ command: ProviderRefundCommand, _ context: CallContext) async -> RefundOutcome {
        let answer = await ask(
            "POST", "/v1/refunds", command.reference, isKey: true, body: command.json(), context)
        let outcome = Self.refund(answer, reference: command.reference)
        if case .succeeded(let refund) = outcome, refund.command != command { return .unknown(.garbled) }
        return outcome
    }

    /// Learns whether a refund was made.
    public func refund(_ reference: String, _ context: CallContext) async -> RefundOutcome {
        let answer = await ask("GET", "/v1/refunds/:reference", reference, context)
        if case .problem(404, let refusal) = answer, refusal.code == Self.notFoundCode { return .notFound }
        return Self.refund(answer, reference: reference)
    }

    // MARK: - Answers

    private static let notFoundCode = "not-found"

    /// An answer before anybody has looked whether it is about a payment.
    private enum Answer {
        case value(JSONValue)
        case problem(Int, Refusal)
        case throttled(Duration?)
        case notSent(CallTrouble)
        case unknown(CallTrouble, Duration?)
    }

    /// - Parameters:
    ///   - route: a path, with `:reference` where the reference stands.
    ///   - isKey: whether the reference is sent as the `Idempotency-Key`.
    private func ask(
        _ method: String, _ route: String, _ reference: String, isKey: Bool = false, body: [UInt8] = [],
        _ context: CallContext
    ) async -> Answer {
        precondition(ProviderReference.isValid(reference), "a reference is part of a path")
        let remaining = context.deadline.remaining(on: time)
        guard remaining > .zero else { return .notSent(.timedOut) }
        var headers = [
            ServiceRequest.Header("X-Request-ID", context.requestID.value),
            ServiceRequest.Header("traceparent", context.trace.child().header),
        ]
        if !body.isEmpty { headers.append(.init("Content-Type", "application/json")) }
        if isKey { headers.append(.init("Idempotency-Key", reference)) }
        let request = ServiceRequest(
            method: method, url: baseURL + route.replacing(":reference", with: reference), headers: headers, body: body,
            timeout: min(attemptTimeout, remaining))
        do {
            return Self.answer(try await transport.send(request))
        } catch {
            switch error {
            case .notSent: return .notSent(.unreachable)
            case .queueFull: return .notSent(.queueFull)
            case .notSentInTime: return .notSent(.timedOut)
            case .timedOut: return .unknown(.timedOut, nil)
            case .connectionLost: return .unknown(.connectionLost, nil)
            case .notHTTP, .responseTooLarge: return .unknown(.garbled, nil)
            }
        }
    }

    /// The code of a problem document decides, not the bare status: what some other server says there is not the provider's
    /// word. Only a 429 needs none, since whoever sends it has let nothing through.
    private static func answer(_ response: ServiceResponse) -> Answer {
        let json = try? JSONParser.parse(response.body)
        switch response.status {
        case 200: return json.map { .value($0) } ?? .unknown(.garbled, nil)
        case 429: return .throttled(response.retryAfter)
        case 400..<500:
            guard let problem = json.flatMap({ ProblemReader($0) }), problem.status == response.status else {
                return .unknown(.garbled, response.retryAfter)
            }
            switch problem.refusal.code {
            case "request-in-progress": return .unknown(.inProgress, response.retryAfter)
            case "request-timeout": return .unknown(.timedOut, response.retryAfter)
            default: return .problem(problem.status, problem.refusal)
            }
        case 500..<600: return .unknown(.unavailable, response.retryAfter)
        default: return .unknown(.garbled, nil)
        }
    }

    private static func payment(_ answer: Answer, reference: String) -> PaymentOutcome {
        switch answer {
        case .value(let json):
            if isCanceled(json, reference: reference) { return .canceled }
            guard let payment = try? ProviderPayment(json: json), payment.command.reference == reference else {
                return .unknown(.garbled)
            }
            switch payment.status {
            case .pending: return .pending(payment)
            case .succeeded, .refunded: return .succeeded(payment)
            case .declined: return .declined(code: payment.declineCode ?? unspecifiedDecline)
            }
        case .problem(402, let refusal) where refusal.code == "payment-declined":
            return .declined(code: refusal.declineCode ?? unspecifiedDecline)
        case .problem(409, let refusal) where refusal.code == "payment-canceled": return .canceled
        case .problem(_, let refusal): return .refused(refusal)
        case .throttled(let retryAfter): return .throttled(retryAfter: retryAfter)
        case .notSent(let trouble): return .unavailable(trouble)
        case .unknown(let trouble, let retryAfter): return .unknown(trouble, retryAfter: retryAfter)
        }
    }

    private static let unspecifiedDecline = "unspecified"

    private static func isCanceled(_ json: JSONValue, reference: String) -> Bool {
        guard var reader = try? ObjectReader(json) else { return false }
        return reader.reference("reference") == reference
            && reader.string("status", length: 1...64) == ProviderPayment.canceledStatus
    }

    private static func refund(_ answer: Answer, reference: String) -> RefundOutcome {
        switch answer {
        case .value(let json):
            guard let refund = try? ProviderRefund(json: json), refund.command.reference == reference else {
                return .unknown(.garbled)
            }
            return .succeeded(refund)
        case .problem(_, let refusal): return .refused(refusal)
        case .throttled(let retryAfter): return .throttled(retryAfter: retryAfter)
        case .notSent(let trouble): return .unavailable(trouble)
        case .unknown(let trouble, let retryAfter): return .unknown(trouble, retryAfter: retryAfter)
        }
    }
}

extension PaymentOutcome {
    /// The payment that the answer is about.
    public var payment: ProviderPayment? {
        switch self {
        case .succeeded(let payment), .pending(let payment): payment
        case .declined, .canceled, .notFound, .refused, .throttled, .unavailable, .unknown: nil
        }
    }
}
