import Correlation
import Money
import MoneyJSON
import OpenAPI
import ServiceKit
import StockAPI

/// What the OpenAPI document says of Order's routes.
enum OrderOperations {
    static let service = APIDescription(
        name: "order", title: "Order", port: 3131,
        """
        Takes checkouts and sees each of them through to one outcome: a paid order with its goods, or nothing taken and nothing \
        held. Everything is durable before it is answered.
        """)

    private static let id = Schema.string(
        pattern: IdentifierSource.pattern, example: "01a1fc67-dc5f-7229-9f7b-3f1897ccbcb2")

    static let checkout = APIOperation(
        "checkout", "Reserve the goods, charge the customer, complete the order",
        """
        Send the same request with the same key until the answer is not retryable: however often it arrives, it is executed \
        once. After a definite failure (402, 404, 409 `insufficient-stock`) the same key tries again; after 409 `order-withdrawn` it does not.
        """,
        body: Cart.schema([
            .optional(
                "method",
                .string(
                    """
                    The payment method: `wallet`, the user's account in the currency of the goods, or `card`. Left out, the account \
                    if there is one, and otherwise the card.
                    """, length: 1...64))
        ]),
        example: #"{"itemId":1,"quantity":2}"#,
        answers: [
            .init(
                "Paid, and the goods have left the stock.",
                .object([
                    .required("orderId", id), .required("status", .word(of: ["completed"])),
                    .required("reservationId", id), .required("chargeId", id), .required("totalFee", Money.feeSchema),
                    .required("total", Money.schema), .required("lines", .array(of: ReservedLine.schema)),
                    .required("createdAt", .string(format: "date-time")),
                ]))
        ],
        problems: [
            .paymentDeclined, .itemNotFound, .insufficientStock, .orderWithdrawn, .checkoutUnavailable, .outcomeUnknown,
        ])

    /// - Parameter more: what an order has besides when it is shown alone.
    private static func order(_ more: [Schema.Property] = []) -> Schema {
        .object(
            [
                .required("orderId", id),
                .required("status", .word("A pending one goes on by itself.", of: ["pending", "completed", "failed"])),
                .required("reservationId", id), .required("chargeId", id),
                .optional("totalFee", Money.feeSchema), .optional("total", Money.schema),
                .required("lines", .array(of: line)), .optional("failure", failure),
                .required("createdAt", .string(format: "date-time")),
                .required("updatedAt", .string(format: "date-time")),
            ] + more)
    }

    private static let line = Schema.object([
        .required("itemId", .integer("The item.")), .required("quantity", .integer("How many of it.")),
        .optional("unitPrice", Money.schema),
    ])

    private static let failure = Schema.object(
        "Why a failed order failed. Nothing is taken and nothing is held.",
        [.required("code", .string()), .required("detail", .string())])

    static let orders = APIOperation(
        "listOrders", "The user's orders, newest first", parameters: APIOperation.Parameter.page(cursor: id),
        answers: [
            .init(
                "A page.",
                .object([
                    .required("orders", .array(of: order().named("Order"))),
                    .required("nextCursor", .string("Ask for the next page with it; null at the end.").orNull),
                ]))
        ])

    static let getOrder = APIOperation(
        "getOrder", "One order with its history", parameters: [.id("The order.")],
        answers: [
            .init(
                "The order.",
                order([
                    .required(
                        "history",
                        .array(
                            "What happened, oldest first.",
                            of: .object([
                                .required("at", .string(format: "date-time")), .required("event", .string()),
                            ])))
                ]).named("OrderWithHistory"))
        ],
        problems: [.orderNotFound])
}
