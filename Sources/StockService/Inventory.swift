import Money
import MoneyJSON
import Resilience
import StockAPI
import Storage
import StrictJSON

/// What a reserve has brought.
enum Reserved {
    /// A reservation made now.
    case now(Reservation)
    /// The reservation that was made when the id was used first, as it is today.
    case before(Reservation)

    var reservation: Reservation {
        switch self {
        case .now(let reservation), .before(let reservation): reservation
        }
    }
}

/// The commands of Stock on reservations: each runs inside the caller's transaction, and what it decides is decided by
/// conditional updates, never by a check before a write (hazard 39).
struct Inventory {
    let transaction: any Transaction
    let now: Timestamp

    /// Sets the lines aside, all or none, at today's prices.
    ///
    /// An id is one attempt and its outcome is final: the same id with the same lines brings the same reservation or the
    /// same refusal, so a delayed repetition can never take goods that nobody will ask for any more (hazards 1 and 3).
    ///
    /// - Parameter rememberRefusal: keeps a refusal under the id; for ids that the caller made and may repeat.
    func reserve(
        id: String, lines: [LineRequest], timeToLive: Duration, rememberRefusal: Bool
    ) throws -> Result<Reserved, StockRefusal> {
        if let known = try reservation(id) {
            if known.status == .canceled {
                return .failure(
                    StockRefusal(.stateConflict, "The reservation was canceled; its id cannot reserve again."))
            }
            let isSame = known.lines.map { LineRequest(itemID: $0.itemID, quantity: $0.quantity) } == lines
            return isSame
                ? .success(.before(known)) : .failure(StockRefusal(.idReused, "The reservation holds other lines."))
        }
        if let refusal = try rememberedRefusal(id, of: lines) { return .failure(refusal) }

        switch try take(lines) {
        case .success((let reservedLines, let total)):
            let reservation = Reservation(
                id: id, status: .reserved, lines: reservedLines, total: total,
                createdAt: now, expiresAt: now.advanced(by: timeToLive))
            try insert(reservation)
            return .success(.now(reservation))
        case .failure(let refusal):
            if rememberRefusal { try remember(refusal, id, of: lines) }
            return .failure(refusal)
        }
    }

    /// Lets the goods leave the stock. Repeated, it answers the same (IK-26).
    func complete(id: String) throws -> Result<Reservation, StockRefusal> {
        if let completed = try settle(id, to: .completed) {
            for line in completed.lines {
                try transaction.run(
                    """
                    UPDATE items SET on_hand = on_hand - ?1, reserved = reserved - ?1, completed = completed + ?1
                    WHERE item_id = ?2
                    """,
                    [.integer(line.quantity), .integer(line.itemID)]
                )
            }
            return .success(completed)
        }
        guard let reservation = try reservation(id) else {
            return .failure(StockRefusal(.reservationNotFound, "There is no reservation with this id."))
        }
        guard reservation.status == .completed else {
            return .failure(StockRefusal(.stateConflict, "The reservation was canceled; it cannot be completed."))
        }
        return .success(reservation)
    }

    /// Puts the goods back. Repeated, it answers the same; an id never seen becomes a tombstone, so that a reserve which
    /// arrives after its release takes nothing (IK-27).
    func release(id: String) throws -> Result<Reservation, StockRefusal> {
        if let canceled = try settle(id, to: .canceled) {
            for line in canceled.lines { try giveBack(line.itemID, line.quantity) }
            return .success(canceled)
        }
        if let reservation = try reservation(id) {
            guard reservation.status == .canceled else {
                return .failure(StockRefusal(.stateConflict, "The reservation was completed; it cannot be released."))
            }
            return .success(reservation)
        }
        let tombstone = Reservation(
            id: id, status: .canceled, lines: [], total: nil, createdAt: now, expiresAt: nil)
        try insert(tombstone)
        return .success(tombstone)
    }

    /// The longest time that goods are held for, in seconds.
    static let longestHold: Int64 = 86_400
    /// How far a clock may be set back without a reservation seeming to be held for longer.
    private static let clockMargin = Duration.seconds(3600)

    /// Cancels reservations whose time is over, at most `limit`; and those whose time is further away than any may be, since they were made before
    /// the clock was set back (hazard 37). - Returns: how many.
    func expire(limit: Int) throws -> Int {
        let reserved = "SELECT reservation_id FROM reservations WHERE status = 'reserved' AND expires_at"
        func canceled(_ condition: String, _ time: Timestamp, _ limit: Int) throws -> Int {
            let ids = try transaction.all(
                "\(reserved) \(condition) ? LIMIT ?", [.integer(time.milliseconds), .integer(Int64(limit))]
            ) { $0.text(0) }
            for id in ids { _ = try release(id: id) }
            return ids.count
        }
        let over = try canceled("<=", now, limit)
        let strayed = try canceled(">", now.advanced(by: .seconds(Self.longestHold) + Self.clockMargin), limit - over)
        return over + strayed
    }

    /// Drops remembered refusals from before a point of time, at most `limit`. - Returns: how many.
    func forgetRefusals(before: Timestamp, limit: Int) throws -> Int {
        try transaction.run(
            """
            DELETE FROM refused_reservations WHERE reservation_id IN (
                SELECT reservation_id FROM refused_reservations WHERE refused_at < ? ORDER BY refused_at LIMIT ?
            )
            """,
            [.integer(before.milliseconds), .integer(Int64(limit))]
        )
    }

    /// The reservation with this id.
    func reservation(_ id: String) throws -> Reservation? {
        try transaction.first(
            "SELECT \(Self.columns) FROM reservations WHERE reservation_id = ?", [.text(id)], Self.reservation)
    }

    // MARK: - Steps

    /// Takes every line or none. Items are taken in the order of their ids: concurrent transactions of a store that runs
    /// several at once then wait for each other in one order (hazard 46).
    private func take(_ lines: [LineRequest]) throws -> Result<([ReservedLine], Money), StockRefusal> {
        var prices: [Int64: Money] = [:]
        var taken: [LineRequest] = []
        func undone(_ refusal: StockRefusal) throws -> Result<([ReservedLine], Money), StockRefusal> {
            for line in taken { try giveBack(line.itemID, line.quantity) }
            return .failure(refusal)
        }
        for line in lines.sorted(by: { $0.itemID < $1.itemID }) {
            // The update decides. Its RETURNING would cost SQLite a temporary table, which is more than the second statement.
            let changed = try transaction.run(
                "UPDATE items SET reserved = reserved + ?1 WHERE item_id = ?2 AND on_hand - reserved >= ?1",
                [.integer(line.quantity), .integer(line.itemID)])
            guard changed == 1 else { return try undone(try refusal(of: line)) }
            taken.append(line)
            prices[line.itemID] = try transaction.first(
                "SELECT price, currency FROM items WHERE item_id = ?", [.integer(line.itemID)], Self.price)
        }
        do throws(MoneyError) {
            let reserved = lines.compactMap { line in
                prices[line.itemID].map { ReservedLine(itemID: line.itemID, quantity: line.quantity, unitPrice: $0) }
            }
            let total = try Self.total(of: reserved)
            return .success((reserved, total))
        } catch {
            let isMixed = error == .currencyMismatch
            return try undone(
                StockRefusal(
                    .invalid, isMixed ? "has items in different currencies" : "makes a total that is too large",
                    pointer: lines.count == 1 ? "#/quantity" : "#/lines"))
        }
    }

    private static func total(of lines: [ReservedLine]) throws(MoneyError) -> Money {
        guard let first = lines.first else { throw .notANumber }
        var total = Money.zero(first.unitPrice.currency)
        for line in lines { total = try total.adding(try line.unitPrice.multiplied(by: line.quantity)) }
        return total
    }

    private func refusal(of line: LineRequest) throws -> StockRefusal {
        let available = try transaction.first(
            "SELECT on_hand - reserved FROM items WHERE item_id = ?", [.integer(line.itemID)]
        ) { $0.integer(0) }
        guard let available else {
            return StockRefusal(.itemNotFound, "There is no item \(line.itemID).")
        }
        return StockRefusal(
            .insufficientStock, "Item \(line.itemID): \(line.quantity) asked for, \(available) available.")
    }

    private func giveBack(_ itemID: Int64, _ quantity: Int64) throws {
        try transaction.run(
            "UPDATE items SET reserved = reserved - ? WHERE item_id = ?", [.integer(quantity), .integer(itemID)])
    }

    /// Moves a reservation that is still open to a final state. - Returns: the reservation; nil when it was not open, so that
    /// of two commands at once only one moves the goods (hazard 40).
    private func settle(_ id: String, to status: Reservation.Status) throws -> Reservation? {
        let changed = try transaction.run(
            "UPDATE reservations SET status = ? WHERE reservation_id = ? AND status = 'reserved'",
            [.text(status.rawValue), .text(id)])
        return changed == 1 ? try reservation(id) : nil
    }

    private func insert(_ reservation: Reservation) throws {
        let lines = JSONWriter.bytes { json in json.object { ReservedLine.write(reservation.lines, to: &$0) } }
        try transaction.run(
            """
            INSERT INTO reservations (reservation_id, status, lines, total, currency, created_at, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(reservation.id), .text(reservation.status.rawValue),
                .text(String(decoding: lines, as: UTF8.self)),
                SQLValue(reservation.total?.minorUnits), SQLValue(reservation.total?.currency.code),
                .integer(reservation.createdAt.milliseconds), SQLValue(reservation.expiresAt?.milliseconds),
            ]
        )
    }

    private func rememberedRefusal(_ id: String, of lines: [LineRequest]) throws -> StockRefusal? {
        try transaction.first(
            "SELECT code, detail, pointer, lines FROM refused_reservations WHERE reservation_id = ?", [.text(id)]
        ) { row in
            guard row.optionalText(3).map({ $0 == Self.text(of: lines) }) ?? true else {
                return StockRefusal(.idReused, "The reservation was refused for other lines.")
            }
            return StockRefusal(
                StockRefusal.Code(rawValue: row.text(0)) ?? .stateConflict, row.text(1), pointer: row.text(2))
        }
    }

    private func remember(_ refusal: StockRefusal, _ id: String, of lines: [LineRequest]) throws {
        try transaction.run(
            """
            INSERT INTO refused_reservations (reservation_id, code, detail, pointer, refused_at, lines)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            [
                .text(id), .text(refusal.code.rawValue), .text(refusal.detail), .text(refusal.pointer),
                .integer(now.milliseconds), .text(Self.text(of: lines)),
            ]
        )
    }

    private static func text(of lines: [LineRequest]) -> String {
        lines.map { "\($0.itemID):\($0.quantity)" }.joined(separator: ",")
    }

    private static let columns = "reservation_id, status, lines, total, currency, created_at, expires_at"

    private static func reservation(_ row: any SQLRow) throws -> Reservation {
        guard let status = Reservation.Status(rawValue: row.text(1)) else {
            throw StoreError.failed("reservation \(row.text(0)) has the status \(row.text(1))")
        }
        let currency = row.optionalText(4).flatMap { Currency(code: $0) }
        let minorUnits = row.optionalInteger(3)
        var lines = try ObjectReader(try JSONParser.parse(row.text(2).utf8))
        return Reservation(
            id: row.text(0),
            status: status,
            lines: lines.elements("lines", ReservedLine.init(json:)) ?? [],
            total: currency.flatMap { currency in minorUnits.map { Money(minorUnits: $0, currency: currency) } },
            createdAt: Timestamp(milliseconds: row.integer(5)),
            expiresAt: row.optionalInteger(6).map { Timestamp(milliseconds: $0) }
        )
    }

    static func price(_ row: any SQLRow) throws -> Money {
        guard let currency = Currency(code: row.text(1)) else {
            throw StoreError.failed("an item has the currency \(row.text(1))")
        }
        return Money(minorUnits: row.integer(0), currency: currency)
    }
}
