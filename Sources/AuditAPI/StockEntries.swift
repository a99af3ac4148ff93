import Resilience
import StockAPI
import StrictJSON

/// A reservation at Stock.
public struct ReservationEntry: AuditEntry {
    public static let service = AuditedService.stock
    public static let path = "/audit/reservations"

    /// The reservation.
    public let id: String
    /// Its state.
    public let status: Reservation.Status
    /// What is or was set aside, empty for a tombstone; nil when the record cannot be read.
    public let lines: [LineRequest]?
    /// The price of all lines; nil for a tombstone.
    public let total: Amount?
    /// When it was made.
    public let createdAt: Timestamp
    /// When Stock may cancel it by itself; nil for a tombstone.
    public let expiresAt: Timestamp?

    /// A reservation.
    public init(
        id: String, status: Reservation.Status, lines: [LineRequest]?, total: Amount?, createdAt: Timestamp,
        expiresAt: Timestamp?
    ) {
        self.id = id
        self.status = status
        self.lines = lines
        self.total = total
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("reservationId", id)
            json.string("status", status.rawValue)
            if let lines { Cart.write(lines, to: &json) }
            total?.write("total", to: &json)
            json.integer("createdAtMs", createdAt.milliseconds)
            if let expiresAt { json.integer("expiresAtMs", expiresAt.milliseconds) }
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let id = reader.id("reservationId")
        let status = reader.id("status").flatMap { Reservation.Status(rawValue: $0) }
        // A tombstone has no lines, which a cart may not have.
        let isEmpty = reader.value("lines")?.elements?.isEmpty == true
        let lines = isEmpty ? [] : reader.has("lines") ? Cart.lines(from: &reader) : nil
        let total = reader.nested("total", required: false, Amount.init(json:))
        let createdAt = reader.timestamp("createdAtMs")
        let expiresAt = reader.timestamp("expiresAtMs", required: false)
        try reader.finish()
        guard let id, let status, let createdAt else { throw ValidationFailure("#", "is not a reservation") }
        self.init(
            id: id, status: status, lines: lines, total: total, createdAt: createdAt, expiresAt: expiresAt)
    }
}

/// An item at Stock, and where its goods are.
public struct ItemEntry: AuditEntry {
    public static let service = AuditedService.stock
    public static let path = "/audit/items"

    /// The item's number.
    public let itemID: Int64
    /// How many were ever put on the shelf.
    public let received: Int64
    /// How many can be reserved.
    public let available: Int64
    /// How many reservations hold.
    public let reserved: Int64
    /// How many have left the stock.
    public let completed: Int64

    public var id: String { String(itemID) }

    /// An item.
    public init(itemID: Int64, received: Int64, available: Int64, reserved: Int64, completed: Int64) {
        self.itemID = itemID
        self.received = received
        self.available = available
        self.reserved = reserved
        self.completed = completed
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.integer("itemId", itemID)
            json.integer("received", received)
            json.integer("available", available)
            json.integer("reserved", reserved)
            json.integer("completed", completed)
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let numbers = ["itemId", "received", "available", "reserved", "completed"].compactMap { reader.wholeNumber($0) }
        try reader.finish()
        guard numbers.count == 5 else { throw ValidationFailure("#", "is not an item") }
        self.init(
            itemID: numbers[0], received: numbers[1], available: numbers[2], reserved: numbers[3],
            completed: numbers[4])
    }
}
