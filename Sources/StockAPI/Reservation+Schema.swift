import Money
import MoneyJSON
import OpenAPI

extension Cart {
    /// A command that has a cart. - Parameter more: what else it may have.
    public static func schema(_ more: [Schema.Property]) -> Schema {
        .oneOf(
            "One item, or several lines with an item each; no item twice.",
            of: [
                .object(isClosed: true, line + more),
                .object(
                    isClosed: true,
                    [.required("lines", .array(of: .object(isClosed: true, line), count: 1...maximumLines))] + more),
            ])
    }

    private static let line: [Schema.Property] = [
        .required("itemId", .integer("The item.", in: itemIDs, example: 1)),
        .required("quantity", .integer("How many of it.", in: quantities, example: 2)),
    ]
}

extension ReservedLine {
    /// A line as it is answered.
    public static let schema = Schema.object(
        "So many of one item, at the price held for them.",
        [
            .required("itemId", .integer("The item.")), .required("quantity", .integer("How many of it.")),
            .required("unitPrice", Money.schema),
        ]
    ).named("Line")
}

extension Reservation {
    /// A reservation as it is answered.
    public static let schema = Schema.object(
        "Goods set aside.",
        [
            .required("reservationId", .string("Its id.", example: "01a1fc67-dc5f-73d2-b01a-3d9bb1be25bf")),
            .required("status", .word("The last two are final.", of: ["reserved", "completed", "canceled"])),
            .optional("totalFee", Money.feeSchema), .optional("total", Money.schema),
            .optional("expiresAt", .string("When Stock may cancel it by itself.", format: "date-time")),
            .required("lines", .array("Empty if the id was released before it was used.", of: ReservedLine.schema)),
            .required("createdAt", .string(format: "date-time")),
        ]
    ).named("Reservation")
}
