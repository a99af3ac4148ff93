import AuditAPI
import Hummingbird
import Resilience
import ServiceKit
import StockAPI
import Storage
import StrictJSON

/// What the operator's audit reads of Stock. Not reachable through nginx.
struct StockAudit: Sendable {
    let environment: ServiceEnvironment

    func add(to routes: inout RouteCatalogue) {
        routes.get(ReservationEntry.path, as: .audit("auditReservations", "Reservations"), reservations)
        routes.get(ItemEntry.path, as: .audit("auditItems", "Items", byID: false), items)
    }

    private func reservations(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection()
        let time = environment.time
        let (now, found) = try await environment.store.transaction { transaction in
            (time.now, try Self.reservations(selection, in: transaction))
        }
        return .audit(selection, readAt: now, found: found)
    }

    private static func reservations(
        _ selection: AuditSelection, in transaction: any Transaction
    ) throws -> [ReservationEntry] {
        let columns = "reservation_id, status, lines, total, currency, created_at, expires_at"
        guard selection.ids.isEmpty else {
            return try transaction.all(
                """
                SELECT \(columns) FROM reservations WHERE reservation_id IN (SELECT value FROM json_each(?))
                ORDER BY reservation_id LIMIT \(AuditLimits.ids)
                """,
                [.text(selection.idsJSON)], reservation)
        }
        return try transaction.all(
            "SELECT \(columns) FROM reservations WHERE reservation_id > ? ORDER BY reservation_id LIMIT ?",
            [.text(selection.cursor ?? ""), .integer(Int64(selection.limit + 1))], reservation)
    }

    /// A reservation as it is stored. Nothing is corrected and nothing but an unknown status is refused: what is odd about
    /// it is for the audit to say.
    private static func reservation(_ row: any SQLRow) throws -> ReservationEntry {
        guard let status = Reservation.Status(rawValue: row.text(1)) else {
            throw StoreError.failed("a reservation has the status \(row.text(1))")
        }
        return ReservationEntry(
            id: row.text(0), status: status, lines: lines(row.text(2)),
            total: row.optionalInteger(3).map { Amount($0, row.text(4)) },
            createdAt: Timestamp(milliseconds: row.integer(5)),
            expiresAt: row.optionalInteger(6).map { Timestamp(milliseconds: $0) })
    }

    private static func lines(_ stored: String) -> [LineRequest]? {
        guard let json = try? JSONParser.parse(stored.utf8), var reader = try? ObjectReader(json) else { return nil }
        return reader.elements("lines", ReservedLine.init(json:))?.map {
            LineRequest(itemID: $0.itemID, quantity: $0.quantity)
        }
    }

    private func items(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection(byID: false)
        guard let after = selection.cursor.map({ Int64($0) }) ?? 0 else { throw Problem.badCursor }
        let time = environment.time
        let (now, found) = try await environment.store.transaction { transaction in
            let found = try transaction.all(
                """
                SELECT item_id, received, on_hand - reserved, reserved, completed FROM items
                WHERE item_id > ? ORDER BY item_id LIMIT ?
                """,
                [.integer(after), .integer(Int64(selection.limit + 1))]
            ) { row in
                ItemEntry(
                    itemID: row.integer(0), received: row.integer(1), available: row.integer(2),
                    reserved: row.integer(3), completed: row.integer(4))
            }
            return (time.now, found)
        }
        return .audit(selection, readAt: now, found: found)
    }
}
