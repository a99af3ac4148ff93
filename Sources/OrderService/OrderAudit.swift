import AuditAPI
import Hummingbird
import Idempotency
import Resilience
import ServiceKit
import StockAPI
import Storage

/// What the operator's audit reads of Order. Not reachable through nginx.
struct OrderAudit: Sendable {
    let log: SagaLog

    func add(to routes: inout RouteCatalogue) {
        routes.get(OrderEntry.path, as: .audit("auditOrders", "Orders"), orders)
    }

    private func orders(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection()
        let (now, found) = try await log.auditEntries(selection)
        return .audit(selection, readAt: now, found: found)
    }
}

extension SagaLog {
    /// Orders of all users as they are stored, in the order of their ids, with the time at which they were read.
    func auditEntries(_ selection: AuditSelection) async throws -> (Timestamp, [OrderEntry]) {
        let columns = "saga, operation_key, created_at, updated_at, order_id, user_id, status, total, currency"
        return try await store.transaction { [self] transaction in
            guard selection.ids.isEmpty else {
                let found = try transaction.all(
                    """
                    SELECT \(columns) FROM orders WHERE order_id IN (SELECT value FROM json_each(?))
                    ORDER BY order_id LIMIT \(AuditLimits.ids)
                    """,
                    [.text(selection.idsJSON)], Self.auditEntry)
                return (time.now, found)
            }
            let found = try transaction.all(
                "SELECT \(columns) FROM orders WHERE order_id > ? ORDER BY order_id LIMIT ?",
                [.text(selection.cursor ?? ""), .integer(Int64(selection.limit + 1))], Self.auditEntry)
            return (time.now, found)
        }
    }

    /// A saga that this version cannot read is no reason to keep the other orders from the audit.
    private static func auditEntry(_ row: any SQLRow) throws -> OrderEntry {
        guard let status = OrderEntry.Status(rawValue: row.text(6)) else {
            throw StoreError.failed("an order has the status \(row.text(6))")
        }
        let order = try? order(row)
        let user = row.text(5)
        return OrderEntry(
            id: row.text(4), user: user, status: status,
            total: row.optionalInteger(7).map { Amount($0, row.text(8)) },
            key: digest("key", [user, row.text(1)]), command: order.flatMap(boundCommand),
            record: order.map { OrderEntry.Record($0.record) },
            createdAt: Timestamp(milliseconds: row.integer(2)), updatedAt: Timestamp(milliseconds: row.integer(3)))
    }

    private static func boundCommand(_ order: Order) -> String? {
        if case .failed(let failure) = order.record.step, failure.isInvalidCommand { return nil }
        let plan = order.record.plan
        return digest("command", [plan.method] + plan.lines.map { "\($0.itemID):\($0.quantity)" })
    }

    /// 128 bits, in hexadecimal: enough to tell any two apart, and no way back to a client's key.
    private static func digest(_ kind: String, _ fields: [String?]) -> String {
        Fingerprint(operation: "audit \(kind)", fields: fields).hexadecimal(bytes: 16)
    }
}

extension OrderEntry.Record {
    init(_ record: SagaRecord) {
        let status: OrderEntry.Status =
            switch record.step.status {
            case .pending: .pending
            case .completed: .completed
            case .failed: .failed
            }
        self.init(
            step: record.step.name, status: status, reservationID: record.plan.reservationID,
            chargeID: record.plan.chargeID, refundID: record.plan.refundID, lines: record.plan.lines,
            total: record.step.goods.map { Amount($0.total) })
    }
}
