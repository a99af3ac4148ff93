import Idempotency
import Money
import MoneyJSON
import Resilience
import ServiceKit
import StrictJSON

/// What a client asks to be charged.
struct ChargeRequest: Hashable, Sendable {
    /// Used when a client names no method and has no wallet in the currency.
    static let defaultMethod = "card"
    /// Pays from the user's wallet. A client that names no method pays so too if there is a wallet.
    static let walletMethod = "wallet"

    /// The caller's own id, if it has one; its outcome is final.
    let chargeID: String?
    let orderID: String?
    let amount: Money
    /// Nil leaves the choice between wallet and card to Payment.
    let method: String?

    /// Reads a command. - Throws: `ValidationFailure`.
    init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let amount = reader.nested("amount") { value throws(ValidationFailure) in
            try Money(json: value, in: 1...Int64.max)
        }
        chargeID = reader.clientID("chargeId", required: false)
        orderID = reader.string("orderId", length: 1...128, required: false)
        method = reader.string("method", length: 1...64, required: false)
        try reader.finish()
        guard let amount else { throw ValidationFailure("#/amount", "is required") }
        self.amount = amount
    }

    /// The command's fields for its fingerprint. To name no method is another command than to name the card: it may be paid from
    /// the wallet.
    var fields: [String?] { [chargeID, orderID, String(amount.minorUnits), amount.currency.code, method] }

    /// What a key stands for that such a command has used.
    var fingerprint: Fingerprint { Fingerprint(operation: "charge, method as sent", fields: fields) }

    /// What the fields were before there were wallets.
    var fieldsOfVersionBefore: [String?] { fields.dropLast() + [method ?? Self.defaultMethod] }

    /// Whether a charge made under this method is one that the request could have made.
    func accepts(method made: String) -> Bool {
        method.map { $0 == made } ?? (made == Self.defaultMethod || made == Self.walletMethod)
    }
}

/// Money taken, or about to be.
struct Charge: Hashable, Sendable {
    /// The states; all but the first are final.
    enum Status: String, Sendable {
        /// The provider was or will be asked and has not answered.
        case pending
        /// The money was taken.
        case succeeded
        /// The provider declined.
        case failed
        /// Never taken, and never will be under this id.
        case canceled
    }

    let id: String
    let user: String
    let orderID: String?
    let method: String
    let amount: Money
    /// What was given back or is about to be, in minor units.
    let refunded: Int64
    let status: Status
    let declineCode: DeclineCode?
    /// The client's key that the charge was claimed under; nil for a tombstone.
    let key: String?
    let createdAt: Timestamp
    /// The number of the wallet that pays; nil when a provider does. Chosen once: a wallet that is opened later changes nothing.
    var wallet: Int64?
    /// Of the command, when its key is another than the id and is to be known for ever.
    var fingerprint: Fingerprint?

    /// What is left to refund, in minor units.
    var refundable: Int64 { amount.minorUnits - refunded }

    /// What the provider is asked for.
    var cardCharge: CardCharge { CardCharge(chargeID: id, amount: amount, method: method) }

    /// The answer to `POST /charge`.
    func receiptJSON() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("chargeId", id)
                json.string("status", Status.succeeded.rawValue)
                json.money("amount", amount)
            }
        }
    }

    /// The charge as `GET /charges/{id}` shows it.
    ///
    /// - Parameter refunding: what of `refunded` is only about to be given back, in minor units: it may still be dropped.
    func json(refunding: Int64) -> [UInt8] {
        let given = refunded - refunding
        return JSONWriter.bytes { json in
            json.object { json in
                json.string("chargeId", id)
                json.string("status", shownStatus(given))
                json.money("amount", amount)
                json.money("refunded", Money(minorUnits: given, currency: amount.currency))
                if refunding > 0 {
                    json.money("refunding", Money(minorUnits: refunding, currency: amount.currency))
                }
                if let orderID { json.string("orderId", orderID) }
                json.string("method", method)
                if let declineCode { json.string("declineCode", declineCode.rawValue) }
                json.string("createdAt", createdAt.description)
            }
        }
    }

    private func shownStatus(_ given: Int64) -> String {
        guard status == .succeeded, given > 0 else { return status.rawValue }
        return given == amount.minorUnits ? "refunded" : "partially_refunded"
    }
}

/// Money given back, or about to be.
struct Refund: Hashable, Sendable {
    enum Status: String, Sendable {
        case pending, succeeded
    }

    let id: String
    let chargeID: String
    let user: String
    let amount: Int64
    let status: Status
    let key: String
    let createdAt: Timestamp
    /// Of the command; nil of one that an older version has stored.
    var fingerprint: Fingerprint?
}

/// The answer to `POST /refund`.
struct RefundReceipt: Hashable, Sendable {
    let refundID: String
    let chargeID: String
    /// `succeeded`, or `canceled` when there was nothing to give back and there never will be.
    let status: String
    let amount: Money

    func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("refundId", refundID)
                json.string("chargeId", chargeID)
                json.string("status", status)
                json.money("amount", amount)
            }
        }
    }
}
