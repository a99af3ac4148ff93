import Correlation
import ProviderAPI
import Resilience
import ServiceClient

/// Something that a provider is asked.
package enum ProviderCall: Hashable, Sendable {
    case pay(ProviderCommand)
    /// Where the payment stands that this command has made, or not.
    case payment(ProviderCommand)
    /// That nothing be taken under the command's reference if nothing was.
    case cancel(ProviderCommand)
    case refund(ProviderRefundCommand)
    /// Whether the refund was made.
    case refundStatus(ProviderRefundCommand)

    /// In one word, for metrics.
    package var name: String {
        switch self {
        case .pay: "pay"
        case .payment: "payment"
        case .cancel: "cancel"
        case .refund: "refund"
        case .refundStatus: "refund_status"
        }
    }
}

/// Where the money of payments really moves. Each call is one attempt; every command is idempotent by its reference.
package protocol ProviderGateway: Sendable {
    /// Makes one call. - Parameters: requestID, trace: what it is known by at the provider.
    func perform(
        _ call: ProviderCall, at provider: Provider, as requestID: RequestID, in trace: TraceContext
    ) async -> ProviderReply
}

/// The providers over HTTP.
struct HTTPProviderGateway: ProviderGateway {
    private let clients: [Provider: ProviderClient]
    private let timeout: Duration
    private let time: any TimeSource

    init(_ clients: [Provider: ProviderClient], timeout: Duration, time: any TimeSource) {
        self.clients = clients
        self.timeout = timeout
        self.time = time
    }

    func perform(
        _ call: ProviderCall, at provider: Provider, as requestID: RequestID, in trace: TraceContext
    ) async -> ProviderReply {
        guard let client = clients[provider] else { return .notSent(.unreachable) }
        let context = CallContext(
            requestID: requestID, trace: trace, user: "",
            deadline: Deadline(after: timeout, on: time))
        switch call {
        case .pay(let command): return await client.pay(command, context)
        case .payment(let command): return await client.payment(command, context)
        case .cancel(let command): return await client.cancel(command, context)
        case .refund(let command): return await client.refund(command, context)
        case .refundStatus(let command): return await client.refundStatus(command, context)
        }
    }
}

extension ProviderReply {
    /// In one word, for metrics.
    var name: String {
        switch self {
        case .succeeded: "succeeded"
        case .pending: "pending"
        case .declined: "declined"
        case .canceled: "canceled"
        case .notFound: "not_found"
        case .refused: "refused"
        case .throttled: "throttled"
        case .notSent: "not_sent"
        case .unknown: "unknown"
        case .contradicted: "contradicted"
        }
    }

    /// What the answer says of the provider's health: a refusal is an answer.
    var health: CircuitBreaker.Result {
        switch self {
        case .succeeded, .pending, .declined, .canceled, .notFound, .refused, .throttled, .contradicted: .success
        case .notSent, .unknown: .failure
        }
    }
}
