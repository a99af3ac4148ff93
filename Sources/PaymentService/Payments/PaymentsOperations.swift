import Correlation
import Money
import MoneyJSON
import OpenAPI
import ProviderAPI
import ServiceKit

/// What the OpenAPI document says of the routes of payments through providers.
enum PaymentsOperations {
    private static let provider = Schema.word(
        "Through whom the money comes or goes.", of: Provider.allCases.map(\.rawValue))
    private static let token = Schema.string(
        "The customer's means of payment; the usual one if it is left out. The mock provider has some for tests.",
        length: 1...64)
    private static let id = APIOperation.Parameter.id("The payment, which is yours.")
    private static let byAndBy = """
        It is stored, what goes out is set aside, and a worker asks the provider: `GET /payments/{id}` says how it goes. While the \
        provider's answer is not known the payment is `processing`, and it is settled when it is known. A key that has made a \
        payment never makes another one, however late.
        """

    // MARK: - Making

    static let create = APIOperation(
        "createPayment", "Move money between an account and the outside",
        """
        `deposit` credits the account with the amount less our fee once the provider has taken it. `withdraw` takes the amount and \
        our fee from the account, `external_payment` the amount. \(byAndBy)
        """,
        body: .object(
            isClosed: true,
            [
                .required("type", .word(of: Payment.Kind.requestable.map(\.rawValue))),
                .required("sourceAccountId", .string("An account of yours.", length: 1...128)),
                .required("amount", WalletOperations.amount), .optional("currency", WalletOperations.currencyOfAmount),
                .required("provider", provider), .optional("token", token),
            ]),
        example:
            #"{"type":"deposit","sourceAccountId":"my-account","amount":20.00,"currency":"EUR","provider":"stripe"}"#,
        answers: [.init("Taken on.", Payment.receiptSchema, status: 202)],
        problems: [.accountNotFound, .paymentDeclined, .balanceLimitExceeded])

    private static let movement = Schema.object(
        isClosed: true,
        [
            .required("amount", WalletOperations.amount), .optional("currency", WalletOperations.currencyOfAmount),
            .optional("userId", WalletOperations.user), .optional("provider", provider), .optional("token", token),
        ])
    private static let movementExample = #"{"userId":"ann","amount":20.00,"currency":"EUR"}"#

    static let deposit = APIOperation(
        "createDeposit", "Put money into the user's account through a provider, less our fee",
        "The provider is stripe if none is named. \(byAndBy)", body: movement, example: movementExample,
        answers: [.init("Taken on.", Payment.receiptSchema, status: 202)],
        problems: [.accountNotFound, .balanceLimitExceeded])

    static let withdraw = APIOperation(
        "createWithdrawal", "Take money out of the user's account through a provider, and our fee with it",
        "The provider is stripe if none is named. \(byAndBy)", body: movement, example: movementExample,
        answers: [.init("Taken on.", Payment.receiptSchema, status: 202)],
        problems: [.accountNotFound, .paymentDeclined])

    static let refund = APIOperation(
        "refundPayment", "Give all or a part of a payment back",
        """
        Only of a payment that succeeded, and all refunds together are never more than it. Our fee is given back in proportion. What \
        is given back of a deposit is taken from the account first. \(byAndBy)
        """,
        parameters: [id],
        body: .object(
            isClosed: true,
            [
                .optional("amount", WalletOperations.amount),
                .optional("currency", .word("That of the payment.", of: Currency.codes)),
            ]),
        example: #"{"amount":5.00}"#,
        answers: [.init("Taken on.", Payment.refundReceiptSchema, status: 202)],
        problems: [.paymentNotFound, .paymentStateConflict, .refundExceedsPayment, .paymentDeclined, .accountNotFound])

    static let cancel = APIOperation(
        "cancelPayment", "Cancel a payment that its provider cannot have taken",
        "Whatever was set aside is back in the account. Repeating it changes nothing.",
        parameters: [id], answers: [.init("It is canceled.", Payment.schema)],
        problems: [.paymentNotFound, .paymentStateConflict])

    // MARK: - Looking

    static let get = APIOperation(
        "getPayment", "One payment, or the refund of one", parameters: [id],
        answers: [.init("The payment.", Payment.schema)], problems: [.paymentNotFound])

    static let list = APIOperation(
        "listPayments", "The user's payments, newest first",
        """
        Without their refunds, which the events of a payment name. Without `X-User-ID`, a page may have fewer payments than its \
        limit, or none, and still a next one.
        """,
        parameters: [.query("status", "Only those of this status.", .word(of: Payment.Status.allCases.map(\.rawValue)))]
            + APIOperation.Parameter.page(cursor: identifier),
        answers: [.init("A page.", page("payments", of: Payment.schema))])

    private static let identifier = Schema.string(pattern: IdentifierSource.pattern)

    private static func page(_ name: String, of entry: Schema) -> Schema {
        .object([
            .required(name, .array(of: entry)),
            .required("nextCursor", .string("Ask for the next page with it; null at the end.").orNull),
        ])
    }

    static let events = APIOperation(
        "listPaymentEvents", "All that became of a payment, oldest first",
        parameters: [id] + APIOperation.Parameter.page(cursor: .string(pattern: "^[0-9]{1,18}$")),
        answers: [.init("A page.", page("events", of: event))], problems: [.paymentNotFound])

    static let event = Schema.object(
        "Something that became of a payment. Never changed.",
        [
            .required("sequence", .integer("Its place, from 1.")),
            .required("type", .word(of: PaymentEvent.Kind.ofPayments.map(\.rawValue))),
            .optional("amount", Money.schema),
            .optional("refundId", .string("The refund that it is about, if it is about one.")),
            .optional("reason", .string("Why.")),
            .required("at", .string(format: "date-time")),
        ]
    ).named("PaymentEvent")

    // MARK: - Providers

    static let webhook = APIOperation(
        "receiveWebhook", "A message of a provider",
        """
        As Standard Webhooks 1.0 says: headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. It makes us ask the \
        provider, and changes nothing by itself; so it may come twice, late and out of order.
        """,
        parameters: [.path("provider", "Whose message it is.", provider)],
        body: WebhookEvent.schema,
        example:
            #"{"type":"payment.succeeded","timestamp":"2026-01-01T00:00:00Z","data":{"reference":"p-1","status":"succeeded"}}"#,
        answers: [.init("Taken, now or before.", .any(), status: 204)], problems: [.webhookSignatureInvalid])
}
