import Money
import MoneyJSON
import Resilience
import Storage
import StrictJSON

/// Something that became of a payment. The trail of a payment's events is written in the transactions of the changes
/// themselves, is in order, and is never changed.
struct PaymentEvent: Hashable, Sendable {
    /// The kinds; the raw value is stored.
    enum Kind: String, Sendable, CaseIterable {
        /// Stored before the provider is asked.
        case pending
        /// The money was taken.
        case succeeded
        /// Declined; `code` says why.
        case failed
        /// Will never take money under this id.
        case canceled
        /// The provider took nothing and could not say more; the id is free again.
        case dropped
        /// A refund was stored before the provider is asked.
        case refundPending = "refund_pending"
        /// Money was given back.
        case refunded
        /// The provider gave nothing back; the refund is forgotten.
        case refundDropped = "refund_dropped"
        /// Made before there was a ledger, and entered into it later.
        case entered
        /// A payment through a provider was stored, and its money set aside.
        case created
        /// A worker has taken it up.
        case processing
        /// A worker has taken it up from one that had fallen silent.
        case takenOver = "taken_over"
        /// The provider did not take it, or it is not known whether it did.
        case unanswered
        /// The provider has taken it up and settles it later.
        case waiting
        /// No further attempt: the provider is asked to take nothing any more, and to say what it took.
        case closing
        /// Given up; an operator may make it anew.
        case deadLettered = "dead_lettered"
        /// The provider says that it has moved the money of a payment which has ended without that.
        case contradicted
        /// An operator has made it anew, or has let it be.
        case retried, discarded

        /// What may become of a charge.
        static let ofCharges: [Kind] = [
            .pending, .succeeded, .failed, .canceled, .dropped, .refundPending, .refunded, .refundDropped, .entered,
        ]
        /// What may become of a payment through a provider.
        static let ofPayments: [Kind] = [
            .created, .processing, .takenOver, .unanswered, .waiting, .closing, .succeeded, .failed, .canceled,
            .deadLettered, .contradicted, .retried, .discarded, .refundPending, .refunded, .refundDropped,
        ]
    }

    let kind: Kind
    /// Of a refund's event, which.
    var refundID: String?
    /// Minor units of the payment's currency that it is about.
    var amount: Int64?
    var code: String?
    let at: Timestamp
}

/// An event with its place in the trail of its payment, from 1.
struct RecordedEvent: Hashable, Sendable {
    let sequence: Int64
    let event: PaymentEvent
    /// That of a charge which was dropped later; nil is that of the payment as it is now.
    var currency: Currency?

    /// - Parameter codeName: what the code is.
    func write(to json: inout JSONWriter, currency: Currency, codeName: StaticString = "declineCode") {
        json.object { json in
            json.integer("sequence", sequence)
            json.string("type", event.kind.rawValue)
            if let amount = event.amount {
                json.money("amount", Money(minorUnits: amount, currency: self.currency ?? currency))
            }
            if let refundID = event.refundID { json.string("refundId", refundID) }
            if let code = event.code { json.string(codeName, code) }
            json.string("at", event.at.description)
        }
    }
}

extension RecordedEvent {
    /// - Parameter row: sequence, type, refund, amount, code, time, currency.
    init(_ row: any SQLRow, of id: String) throws {
        guard let kind = PaymentEvent.Kind(rawValue: row.text(1)) else {
            throw StoreError.failed("payment \(id) has an event of the kind \(row.text(1))")
        }
        self.init(
            sequence: row.integer(0),
            event: PaymentEvent(
                kind: kind, refundID: row.optionalText(2), amount: row.optionalInteger(3),
                code: row.optionalText(4), at: Timestamp(milliseconds: row.integer(5))),
            currency: row.optionalText(6).flatMap { Currency(code: $0) })
    }
}
