import Money
import MoneyJSON
import StrictJSON

/// The payment providers that Payment knows.
public enum Provider: String, CaseIterable, Sendable {
    case stripe
    case paypal
}

/// The id that a caller makes and stores before it calls a provider: the identity of the payment or refund for ever.
public enum ProviderReference {
    /// Characters that a reference may have. It is part of a path, so no others.
    public static let pattern = "^[A-Za-z0-9_-]{1,128}$"

    /// Whether a text may be a reference.
    public static func isValid(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"): true
                default: false
                }
            }
    }
}

/// Take money from a customer, or pay it out to one, under this reference.
public struct ProviderCommand: Hashable, Sendable {
    /// Which way the money goes.
    public enum Kind: String, CaseIterable, Sendable {
        /// From the customer.
        case charge
        /// To the customer.
        case payout
    }

    /// Made and stored by the caller before the call; bound to the rest of the command for ever.
    public let reference: String
    /// Which way the money goes.
    public let kind: Kind
    /// How much; at least one minor unit.
    public let amount: Money
    /// The customer's means of payment, 1 to 64 characters; nil is the usual one.
    public let token: String?

    /// A command.
    public init(reference: String, kind: Kind, amount: Money, token: String? = nil) {
        self.reference = reference
        self.kind = kind
        self.amount = amount
        self.token = token
    }
}

/// What a provider keeps under a reference.
public struct ProviderPayment: Hashable, Sendable {
    /// Where a payment stands. All but the first are final, but for a success, of which money may be given back.
    public enum Status: String, CaseIterable, Sendable {
        /// Taken up; the provider will settle it by itself.
        case pending
        /// The money has moved.
        case succeeded
        /// The money has moved, and all of it was given back.
        case refunded
        /// No money has moved and none will.
        case declined
    }

    /// The provider's own id.
    public let id: String
    /// What was asked for.
    public let command: ProviderCommand
    /// Where it stands.
    public var status: Status
    /// How much of it was given back.
    public var refunded: Money
    /// Why it was declined; nil if it was not.
    public var declineCode: String?

    /// A payment.
    public init(id: String, command: ProviderCommand, status: Status, refunded: Money, declineCode: String? = nil) {
        self.id = id
        self.command = command
        self.status = status
        self.refunded = refunded
        self.declineCode = declineCode
    }
}

/// Give this much of a payment back, under a reference of its own.
public struct ProviderRefundCommand: Hashable, Sendable {
    /// Made and stored by the caller before the call.
    public let reference: String
    /// The payment.
    public let paymentReference: String
    /// How much; at least one minor unit, in the payment's currency.
    public let amount: Money

    /// A command.
    public init(reference: String, paymentReference: String, amount: Money) {
        self.reference = reference
        self.paymentReference = paymentReference
        self.amount = amount
    }
}

/// A refund that a provider has made.
public struct ProviderRefund: Hashable, Sendable {
    /// The provider's own id.
    public let id: String
    /// What was asked for.
    public let command: ProviderRefundCommand

    /// A refund.
    public init(id: String, command: ProviderRefundCommand) {
        self.id = id
        self.command = command
    }
}
