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
    /// - Parameters:
    ///   - user: who asks. An id that one user has reserved under brings another nothing: both would believe that the goods are theirs (IK-14).
    ///   - rememberRefusal: keeps a refusal under the id; for ids that the caller made and may repeat.
    func reserve(
        id: String, lines: [LineRequest], user: String, timeToLive: Duration, rememberRefusal: Bool
    ) throws -> Result<Reserved, StockRefusal> {
        if let known = try reservation(id) {
            if let owner = try owner(id), owner != user { return .failure(Self.idOfAnother) }
            let isTombstone = known.lines.isEmpty
            guard isTombstone || known.lines.map({ LineRequest(itemID: $0.itemID, quantity: $0.quantity) }) == lines
            else { return .failure(StockRefusal(.idReused, "The reservation holds other lines.")) }
            guard known.status != .canceled else {
                return .failure(
                    StockRefusal(.stateConflict, "The reservation was canceled; its id cannot reserve again."))
            }
            return .success(.before(known))
        }
        if let refusal = try rememberedRefusal(id, of: lines, user) { return .failure(refusal) }

        switch try take(lines) {
        case .success((let reservedLines, let total)):
            let reservation = Reservation(
                id: id, status: .reserved, lines: reservedLines, total: total,
                createdAt: now, expiresAt: now.advanced(by: timeToLive))
            try insert(reservation, of: user)
            return .success(.now(reservation))
        case .failure(let refusal):
            if rememberRefusal { try remember(refusal, id, of: lines, user) }
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
        try insert(tombstone, of: nil)
        return .success(tombstone)
    }

    /// The longest time that goods are held for, in seconds.
    static let longestHold: Int64 = 86_400
    /// How far a clock may be set back without a reservation seeming to be held for longer.
    private static let clockMargin = Duration.seconds(3600)

    /// A reservation that is held for too long, by the time at which that was to end.
    struct Overdue {
        let id: String
        let expiresAt: Int64
    }

    /// Reservations whose time is over, at most `limit`; and those whose time is further away than any may be, since they were made before
    /// the clock was set back (hazard 37). - Parameter last: begins behind this one.
    func overdue(after last: Overdue?, limit: Int) throws -> [Overdue] {
        func look(from first: Int64, to end: Int64, _ limit: Int) throws -> [Overdue] {
            try transaction.all(
                """
                SELECT reservation_id, expires_at FROM reservations
                WHERE status = 'reserved' AND (expires_at, reservation_id) > (?1, ?2) AND expires_at BETWEEN ?3 AND ?4
                ORDER BY expires_at, reservation_id LIMIT ?5
                """,
                [
                    .integer(last?.expiresAt ?? .min), .text(last?.id ?? ""),
                    // SQLite looks in the index from here on, and not from the pair.
                    .integer(max(first, last?.expiresAt ?? .min)), .integer(end), .integer(Int64(limit)),
                ]
            ) { Overdue(id: $0.text(0), expiresAt: $0.integer(1)) }
        }
        let over = try look(from: .min, to: now.milliseconds, limit)
        let latest = now.advanced(by: .seconds(Self.longestHold) + Self.clockMargin)
        return over + (try look(from: latest.milliseconds + 1, to: .max, limit - over.count))
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
            "SELECT \(Self.columns) FROM reservations WHERE reservation_id = ?", [.text(id)]
        ) { try Self.reservation($0, lines: Self.lines) }
    }

    /// The reservation with this id for a list, in which one that cannot be read must not hide the others: it has no lines there.
    func listed(_ id: String) throws -> Reservation? {
        try transaction.first(
            "SELECT \(Self.columns) FROM reservations WHERE reservation_id = ?", [.text(id)]
        ) { try Self.reservation($0) { (try? Self.lines($0)) ?? [] } }
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

    private func insert(_ reservation: Reservation, of user: String?) throws {
        let lines = JSONWriter.bytes { json in json.object { ReservedLine.write(reservation.lines, to: &$0) } }
        try transaction.run(
            """
            INSERT INTO reservations (reservation_id, status, lines, total, currency, created_at, expires_at, user_id)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(reservation.id), .text(reservation.status.rawValue),
                .text(String(decoding: lines, as: UTF8.self)),
                SQLValue(reservation.total?.minorUnits), SQLValue(reservation.total?.currency.code),
                .integer(reservation.createdAt.milliseconds), SQLValue(reservation.expiresAt?.milliseconds),
                SQLValue(user),
            ]
        )
    }

    /// Who has reserved under this id; nil if nobody knows.
    private func owner(_ id: String) throws -> String? {
        try transaction.first("SELECT user_id FROM reservations WHERE reservation_id = ?", [.text(id)]) {
            $0.optionalText(0)
        } ?? nil
    }

    private static let idOfAnother = StockRefusal(.stateConflict, "The id was used by another user.")

    private func rememberedRefusal(_ id: String, of lines: [LineRequest], _ user: String) throws -> StockRefusal? {
        try transaction.first(
            "SELECT code, detail, pointer, lines, user_id FROM refused_reservations WHERE reservation_id = ?",
            [.text(id)]
        ) { row in
            guard row.optionalText(4).map({ $0 == user }) ?? true else { return Self.idOfAnother }
            guard row.optionalText(3).map({ $0 == Self.text(of: lines) }) ?? true else {
                return StockRefusal(.idReused, "The reservation was refused for other lines.")
            }
            return StockRefusal(
                StockRefusal.Code(rawValue: row.text(0)) ?? .stateConflict, row.text(1), pointer: row.text(2))
        }
    }

    private func remember(_ refusal: StockRefusal, _ id: String, of lines: [LineRequest], _ user: String) throws {
        try transaction.run(
            """
            INSERT INTO refused_reservations (reservation_id, code, detail, pointer, refused_at, lines, user_id)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(id), .text(refusal.code.rawValue), .text(refusal.detail), .text(refusal.pointer),
                .integer(now.milliseconds), .text(Self.text(of: lines)), .text(user),
            ]
        )
    }

    private static func text(of lines: [LineRequest]) -> String {
        lines.map { "\($0.itemID):\($0.quantity)" }.joined(separator: ",")
    }

    private static let columns = "reservation_id, status, lines, total, currency, created_at, expires_at"

    /// What a reservation holds. - Throws: `StoreError.failed` if that cannot be read: goods of which nobody knows how many they are must not
    /// be taken for none.
    private static func lines(_ stored: String) throws -> [ReservedLine] {
        guard let json = try? JSONParser.parse(stored.utf8), var reader = try? ObjectReader(json),
            let lines = reader.elements("lines", ReservedLine.init(json:))
        else { throw StoreError.failed("a reservation's lines cannot be read: \(stored.prefix(200))") }
        return lines
    }

    private static func reservation(_ row: any SQLRow, lines: (String) throws -> [ReservedLine]) throws -> Reservation {
        guard let status = Reservation.Status(rawValue: row.text(1)) else {
            throw StoreError.failed("reservation \(row.text(0)) has the status \(row.text(1))")
        }
        let currency = row.optionalText(4).flatMap { Currency(code: $0) }
        let minorUnits = row.optionalInteger(3)
        return Reservation(
            id: row.text(0),
            status: status,
            lines: try lines(row.text(2)),
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
