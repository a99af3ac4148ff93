import Money
import MoneyJSON
import OpenAPI
import ServiceKit
import StockAPI

/// What the OpenAPI document says of Stock's routes.
enum StockOperations {
    static let service = APIDescription(
        name: "stock", title: "Stock", port: 3133,
        """
        Items, and the reservations that hold them for orders. A checkout does all of this by itself; use it directly to keep the \
        catalogue, or to reserve goods for something else.
        """)

    private static let item = Schema.object(
        "An item of the catalogue.",
        [
            .required("itemId", .integer()), .required("name", .string()), .required("price", Money.schema),
            .required("onHand", .integer("In the house.")),
            .required("reserved", .integer("Held by reservations.")),
            .required("available", .integer("`onHand` less `reserved`.")),
        ]
    ).named("Item")

    private static let itemID = APIOperation.Parameter.path("id", "The item.", .integer(in: Cart.itemIDs, example: 1))
    private static let reservationID = Schema.clientID("The reservation.")
    private static let settled = Schema.object(isClosed: true, [.required("reservationId", reservationID)])

    static let reserve = APIOperation(
        "reserve", "Set goods aside, all lines or none",
        """
        The prices are held with them. Repeated with its key or with its `reservationId`, it answers the same reservation. A \
        `reservationId` is one attempt of one user: its outcome is final, and another user's reserve under it is refused.
        """,
        body: Cart.schema([
            .optional("reservationId", .clientID("An id of the caller's own.")),
            .optional(
                "ttlSeconds",
                .integer("How long they are held at the most.", in: 1...Inventory.longestHold, example: 900)),
        ]),
        example: #"{"itemId":1,"quantity":2}"#, answers: [.init("Reserved.", Reservation.schema)],
        problems: [.itemNotFound, .insufficientStock, .reservationStateConflict])

    static let release = APIOperation(
        "release", "Put reserved goods back",
        """
        Repeating changes nothing. Releasing an id that was never seen makes sure that a reserve with that id, should it come \
        late, takes nothing.
        """,
        body: settled, example: #"{"reservationId":"my-reservation-1"}"#,
        answers: [.init("Canceled.", Reservation.schema)], problems: [.reservationStateConflict])

    static let complete = APIOperation(
        "complete", "Let reserved goods leave the stock", "Repeating changes nothing.", body: settled,
        example: #"{"reservationId":"my-reservation-1"}"#,
        answers: [.init("Completed.", Reservation.schema)], problems: [.reservationNotFound, .reservationStateConflict])

    static let reservation = APIOperation(
        "getReservation", "One reservation", parameters: [.id("The reservation.")],
        answers: [.init("The reservation.", Reservation.schema)], problems: [.reservationNotFound])

    static let items = APIOperation(
        "listItems", "The catalogue, by item id",
        parameters: APIOperation.Parameter.page(cursor: .string(pattern: "^[0-9]{1,10}$")),
        answers: [
            .init(
                "A page.",
                .object([
                    .required("items", .array(of: item)),
                    .required("nextCursor", .string("Ask for the next page with it; null at the end.").orNull),
                ]))
        ])

    static let getItem = APIOperation(
        "getItem", "One item", parameters: [itemID], answers: [.init("The item.", item)], problems: [.itemNotFound])

    static let putItem = APIOperation(
        "putItem", "Create an item, or change its name and price",
        "Reservations keep the price that they were made at. Stock of an item that exists is added with `restock`.",
        parameters: [itemID],
        body: .object(
            isClosed: true,
            [
                .required("name", .string(length: 1...200, example: "sample item")),
                .required("price", Money.requestSchema),
                .optional(
                    "onHand",
                    .integer(
                        "The stock of a new item. Of one that exists it must be what is there already.",
                        in: 0...Catalogue.maximumOnHand)),
            ]),
        example: #"{"name":"sample item","price":{"amount":1000,"currency":"USD"}}"#,
        answers: [.init("Changed.", item), .init("Created.", item, status: 201)], problems: [.itemNotFound])

    static let restock = APIOperation(
        "restock", "Add stock", "With an `Idempotency-Key` it is added once, however often the request is sent.",
        parameters: [itemID],
        body: .object(isClosed: true, [.required("quantity", .integer(in: Cart.quantities, example: 10))]),
        example: #"{"quantity":10}"#, mayHaveKey: true, answers: [.init("The item.", item)], problems: [.itemNotFound])
}
