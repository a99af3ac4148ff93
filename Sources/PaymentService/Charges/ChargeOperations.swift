import Money
import MoneyJSON
import OpenAPI
import ServiceKit

/// What the OpenAPI document says of the routes of charges and refunds.
enum ChargeOperations {
    static let charge = APIOperation(
        "charge", "Take money",
        """
        A `chargeId` of the caller's own is one attempt: its outcome is final, whatever key it comes with. Under another key than \
        its first the outcome is answered as that key's own, without `Idempotent-Replayed`.
        """,
        body: .object(
            isClosed: true,
            [
                .required("amount", Money.requestSchema),
                .optional("chargeId", .clientID("An id of the caller's own.")),
                .optional("orderId", .string("What is paid for.", length: 1...128)),
                .optional(
                    "method",
                    .string(
                        """
                        The payment method: `wallet`, the user's account in the currency, or `card`. Left out, the account if the \
                        user has opened or used one, and otherwise the card. Another one is declined.
                        """, length: 1...64, example: ChargeRequest.defaultMethod)),
            ]),
        example: #"{"amount":{"amount":2000,"currency":"USD"}}"#,
        answers: [
            .init(
                "The money was taken.",
                .object([
                    .required("chargeId", .string()), .required("status", .word(of: ["succeeded"])),
                    .required("amount", Money.schema),
                ]))
        ],
        problems: [.paymentDeclined, .chargeStateConflict, .providerUnavailable, .outcomeUnknown, .requestInProgress])

    static let refund = APIOperation(
        "refund", "Give money back, whole or in part",
        "All refunds of a charge together are never more than the charge.",
        body: .object(
            isClosed: true,
            [
                .required("chargeId", .clientID("The charge.")),
                .optional("amount", Money.requestSchema),
                .optional(
                    "orCancel",
                    .boolean("Also makes sure that a charge which was not made yet never takes money under this id.")),
            ]),
        example: #"{"chargeId":"my-charge-1","orCancel":true}"#,
        answers: [
            .init(
                "Given back, or there was nothing to give back.",
                .object([
                    .required("refundId", .string()), .required("chargeId", .string()),
                    .required(
                        "status",
                        .word("`canceled`: nothing was taken and never will be.", of: ["succeeded", "canceled"])),
                    .required("amount", Money.schema),
                ]))
        ],
        problems: [.chargeNotFound, .chargeStateConflict, .refundExceedsCharge, .providerUnavailable, .outcomeUnknown])

    static let getCharge = APIOperation(
        "getCharge", "One charge, with what was refunded of it", parameters: [.id("The charge.")],
        answers: [
            .init(
                "The charge.",
                .object([
                    .required("chargeId", .string()),
                    .required(
                        "status",
                        .word(of: ["pending", "succeeded", "failed", "canceled", "refunded", "partially_refunded"])),
                    .required("amount", Money.schema), .required("refunded", Money.schema),
                    .optional("refunding", Money.schema),
                    .optional("orderId", .string("What is paid for.")), .required("method", .string()),
                    .optional("declineCode", .string("Why it failed, if it did.")),
                    .required("createdAt", .string(format: "date-time")),
                ]))
        ],
        problems: [.chargeNotFound])

    static let events = APIOperation(
        "listChargeEvents", "All that became of a charge, oldest first",
        parameters: [.id("The charge.")] + APIOperation.Parameter.page(cursor: .string(pattern: "^[0-9]{1,18}$")),
        answers: [
            .init(
                "A page.",
                .object([
                    .required("events", .array(of: event)),
                    .required("nextCursor", .string("Ask for the next page with it; null at the end.").orNull),
                ]))
        ],
        problems: [.chargeNotFound])

    static let event = Schema.object(
        "Something that became of a charge. Never changed.",
        [
            .required("sequence", .integer("Its place, from 1.")),
            .required("type", .word(of: PaymentEvent.Kind.ofCharges.map(\.rawValue))),
            .optional("amount", Money.schema),
            .optional("refundId", .string("The refund that it is about, if it is about one.")),
            .optional("declineCode", .string("Why it failed, if it did.")),
            .required("at", .string(format: "date-time")),
        ]
    ).named("ChargeEvent")
}
