import Money
import MoneyJSON
import OpenAPI
import ProviderAPI
import ServiceKit

/// What the OpenAPI document says of the mock provider's routes.
struct MockProviderOperations {
    static let service = APIDescription(
        name: "mock-provider", title: "Mock provider", port: 3134, isBehindNginx: false,
        """
        A payment processor without a bank behind it. Tokens make a chosen outcome happen, settings make faults happen at a rate. \
        What it has taken it keeps for good.
        """)

    let provider: Provider

    private var title: String { provider.rawValue }

    var pay: APIOperation {
        APIOperation(
            "\(title)Pay", "Take a payment, or make a payout",
            """
            The `Idempotency-Key` is the `reference`, for ever. The same command again is answered with the payment as it stands \
            then; a decline stays one.
            """,
            body: ProviderCommand.schema,
            example: """
                {"reference":"my-payment-1","kind":"charge","amount":{"amount":2000,"currency":"USD"},"token":"tok_visa"}
                """,
            answers: [.init("Taken.", ProviderPayment.schema)], problems: [.paymentDeclined, .paymentCanceled])
    }

    var list: APIOperation {
        APIOperation(
            "\(title)ListPayments", "What was taken, oldest first",
            parameters: APIOperation.Parameter.page(cursor: .string(pattern: "^[0-9]{1,18}$")),
            answers: [
                .init(
                    "A page.",
                    .object([
                        .required("payments", .array(of: ProviderPayment.schema)),
                        .required("nextCursor", .string("Ask for the next page with it; null at the end.").orNull),
                    ]))
            ])
    }

    var payment: APIOperation {
        APIOperation(
            "\(title)GetPayment", "One payment as it stands", parameters: [Self.reference],
            answers: [.init("Taken, or canceled before it was.", Self.entry)])
    }

    var cancel: APIOperation {
        APIOperation(
            "\(title)CancelPayment", "Make sure that nothing is taken late",
            "A reference that was never taken is closed for good. One that was taken is answered as it stands, and not changed.",
            parameters: [Self.reference], answers: [.init("Canceled, or taken before.", Self.entry)])
    }

    var makeRefund: APIOperation {
        APIOperation(
            "\(title)MakeRefund", "Give money back, whole or in part",
            "The `Idempotency-Key` is the `reference`, for ever.",
            body: ProviderRefundCommand.schema,
            example: """
                {"reference":"my-refund-1","paymentReference":"my-payment-1","amount":{"amount":500,"currency":"USD"}}
                """,
            answers: [.init("Given back.", ProviderRefund.schema)], problems: [.notFound, .refundExceedsPayment])
    }

    var refund: APIOperation {
        APIOperation(
            "\(title)GetRefund", "One refund", parameters: [Self.reference],
            answers: [.init("The refund.", ProviderRefund.schema)])
    }

    private static let reference = APIOperation.Parameter.id("The caller's id.", named: "reference")
    private static let entry = Schema.oneOf(of: [ProviderPayment.schema, ProviderPayment.canceledSchema])
}
