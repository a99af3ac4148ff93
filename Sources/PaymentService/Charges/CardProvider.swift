import Money

/// What a provider says about a charge or refund it was asked for.
public enum CardAnswer: Equatable, Sendable {
    /// The money has moved.
    case approved
    /// It will not move; the code says why.
    case declined(DeclineCode)
    /// This asking has moved nothing and the provider cannot say more, not even of earlier askings; it may be asked again.
    case unavailable
    /// It may have moved; asking again with the same id tells.
    case unknown
}

/// Why a payment is declined; the raw value is the problem's `declineCode`.
public enum DeclineCode: String, Equatable, Sendable {
    case cardDeclined = "card_declined"
    case insufficientFunds = "insufficient_funds"
    case methodNotSupported = "payment_method_not_supported"
}

/// A charge that a provider is asked for.
public struct CardCharge: Hashable, Sendable {
    /// Idempotent at the provider: the same id moves the money once.
    public let chargeID: String
    /// How much.
    public let amount: Money
    /// How it is paid.
    public let method: String
}

/// A refund that a provider is asked for.
public struct CardRefund: Hashable, Sendable {
    /// Idempotent at the provider.
    public let refundID: String
    /// The charge it gives back.
    public let charge: CardCharge
    /// How much of it.
    public let amount: Money
}

/// Where the money really moves. Both calls are idempotent by id and may be repeated until their answer is definite.
public protocol CardProvider: Sendable {
    /// The answer to a charge if it needs no call that can be lost: the charge is then recorded in one transaction. Nil when
    /// the intent must be durable before `charge` is called.
    func immediateAnswer(to charge: CardCharge) -> CardAnswer?
    /// Likewise for a refund.
    func immediateAnswer(to refund: CardRefund) -> CardAnswer?
    /// Asks for the money.
    func charge(_ charge: CardCharge) async -> CardAnswer
    /// Gives money back.
    func refund(_ refund: CardRefund) async -> CardAnswer
}
