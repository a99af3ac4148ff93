import Resilience
import StockAPI
import StrictJSON

/// An order: the columns that lists and sums are made from, and the saga that the order lives by.
public struct OrderEntry: AuditEntry {
    /// The states of an order.
    public enum Status: String, Sendable {
        case pending, completed, failed
    }

    /// What the saga says.
    public struct Record: Hashable, Sendable {
        /// The saga's step by its stored name, for example `charging`.
        public let step: String
        /// What the step means for the order.
        public let status: Status
        /// The reservation at Stock.
        public let reservationID: String
        /// The charge at Payment.
        public let chargeID: String
        /// The refund at Payment, should there be one; it is also the key that Order asks for the refund under.
        public let refundID: String
        /// What was ordered.
        public let lines: [LineRequest]
        /// What it costs; nil while that is not known, and for a failed order.
        public let total: Amount?

        /// A record.
        public init(
            step: String, status: Status, reservationID: String, chargeID: String, refundID: String,
            lines: [LineRequest], total: Amount?
        ) {
            self.step = step
            self.status = status
            self.reservationID = reservationID
            self.chargeID = chargeID
            self.refundID = refundID
            self.lines = lines
            self.total = total
        }
    }

    public static let service = AuditedService.order
    public static let path = "/audit/orders"

    /// The order.
    public let id: String
    /// The user; empty for nobody in particular.
    public let user: String
    /// The status that lists and sums go by.
    public let status: Status
    /// The total that sums go by.
    public let total: Amount?
    /// A digest of user and key: equal for orders of one key. Never the key itself, which is as good as a password for the
    /// answer it stands for.
    public let key: String
    /// A digest of the command that the key is for; nil when the saga cannot be read, or was refused in a way that binds no key (IK-17).
    public let command: String?
    /// The saga; nil when this version of Order cannot read it.
    public let record: Record?
    /// When the order was made.
    public let createdAt: Timestamp
    /// When it last changed; of an order that has ended, when it ended.
    public let updatedAt: Timestamp

    /// An order.
    public init(
        id: String, user: String, status: Status, total: Amount?, key: String, command: String?, record: Record?,
        createdAt: Timestamp, updatedAt: Timestamp
    ) {
        self.id = id
        self.user = user
        self.status = status
        self.total = total
        self.key = key
        self.command = command
        self.record = record
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("orderId", id)
            json.string("user", user)
            json.string("status", status.rawValue)
            total?.write("total", to: &json)
            json.string("key", key)
            if let command { json.string("command", command) }
            if let record { json.object("saga") { record.write(to: &$0) } }
            json.integer("createdAtMs", createdAt.milliseconds)
            json.integer("updatedAtMs", updatedAt.milliseconds)
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let id = reader.id("orderId")
        let user = reader.id("user")
        let status = reader.id("status").flatMap { Status(rawValue: $0) }
        let total = reader.nested("total", required: false, Amount.init(json:))
        let key = reader.id("key")
        let command = reader.id("command", required: false)
        let record = reader.nested("saga", required: false, Record.init(json:))
        let createdAt = reader.timestamp("createdAtMs")
        let updatedAt = reader.timestamp("updatedAtMs")
        try reader.finish()
        guard let id, let user, let status, let key, let createdAt, let updatedAt else {
            throw ValidationFailure("#", "is not an order")
        }
        self.init(
            id: id, user: user, status: status, total: total, key: key, command: command, record: record,
            createdAt: createdAt, updatedAt: updatedAt)
    }
}

extension OrderEntry.Record {
    fileprivate func write(to json: inout JSONWriter) {
        json.string("step", step)
        json.string("status", status.rawValue)
        json.string("reservationId", reservationID)
        json.string("chargeId", chargeID)
        json.string("refundId", refundID)
        Cart.write(lines, to: &json)
        total?.write("total", to: &json)
    }

    fileprivate init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let step = reader.id("step")
        let status = reader.id("status").flatMap { OrderEntry.Status(rawValue: $0) }
        let reservationID = reader.id("reservationId")
        let chargeID = reader.id("chargeId")
        let refundID = reader.id("refundId")
        let lines = Cart.lines(from: &reader)
        let total = reader.nested("total", required: false, Amount.init(json:))
        try reader.finish()
        guard let step, let status, let reservationID, let chargeID, let refundID, let lines else {
            throw ValidationFailure("#", "is not an order's saga")
        }
        self.init(
            step: step, status: status, reservationID: reservationID, chargeID: chargeID, refundID: refundID,
            lines: lines, total: total)
    }
}
