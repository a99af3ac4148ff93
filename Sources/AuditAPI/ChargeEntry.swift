import Resilience
import StrictJSON

/// A charge at Payment, and what was refunded of it.
public struct ChargeEntry: AuditEntry {
    /// The states of a charge.
    public enum Status: String, Sendable {
        case pending, succeeded, failed, canceled
    }

    public static let service = AuditedService.payment
    public static let path = "/audit/charges"

    /// The charge.
    public let id: String
    /// Who was charged; empty for nobody in particular.
    public let user: String
    /// The order that the caller said it pays for.
    public let orderID: String?
    /// Its state.
    public let status: Status
    /// How much.
    public let amount: Amount
    /// How much of it the charge's own record says was refunded or is being refunded, in minor units.
    public let refunded: Int64
    /// The sum of the refunds' records, in minor units.
    public let refundRecords: Int64
    /// How much of `refundRecords` was asked for under one of the keys that the request named.
    public let refundedUnderKeys: Int64
    /// When the oldest refund without an answer was asked for; nil when every refund is settled.
    public let refundPendingSince: Timestamp?
    /// Whether the charge was asked for under its own id as the key, as Order does.
    public let isKeyedByID: Bool
    /// Whether its payment is in the ledger: not if it took nothing, nor, until it is entered, if it was made before there was one.
    public let isInLedger: Bool
    /// How much of it the refunds gave back that are in the ledger, in minor units.
    public let refundedInLedger: Int64
    /// When it was made.
    public let createdAt: Timestamp

    /// A charge.
    public init(
        id: String, user: String, orderID: String?, status: Status, amount: Amount, refunded: Int64,
        refundRecords: Int64, refundedUnderKeys: Int64, refundPendingSince: Timestamp?, isKeyedByID: Bool,
        isInLedger: Bool, refundedInLedger: Int64, createdAt: Timestamp
    ) {
        self.id = id
        self.user = user
        self.orderID = orderID
        self.status = status
        self.amount = amount
        self.refunded = refunded
        self.refundRecords = refundRecords
        self.refundedUnderKeys = refundedUnderKeys
        self.refundPendingSince = refundPendingSince
        self.isKeyedByID = isKeyedByID
        self.isInLedger = isInLedger
        self.refundedInLedger = refundedInLedger
        self.createdAt = createdAt
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("chargeId", id)
            json.string("user", user)
            if let orderID { json.string("orderId", orderID) }
            json.string("status", status.rawValue)
            amount.write("amount", to: &json)
            json.integer("refunded", refunded)
            json.integer("refundRecords", refundRecords)
            json.integer("refundedUnderKeys", refundedUnderKeys)
            if let refundPendingSince { json.integer("refundPendingSinceMs", refundPendingSince.milliseconds) }
            json.bool("keyIsChargeId", isKeyedByID)
            json.bool("inLedger", isInLedger)
            json.integer("refundedInLedger", refundedInLedger)
            json.integer("createdAtMs", createdAt.milliseconds)
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let id = reader.id("chargeId")
        let user = reader.id("user")
        let orderID = reader.id("orderId", required: false)
        let status = reader.id("status").flatMap { Status(rawValue: $0) }
        let amount = reader.nested("amount", Amount.init(json:))
        let refunded = reader.wholeNumber("refunded")
        let refundRecords = reader.wholeNumber("refundRecords")
        let refundedUnderKeys = reader.wholeNumber("refundedUnderKeys")
        let refundPendingSince = reader.timestamp("refundPendingSinceMs", required: false)
        let isKeyedByID = reader.bool("keyIsChargeId")
        let isInLedger = reader.bool("inLedger")
        let refundedInLedger = reader.wholeNumber("refundedInLedger")
        let createdAt = reader.timestamp("createdAtMs")
        try reader.finish()
        guard let id, let user, let status, let amount, let refunded, let refundRecords, let refundedUnderKeys,
            let isKeyedByID, let isInLedger, let refundedInLedger, let createdAt
        else { throw ValidationFailure("#", "is not a charge") }
        self.init(
            id: id, user: user, orderID: orderID, status: status, amount: amount, refunded: refunded,
            refundRecords: refundRecords, refundedUnderKeys: refundedUnderKeys, refundPendingSince: refundPendingSince,
            isKeyedByID: isKeyedByID, isInLedger: isInLedger, refundedInLedger: refundedInLedger, createdAt: createdAt)
    }
}
