import Logging
import Resilience
import ServiceKit
import Storage

/// What operators may see and do of checkouts. What they do takes the way that everything takes: under the saga's epoch, by the
/// saga's own machine, in one transaction with the note of who did it and why. The calls are made by `Recovery`.
struct SagaDesk: Sendable {
    let log: SagaLog
    let logger: Logger

    /// The states that a list may be asked for; `unfinished` are the first three of `SagaSheet.State`.
    static let states = ["unfinished"] + SagaSheet.State.allCases.map(\.rawValue)

    /// Unfinished checkouts oldest first, ended ones newest first.
    func list(_ selection: OperatorSelection) async throws -> Page<SagaSheet> {
        try await log.store.transaction { transaction in
            let state = SagaSheet.State(rawValue: selection.state)
            return state == .completed || state == .failed
                ? try Self.ended(selection, in: transaction) : try Self.unfinished(selection, state, in: transaction)
        }
    }

    /// One checkout with its past. - Returns: nil when there is none.
    func file(_ orderID: String) async throws -> SagaFile? {
        try await log.store.transaction { transaction in
            try Self.sheet(orderID, in: transaction).map { sheet in
                SagaFile(
                    sheet: sheet, attempts: try SagaLog.attempts(of: orderID, in: transaction),
                    actions: try OperatorLog(transaction).actions(on: orderID))
            }
        }
    }

    /// What an action would do; nothing is done. - Throws: `Problem` when it cannot be done.
    func plan(_ action: SagaAction, of orderID: String) async throws -> SagaPlan {
        try await log.store.transaction { transaction in
            guard let sheet = try Self.sheet(orderID, in: transaction) else { throw Problem.noSuchOrder }
            return try SagaPlan(action, of: sheet, actions: try OperatorLog(transaction).count(of: orderID))
        }
    }

    /// Carries out an action, if its plan is still the one that would be made now; a retry does by itself what would be done
    /// anyway, and needs no plan.
    ///
    /// - Returns: the plan that was carried out; nil when the saga is being driven, which is all that a retry asks for.
    /// - Throws: `Problem`; nothing was done then.
    func carryOut(_ action: SagaAction, of orderID: String, _ command: OperatorCommand) async throws -> SagaPlan? {
        let now = log.time.now
        let plan: SagaPlan? = try await log.store.transaction { transaction in
            guard let sheet = try Self.sheet(orderID, in: transaction) else { throw Problem.noSuchOrder }
            if action == .retry, command.plan == nil, sheet.state == .underWay { return nil }
            let operators = OperatorLog(transaction)
            let plan = try SagaPlan(action, of: sheet, actions: try operators.count(of: orderID))
            try command.check(plan.id, needed: action != .retry)
            let changed =
                switch action {
                case .retry: try Self.retry(sheet, now, in: transaction)
                case .compensate: try Self.withdraw(sheet, now, in: transaction)
                case .park: try Self.park(sheet, command, in: transaction)
                }
            // One transaction read the row and writes it: this cannot be, and must not pass if it is.
            guard changed == 1 else { throw Problem(.planOutdated, "The order has changed; nothing was done.") }
            try operators.record(command.action(action.rawValue, plan: plan.id, at: now), on: orderID)
            return plan
        }
        if let plan { command.tell(logger, action.rawValue, of: ("order_id", orderID), plan: plan.id) }
        return plan
    }

    // MARK: - Actions

    private static func retry(_ sheet: SagaSheet, _ now: Timestamp, in transaction: any Transaction) throws -> Int {
        try transaction.run(
            """
            UPDATE orders SET due_at = min(due_at, ?), parked_by = NULL
            WHERE order_id = ? AND status = 'pending' AND owner = '' AND epoch = ?
            """,
            [.integer(now.milliseconds), .text(sheet.orderID), .integer(sheet.epoch)])
    }

    /// Stores the step back before any call of it is made, under a new epoch: whoever drove the saga before cannot write any
    /// more (hazard 18).
    private static func withdraw(_ sheet: SagaSheet, _ now: Timestamp, in transaction: any Transaction) throws -> Int {
        guard let record = sheet.record else { return 0 }
        var saga = Saga(resuming: record.plan, at: record.step)
        guard saga.withdraw() != nil else { return 0 }
        let entry = HistoryEntry(at: now, event: "withdrawn by the shop")
        let changed = SagaRecord(plan: record.plan, step: saga.step, history: record.history + [entry])
        return try transaction.run(
            """
            UPDATE orders SET saga = ?, updated_at = ?, epoch = epoch + 1, rounds = 0, due_at = ?, parked_for = NULL,
                parked_by = NULL
            WHERE order_id = ? AND status = 'pending' AND owner = '' AND epoch = ?
            """,
            [
                .text(String(decoding: changed.json(), as: UTF8.self)), .integer(now.milliseconds),
                .integer(now.milliseconds), .text(sheet.orderID), .integer(sheet.epoch),
            ])
    }

    /// Under a new epoch as well, so that nobody takes it up who has found it due a moment ago.
    private static func park(
        _ sheet: SagaSheet, _ command: OperatorCommand, in transaction: any Transaction
    ) throws -> Int {
        try transaction.run(
            """
            UPDATE orders SET epoch = epoch + 1, parked_for = ?, parked_by = ?
            WHERE order_id = ? AND status = 'pending' AND owner = '' AND epoch = ?
            """,
            [
                .text("by an operator: \(command.reason)".cut(to: HistoryEntry.maximumEvent)), .text(command.name),
                .text(sheet.orderID), .integer(sheet.epoch),
            ])
    }

    // MARK: - Reading

    private static func sheet(_ orderID: String, in transaction: any Transaction) throws -> SagaSheet? {
        try transaction.first(
            "SELECT \(SagaSheet.columns) FROM orders WHERE order_id = ?", [.text(orderID)], SagaSheet.init)
    }

    /// By an index that has nothing but unfinished orders in it.
    private static func unfinished(
        _ selection: OperatorSelection, _ state: SagaSheet.State?, in transaction: any Transaction
    ) throws -> Page<SagaSheet> {
        let condition =
            switch state {
            case .underWay: "owner <> ''"
            case .waiting: "owner = '' AND parked_for IS NULL"
            case .parked: "owner = '' AND parked_for IS NOT NULL"
            case .completed, .failed, nil: "TRUE"
            }
        let found = try transaction.all(
            """
            SELECT \(SagaSheet.columns) FROM orders INDEXED BY orders_due
            WHERE status = 'pending' AND \(condition) AND order_id > ?1 AND created_at <= ?2
                AND (?3 IS NULL OR user_id = ?3)
            ORDER BY order_id LIMIT ?4
            """,
            [
                .text(selection.cursor ?? ""), .integer(selection.madeBefore?.milliseconds ?? .max),
                SQLValue(selection.user), .integer(Int64(selection.limit + 1)),
            ], SagaSheet.init)
        return Page(found, limit: selection.limit, id: \.orderID)
    }

    /// Of all orders, or of all of a user's, in steps of a bounded number of rows.
    private static func ended(
        _ selection: OperatorSelection, in transaction: any Transaction
    ) throws -> Page<SagaSheet> {
        let user = selection.user == nil ? "?2 IS NULL" : "user_id = ?2"
        let arguments = [selection.before, SQLValue(selection.user)]
        let some = "FROM orders WHERE \(user) AND order_id < ?1 ORDER BY order_id DESC"
        let found = try transaction.all(
            """
            SELECT \(SagaSheet.columns) FROM (SELECT * \(some) LIMIT \(OperatorSelection.scanned))
            WHERE status = ?3 AND created_at <= ?4 LIMIT ?5
            """,
            arguments + [
                .text(selection.state), .integer(selection.madeBefore?.milliseconds ?? .max),
                .integer(Int64(selection.limit + 1)),
            ], SagaSheet.init)
        let scannedTo = try transaction.first(
            "SELECT order_id \(some) LIMIT 1 OFFSET \(OperatorSelection.scanned - 1)", arguments
        ) { $0.text(0) }
        return Page(found, limit: selection.limit, scannedTo: scannedTo, id: \.orderID)
    }
}

extension Problem {
    static var noSuchOrder: Problem { Problem(.orderNotFound, "There is no order with this id.") }
}
