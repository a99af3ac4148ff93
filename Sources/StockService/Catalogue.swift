import Money
import MoneyJSON
import StockAPI
import Storage
import StrictJSON

/// An item as the contract shows it.
struct Item: Equatable, Sendable {
    let id: Int64
    let name: String
    let price: Money
    let onHand: Int64
    let reserved: Int64

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.integer("itemId", id)
            json.string("name", name)
            json.money("price", price)
            json.integer("onHand", onHand)
            json.integer("reserved", reserved)
            json.integer("available", onHand - reserved)
        }
    }

    func json() -> [UInt8] { JSONWriter.bytes { write(to: &$0) } }
}

/// The commands of Stock on items, inside the caller's transaction.
struct Catalogue {
    /// The most of one item that may be on hand; leaves every sum of the schema far from overflowing.
    static let maximumOnHand: Int64 = 1_000_000_000_000_000

    let transaction: any Transaction

    func item(_ id: Int64) throws -> Item? {
        try transaction.first(
            "SELECT price, currency, item_id, name, on_hand, reserved FROM items WHERE item_id = ?",
            [.integer(id)], Self.item)
    }

    /// Items by id, beginning after `after`.
    func items(after: Int64, limit: Int) throws -> [Item] {
        try transaction.all(
            "SELECT price, currency, item_id, name, on_hand, reserved FROM items WHERE item_id > ? ORDER BY item_id LIMIT ?",
            [.integer(after), .integer(Int64(limit))], Self.item)
    }

    /// Creates the item, or changes its name and price; reservations keep the price they were made at.
    ///
    /// - Parameter onHand: the stock of a new item; for one that exists it must be what is there, or be left out.
    /// - Throws: `ValidationFailure`.
    func put(_ id: Int64, name: String, price: Money, onHand: Int64?) throws -> (item: Item, isNew: Bool) {
        let inserted = try transaction.run(
            """
            INSERT INTO items (item_id, name, price, currency, on_hand, received) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
            ON CONFLICT DO NOTHING
            """,
            [
                .integer(id), .text(name), .integer(price.minorUnits), .text(price.currency.code),
                .integer(onHand ?? 0),
            ])
        if inserted == 0 {
            try transaction.run(
                "UPDATE items SET name = ?, price = ?, currency = ? WHERE item_id = ?",
                [.text(name), .integer(price.minorUnits), .text(price.currency.code), .integer(id)])
        }
        guard let item = try item(id) else { throw StoreError.failed("item \(id) was neither inserted nor found") }
        if inserted == 0, let onHand, onHand != item.onHand {
            throw ValidationFailure("#/onHand", "is \(item.onHand) already; add stock with POST /items/\(id)/restock")
        }
        return (item, inserted == 1)
    }

    /// Adds stock. - Throws: `StockRefusal` when there is no such item; `ValidationFailure` when it would hold too much.
    func restock(_ id: Int64, quantity: Int64) throws -> Item {
        let changed = try transaction.run(
            "UPDATE items SET on_hand = on_hand + ?1, received = received + ?1 WHERE item_id = ?2 AND on_hand + ?1 <= ?3",
            [.integer(quantity), .integer(id), .integer(Self.maximumOnHand)])
        guard let item = try item(id) else { throw StockRefusal(.itemNotFound, "There is no item \(id).") }
        guard changed == 1 else {
            throw ValidationFailure("#/quantity", "would make the stock larger than \(Self.maximumOnHand)")
        }
        return item
    }

    /// The first item of a fresh store. Does nothing once there is any item: stock comes from the store (hazard 23).
    func seed(quantity: Int64) throws {
        try transaction.run(
            """
            INSERT INTO items (item_id, name, price, currency, on_hand, received)
            SELECT 1, 'sample item', 1000, 'USD', ?1, ?1 WHERE NOT EXISTS (SELECT 1 FROM items)
            """,
            [.integer(quantity)])
    }

    private static func item(_ row: any SQLRow) throws -> Item {
        Item(
            id: row.integer(2), name: row.text(3), price: try Inventory.price(row),
            onHand: row.integer(4), reserved: row.integer(5))
    }
}
