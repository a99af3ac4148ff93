import Money
import MoneyJSON
import OpenAPI

extension ProviderCommand {
    /// The command as it is taken.
    public static let schema = Schema.object(
        isClosed: true,
        [
            .required("reference", .reference("The caller's own id; the same as the `Idempotency-Key`.")),
            .required("kind", .word("From the customer, or to one.", of: Kind.allCases.map(\.rawValue))),
            .required("amount", .amountRequest),
            .optional("token", .string("The means of payment.", length: ProviderLimits.token)),
            .optional("capture", .boolean("True: money that is only set aside is not supported.")),
        ])
}

extension ProviderPayment {
    /// A payment as it is answered.
    public static let schema = Schema.object(
        "A payment as it stands.",
        [
            .required("id", .string("The provider's id.")), .required("reference", .string("The caller's id.")),
            .required("kind", .word(of: ProviderCommand.Kind.allCases.map(\.rawValue))),
            .required("status", .word("`declined` is final.", of: Status.allCases.map(\.rawValue))),
            .required("amount", Money.schema), .required("refunded", Money.schema),
            .optional("declineCode", .string("Why it was declined, if it was.")),
        ]
    ).named("ProviderPayment")

    /// What stands for a payment that was canceled before it was taken.
    public static let canceledSchema = Schema.object(
        "Nothing was taken under this reference and nothing ever will be.",
        [.required("reference", .string()), .required("status", .word(of: [canceledStatus]))]
    ).named("CanceledPayment")

    static let canceledStatus = "canceled"
}

extension ProviderRefundCommand {
    /// The command as it is taken.
    public static let schema = Schema.object(
        isClosed: true,
        [
            .required("reference", .reference("The caller's own id; the same as the `Idempotency-Key`.")),
            .required("paymentReference", .reference("The payment.")),
            .required("amount", .amountRequest),
        ])
}

extension ProviderRefund {
    /// A refund as it is answered.
    public static let schema = Schema.object(
        "A refund.",
        [
            .required("id", .string("The provider's id.")), .required("reference", .string("The caller's id.")),
            .required("paymentReference", .string()), .required("status", .word(of: [status])),
            .required("amount", Money.schema),
        ]
    ).named("ProviderRefund")
}

extension WebhookEvent {
    /// An event as it is delivered.
    public static let schema = Schema.object(
        "What has become of a payment or a refund. Delivered at least once, and in any order.",
        [
            .required("type", .string("What happened.", length: 1...64, example: Kind.paymentSucceeded.rawValue)),
            .required("timestamp", .string("When.", format: "date-time")),
            .required(
                "data",
                .object([
                    .required("reference", .reference("The caller's id of the payment or the refund.")),
                    .required("status", .string("Where it stands.", length: 1...64)),
                    .optional("amount", .amountRequest),
                    .optional("paymentReference", .reference("What a refund is of.")),
                    .optional(
                        "declineCode", .string("Why it was declined, if it was.", length: ProviderLimits.declineCode)),
                ])),
        ]
    ).named("WebhookEvent")
}

extension Schema {
    fileprivate static func reference(_ description: String) -> Schema {
        .string(description, pattern: ProviderReference.pattern, example: "01a1fc67-dc5f-7554-912e-482e7058eb49")
    }

    fileprivate static let amountRequest = Schema.object(
        isClosed: true,
        [
            .required("amount", .integer("Whole minor units.", in: ProviderLimits.amounts, example: 2000)),
            .required("currency", .word("ISO 4217.", of: Currency.codes)),
        ])
}
