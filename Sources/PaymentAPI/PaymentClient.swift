import Money
import MoneyJSON
import Resilience
import ServiceClient
import StrictJSON

/// What Order asks of Payment. Each call is one attempt; every command is idempotent by its id.
public protocol PaymentClient: Sendable {
    /// Takes the money. - Throws: `CallFailure`.
    func charge(_ command: ChargeCommand, _ context: CallContext) async throws(CallFailure)
    /// Gives all of it back, or makes sure that a late charge with this id takes none. - Throws: `CallFailure`.
    func refund(_ command: RefundCommand, _ context: CallContext) async throws(CallFailure)
}

/// Take this much under this id.
public struct ChargeCommand: Hashable, Sendable {
    /// Made and stored by the caller before the call; bound to the amount and the order for good (hazard 26).
    public let chargeID: String
    /// The order it pays for.
    public let orderID: String
    /// How much.
    public let amount: Money
    /// The payment method; nil is the customer's default.
    public let method: String?

    /// A command.
    public init(chargeID: String, orderID: String, amount: Money, method: String?) {
        self.chargeID = chargeID
        self.orderID = orderID
        self.amount = amount
        self.method = method
    }
}

/// Give a charge back in full, whether or not it was ever made.
public struct RefundCommand: Hashable, Sendable {
    /// Made and stored by the caller before the call.
    public let refundID: String
    /// The charge.
    public let chargeID: String

    /// A command.
    public init(refundID: String, chargeID: String) {
        self.refundID = refundID
        self.chargeID = chargeID
    }
}

/// Payment over HTTP.
public struct HTTPPaymentClient: PaymentClient {
    /// Problems by which Payment refuses for good. Only `payment-declined` means that nothing lies under the charge's id.
    public static let refusalCodes: Set<String> = [
        "payment-declined", "charge-state-conflict", "charge-not-found", "refund-exceeds-charge", "validation-failed",
        "idempotency-key-reused",
    ]

    private let caller: ServiceCaller

    /// A client. - Parameter caller: knows Payment's address and `refusalCodes`.
    public init(caller: ServiceCaller) {
        self.caller = caller
    }

    public func charge(_ command: ChargeCommand, _ context: CallContext) async throws(CallFailure) {
        let body = JSONWriter.bytes { json in
            json.object { json in
                json.string("chargeId", command.chargeID)
                json.string("orderId", command.orderID)
                json.money("amount", command.amount)
                if let method = command.method { json.string("method", method) }
            }
        }
        try await caller.post("/charge", key: command.chargeID, body: body, context: context) { json in
            var reader = try ObjectReader(json)
            guard reader.string("chargeId", length: 1...128) == command.chargeID,
                reader.string("status", length: 1...32) == "succeeded",
                reader.nested(
                    "amount",
                    { value throws(ValidationFailure) in
                        try Money(json: value, in: 1...Int64.max)
                    }) == command.amount
            else { throw ValidationFailure("#", "is not the charge asked for") }
        }
    }

    public func refund(_ command: RefundCommand, _ context: CallContext) async throws(CallFailure) {
        let body = JSONWriter.bytes { json in
            json.object { json in
                json.string("chargeId", command.chargeID)
                json.bool("orCancel", true)
            }
        }
        try await caller.post("/refund", key: command.refundID, body: body, context: context) { json in
            var reader = try ObjectReader(json)
            guard reader.string("chargeId", length: 1...128) == command.chargeID,
                ["succeeded", "canceled"].contains(reader.string("status", length: 1...32))
            else { throw ValidationFailure("#", "is not the refund asked for") }
        }
    }
}
