import Money
import MoneyJSON
import Resilience
import StrictJSON

/// So many of one item.
public struct LineRequest: Hashable, Sendable {
    /// Names the item.
    public let itemID: Int64
    /// How many, 1 to 1,000,000.
    public let quantity: Int64

    /// A line.
    public init(itemID: Int64, quantity: Int64) {
        self.itemID = itemID
        self.quantity = quantity
    }
}

/// What a client asks for: `{"itemId":1,"quantity":2}`, or up to 100 of these as `{"lines":[…]}`, each item once.
public enum Cart {
    /// Quantities that a line may have (HT-03).
    public static let quantities: ClosedRange<Int64> = 1...1_000_000
    /// Item ids.
    public static let itemIDs: ClosedRange<Int64> = 1...2_147_483_647
    /// How many lines a cart may have.
    public static let maximumLines = 100

    /// Takes the lines out of a command, noting every fault with its pointer.
    public static func lines(from reader: inout ObjectReader) -> [LineRequest]? {
        guard reader.has("lines") else { return line(from: &reader).map { [$0] } }
        for name: StaticString in ["itemId", "quantity"] where reader.value(name) != nil {
            reader.issue(name, "must not stand beside lines")
        }
        var items: Set<Int64> = []
        return reader.elements("lines", count: 1...maximumLines, of: "lines") { element throws(ValidationFailure) in
            var reader = try ObjectReader(element)
            let line = line(from: &reader)
            if let line, !items.insert(line.itemID).inserted {
                reader.issue("itemId", "is in another line already; an item may stand in one line only")
            }
            try reader.finish()
            guard let line else { throw ValidationFailure("#", "is not a line") }
            return line
        }
    }

    private static func line(from reader: inout ObjectReader) -> LineRequest? {
        let itemID = reader.integer("itemId", in: itemIDs)
        let quantity = reader.integer("quantity", in: quantities)
        guard let itemID, let quantity else { return nil }
        return LineRequest(itemID: itemID, quantity: quantity)
    }

    /// Writes the member `lines`.
    public static func write(_ lines: [LineRequest], to json: inout JSONWriter) {
        json.array("lines") { json in
            for line in lines {
                json.object { json in
                    json.integer("itemId", line.itemID)
                    json.integer("quantity", line.quantity)
                }
            }
        }
    }
}

/// So many of one item, at the price held for them.
public struct ReservedLine: Hashable, Sendable {
    /// Names the item.
    public let itemID: Int64
    /// How many.
    public let quantity: Int64
    /// The price of one, as it was when the line was reserved (hazard 44).
    public let unitPrice: Money

    /// A line.
    public init(itemID: Int64, quantity: Int64, unitPrice: Money) {
        self.itemID = itemID
        self.quantity = quantity
        self.unitPrice = unitPrice
    }
}

/// Goods set aside for one order attempt.
public struct Reservation: Hashable, Sendable {
    /// The reservation's state; the last two are final.
    public enum Status: String, Sendable {
        /// The goods are set aside.
        case reserved
        /// The goods have left the stock.
        case completed
        /// The goods are back, or were never taken.
        case canceled
    }

    /// Made by the caller, or by Stock for a caller that sent none.
    public let id: String
    /// The state.
    public var status: Status
    /// What is set aside; empty for a tombstone.
    public let lines: [ReservedLine]
    /// The price of all lines; nil for a tombstone.
    public let total: Money?
    /// When it was made.
    public let createdAt: Timestamp
    /// When Stock may cancel it by itself; nil for a tombstone.
    public let expiresAt: Timestamp?

    /// A reservation.
    public init(
        id: String, status: Status, lines: [ReservedLine], total: Money?, createdAt: Timestamp, expiresAt: Timestamp?
    ) {
        self.id = id
        self.status = status
        self.lines = lines
        self.total = total
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }
}

extension Reservation {
    /// The reservation as the contract shows it.
    public func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("reservationId", id)
                json.string("status", status.rawValue)
                if let total {
                    json.decimal("totalFee", total)
                    json.money("total", total)
                }
                if let expiresAt { json.string("expiresAt", expiresAt.description) }
                ReservedLine.write(lines, to: &json)
                json.string("createdAt", createdAt.description)
            }
        }
    }
}

extension ReservedLine {
    /// Writes the member `lines`.
    public static func write(_ lines: [ReservedLine], to json: inout JSONWriter) {
        json.array("lines") { json in
            for line in lines {
                json.object { json in
                    json.integer("itemId", line.itemID)
                    json.integer("quantity", line.quantity)
                    json.money("unitPrice", line.unitPrice)
                }
            }
        }
    }

    /// Reads a line that Stock has written; what a newer one has added to it is left alone. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let itemID = reader.integer("itemId", in: Cart.itemIDs)
        let quantity = reader.integer("quantity", in: Cart.quantities)
        let unitPrice = reader.nested("unitPrice") { value throws(ValidationFailure) in
            try Money(json: value, in: 0...Int64.max)
        }
        guard let itemID, let quantity, let unitPrice else { throw ValidationFailure("#", "is not a line") }
        self.init(itemID: itemID, quantity: quantity, unitPrice: unitPrice)
    }
}
