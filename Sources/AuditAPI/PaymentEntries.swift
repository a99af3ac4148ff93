import Resilience
import StrictJSON

/// A payment through a provider, and what was given back of it.
public struct PaymentEntry: AuditEntry {
    public static let service = AuditedService.payment
    public static let path = "/audit/payments"

    /// The payment.
    public let id: String
    /// What it is, for example `withdraw`; `refund` for one that gives another back.
    public let kind: String
    /// Its status, as clients see it.
    public let status: String
    /// Whether the money goes into a wallet, as a deposit's does, or the refund of a withdrawal's.
    public let isInwards: Bool
    /// Through whom.
    public let provider: String
    /// How much.
    public let amount: Amount
    /// How much of it the payment's own record says was given back or is being given back, in minor units.
    public let refunded: Int64
    /// The sum of its refunds' records, those that failed left out, in minor units.
    public let refundRecords: Int64
    /// When it was made.
    public let createdAt: Timestamp

    /// Whether its end is still to come.
    public var isOpen: Bool { status == "new" || status == "processing" }

    /// Whether its provider has moved the money, and the ledger has it. What was given back of it is a payment of its own.
    public var hasMoved: Bool { ["succeeded", "partially_refunded", "refunded"].contains(status) }

    /// A payment.
    public init(
        id: String, kind: String, status: String, isInwards: Bool, provider: String, amount: Amount, refunded: Int64,
        refundRecords: Int64, createdAt: Timestamp
    ) {
        self.id = id
        self.kind = kind
        self.status = status
        self.isInwards = isInwards
        self.provider = provider
        self.amount = amount
        self.refunded = refunded
        self.refundRecords = refundRecords
        self.createdAt = createdAt
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("paymentId", id)
            json.string("kind", kind)
            json.string("status", status)
            json.bool("isInwards", isInwards)
            json.string("provider", provider)
            amount.write("amount", to: &json)
            json.integer("refunded", refunded)
            json.integer("refundRecords", refundRecords)
            json.integer("createdAtMs", createdAt.milliseconds)
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let id = reader.id("paymentId")
        let kind = reader.id("kind")
        let status = reader.id("status")
        let isInwards = reader.bool("isInwards")
        let provider = reader.id("provider")
        let amount = reader.nested("amount", Amount.init(json:))
        let refunded = reader.wholeNumber("refunded")
        let refundRecords = reader.wholeNumber("refundRecords")
        let createdAt = reader.timestamp("createdAtMs")
        try reader.finish()
        guard let id, let kind, let status, let isInwards, let provider, let amount, let refunded, let refundRecords,
            let createdAt
        else { throw ValidationFailure("#", "is not a payment") }
        self.init(
            id: id, kind: kind, status: status, isInwards: isInwards, provider: provider, amount: amount,
            refunded: refunded,
            refundRecords: refundRecords, createdAt: createdAt)
    }
}

/// What is set aside for open payments through a provider in one currency, by the ledger and by the payments, at one moment.
public struct ClearingEntry: AuditEntry {
    public static let service = AuditedService.payment
    public static let path = "/audit/clearing"

    /// The account, for example `clearing:stripe:USD`.
    public let id: String
    /// The currency's code.
    public let currency: String
    /// The account's balance, in minor units: what is set aside is below zero.
    public let balance: Int128
    /// What the open payments say is set aside for them, in minor units.
    public let held: Int128

    /// An account.
    public init(id: String, currency: String, balance: Int128, held: Int128) {
        self.id = id
        self.currency = currency
        self.balance = balance
        self.held = held
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("accountId", id)
            json.string("currency", currency)
            json.string("balance", String(balance))
            json.string("held", String(held))
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let id = reader.id("accountId")
        let currency = reader.id("currency")
        let sums = ["balance", "held"].compactMap { reader.id($0).flatMap { Int128($0) } }
        try reader.finish()
        guard let id, let currency, sums.count == 2 else { throw ValidationFailure("#", "is not an account") }
        self.init(id: id, currency: currency, balance: sums[0], held: sums[1])
    }
}
