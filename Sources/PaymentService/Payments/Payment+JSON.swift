import Money
import MoneyJSON
import OpenAPI
import ProviderAPI
import Resilience
import StrictJSON

extension Payment {
    private func money(_ minorUnits: Int64) -> Money { Money(minorUnits: minorUnits, currency: amount.currency) }

    /// The answer to the command that made it: what never changes, so that it can be given again to the byte, for ever (IK-11).
    func receiptJSON() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                if let refundOf {
                    json.string("refundId", id)
                    json.string("paymentId", refundOf)
                } else {
                    json.string("paymentId", id)
                }
                json.string("type", kind.rawValue)
                json.string("status", Status.new.rawValue)
                json.string("provider", provider.rawValue)
                json.string("sourceAccountId", accountID)
                json.money("amount", amount)
                json.money("fee", money(fee))
                json.string("createdAt", createdAt.description)
            }
        }
    }

    /// The payment as its owner sees it. - Parameter earliest: when its provider can be asked at the earliest.
    func write(to json: inout JSONWriter, earliest: Timestamp? = nil) {
        json.object { writeMembers(to: &$0, earliest: earliest) }
    }

    func writeMembers(to json: inout JSONWriter, earliest: Timestamp? = nil) {
        json.string("paymentId", id)
        json.string("type", kind.rawValue)
        json.string("status", status.rawValue)
        json.string("provider", provider.rawValue)
        json.string("sourceAccountId", accountID)
        json.string("userId", user)
        json.money("amount", amount)
        json.money("fee", money(fee))
        json.money("refunded", money(refunded))
        if let refundOf { json.string("refundOf", refundOf) }
        if let retryOf { json.string("retryOf", retryOf) }
        json.integer("attempts", task.attempts)
        if let declineCode { json.string("declineCode", declineCode) }
        if let lastError { json.string("lastError", lastError) }
        if status.isOpen, leaseOwner == nil, lastError != nil {
            json.string("nextRetryAt", max(dueAt, earliest ?? dueAt).description)
        }
        json.string("createdAt", createdAt.description)
        json.string("updatedAt", updatedAt.description)
    }

    func json(earliest: Timestamp? = nil) -> [UInt8] { JSONWriter.bytes { write(to: &$0, earliest: earliest) } }

    // MARK: - Schemas

    private static let type = Schema.word(of: Kind.allCases.map(\.rawValue))
    private static let providers = Schema.word(of: Provider.allCases.map(\.rawValue))
    private static let moment = Schema.string(format: "date-time")

    private static let common: [Schema.Property] = [
        .required("type", type), .required("provider", providers),
        .required("sourceAccountId", .string("The account that the money goes into or comes from.")),
        .required("amount", Money.schema),
        .required(
            "fee",
            Money.schema),
        .required("createdAt", moment),
    ]

    static let receiptSchema = Schema.object(
        "A payment that was taken on. Ask for it at `Location` to learn how it goes.",
        [.required("paymentId", .string()), .required("status", .word(of: [Status.new.rawValue]))] + common
    ).named("PaymentReceipt")

    static let refundReceiptSchema = Schema.object(
        "A refund that was taken on. It is a payment too, which `Location` shows.",
        [
            .required("refundId", .string()), .required("paymentId", .string("What is given back.")),
            .required("status", .word(of: [Status.new.rawValue])),
        ] + common
    ).named("PaymentRefundReceipt")

    /// What `writeMembers` writes.
    static let members: [Schema.Property] =
        [
            .required("paymentId", .string()), .required("status", .word(of: Status.allCases.map(\.rawValue))),
            .required("userId", .string("Whose account it is.")),
            .required("refunded", Money.schema),
            .optional("refundOf", .string("Of a refund: the payment.")),
            .optional("retryOf", .string("The payment that was given up, for which this one was made anew.")),
            .required("attempts", .integer("How often the provider was sent it.")),
            .optional("declineCode", .string("Why the provider declined, if it did.")),
            .optional("lastError", .string("Why the last attempt brought no success.")),
            .optional("nextRetryAt", moment),
            .required("updatedAt", moment),
        ] + common

    static let schema = Schema.object("A payment through a provider, or the refund of one.", members).named("Payment")
}
