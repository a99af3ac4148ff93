import AuditAPI
import Hummingbird
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What the operator's audit reads of Payment. Not reachable through nginx.
struct PaymentAudit: Sendable {
    let environment: ServiceEnvironment
    let ledgerCheck: LedgerCheck

    func add(to routes: inout RouteCatalogue) {
        routes.get("/audit/totals", as: .totals, totals)
        routes.get(ChargeEntry.path, as: .audit("auditCharges", "Charges", takesKeys: true), charges)
        routes.get(PaymentEntry.path, as: .audit("auditPayments", "Payments through providers"), payments)
        routes.get(
            ClearingEntry.path, as: .audit("auditClearing", "What is set aside for open payments", byID: false),
            clearing)
        routes.get(LedgerEntry.path, as: .audit("auditLedger", "The entries of the ledger", byID: false), ledger)
        routes.get(AccountEntry.path, as: .audit("auditAccounts", "Accounts of the ledger", byID: false), accounts)
    }

    /// What was captured and refunded in all (INV-3), for the operator.
    private func totals(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let totals = try await PaymentTotals(in: environment)
        return .json { json in
            json.object { json in
                json.array("currencies") { json in
                    for (currency, total) in totals.byCurrency.sorted(by: { $0.key < $1.key }) {
                        json.object { json in
                            json.string("currency", currency)
                            json.integer("captured", total.captured)
                            json.integer("refunded", total.refunded)
                            json.integer("net", total.captured - total.refunded)
                        }
                    }
                }
            }
        }
    }

    private func payments(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection()
        let time = environment.time
        let (now, found) = try await environment.store.transaction { transaction in
            let select = """
                SELECT payment_id, kind, status, provider, amount, currency, refunding + refunded,
                    (SELECT ifnull(sum(amount), 0) FROM payments AS refunds
                        WHERE refunds.refund_of = payments.payment_id AND refunds.status <> 'failed'
                            AND refunds.status <> 'canceled'), created_at, direction = 'in'
                FROM payments
                """
            let (condition, arguments): (String, [SQLValue]) =
                selection.ids.isEmpty
                ? ("payment_id > ?", [.text(selection.cursor ?? ""), .integer(Int64(selection.limit + 1))])
                : (
                    "payment_id IN (SELECT value FROM json_each(?))",
                    [.text(selection.idsJSON), .integer(Int64(AuditLimits.ids))]
                )
            let found = try transaction.all(
                "\(select) WHERE \(condition) ORDER BY payment_id LIMIT ?", arguments
            ) { row in
                PaymentEntry(
                    id: row.text(0), kind: row.text(1), status: row.text(2), isInwards: row.integer(9) == 1,
                    provider: row.text(3), amount: Amount(row.integer(4), row.text(5)), refunded: row.integer(6),
                    refundRecords: row.integer(7),
                    createdAt: Timestamp(milliseconds: row.integer(8)))
            }
            return (time.now, found)
        }
        return .audit(selection, readAt: now, found: found)
    }

    /// What is in clearing, beside what open payments say is held for them: of one moment. There are as many accounts as there are
    /// currencies, for each provider.
    private func clearing(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection(byID: false)
        let time = environment.time
        let (now, found) = try await environment.store.transaction { transaction in
            let found = try transaction.all(
                """
                SELECT account_id, currency, balance_high, balance_low,
                    (SELECT ifnull(sum(held / 1000000000), 0) FROM payments WHERE held > 0
                        AND 'clearing:' || payments.provider || ':' || payments.currency = accounts.account_id),
                    (SELECT ifnull(sum(held % 1000000000), 0) FROM payments WHERE held > 0
                        AND 'clearing:' || payments.provider || ':' || payments.currency = accounts.account_id)
                FROM accounts WHERE account_number < 0 AND kind = 'clearing' AND account_id > ?
                ORDER BY account_id LIMIT ?
                """, [.text(selection.cursor ?? ""), .integer(Int64(selection.limit + 1))]
            ) { row in
                ClearingEntry(
                    id: row.text(0), currency: row.text(1),
                    balance: Int128(high: row.integer(2), low: row.integer(3)),
                    held: Int128(high: row.integer(4), low: row.integer(5)))
            }
            return (time.now, found)
        }
        return .audit(selection, readAt: now, found: found)
    }

    private func ledger(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection(byID: false)
        let progress = try await ledgerCheck.entries()
        let entry = LedgerEntry(entries: progress.through, faultyEntries: progress.faultyEntries)
        return .audit(selection, readAt: environment.time.now, found: [entry])
    }

    /// The accounts of the ledger, each beside the sums of its entries.
    private func accounts(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection(byID: false)
        guard let after = selection.cursor.map({ Int64($0) }) ?? Int64.min else { throw Problem.badCursor }
        let found = try await ledgerCheck.accounts(after: after, limit: selection.limit + 1)
        let entries = found.map { account in
            AccountEntry(
                number: account.number, account: account.id, kind: account.kind, currency: account.currency,
                growsByDebits: account.debitSign == 1, balance: account.balance, debits: account.debits,
                credits: account.credits)
        }
        return .audit(selection, readAt: environment.time.now, found: entries)
    }

    private func charges(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection(takesKeys: true)
        let time = environment.time
        let (now, found) = try await environment.store.transaction { transaction in
            (time.now, try Self.charges(selection, in: transaction))
        }
        return .audit(selection, readAt: now, found: found)
    }

    private static func charges(
        _ selection: AuditSelection, in transaction: any Transaction
    ) throws -> [ChargeEntry] {
        guard selection.ids.isEmpty else {
            return try transaction.all(
                """
                \(select) WHERE charge_id IN (SELECT value FROM json_each(?)) ORDER BY charge_id LIMIT \(AuditLimits.ids)
                """,
                [.text(selection.keysJSON), .text(selection.idsJSON)], charge)
        }
        return try transaction.all(
            "\(select) WHERE charge_id > ? ORDER BY charge_id LIMIT ?",
            [
                .text(selection.keysJSON), .text(selection.cursor ?? ""), .integer(Int64(selection.limit + 1)),
            ], charge)
    }

    /// A charge with the sums of its refunds, which an index finds by the charge. A charge may have any number of them, so
    /// they are added up here and not listed.
    private static let select = """
        SELECT charge_id, user_id, order_id, status, amount, currency, refunded,
            (SELECT ifnull(sum(amount), 0) FROM refunds WHERE refunds.charge_id = charges.charge_id),
            (SELECT ifnull(sum(amount), 0) FROM refunds WHERE refunds.charge_id = charges.charge_id
                AND operation_key IN (SELECT value FROM json_each(?))),
            (SELECT min(created_at) FROM refunds WHERE refunds.charge_id = charges.charge_id AND status = 'pending'),
            ifnull(operation_key = charge_id, 0), created_at, in_ledger,
            (SELECT ifnull(sum(amount), 0) FROM refunds WHERE refunds.charge_id = charges.charge_id AND in_ledger = 1)
        FROM charges
        """

    /// A charge as it is stored: what is odd about it is for the audit to say.
    private static func charge(_ row: any SQLRow) throws -> ChargeEntry {
        guard let status = ChargeEntry.Status(rawValue: row.text(3)) else {
            throw StoreError.failed("a charge has the status \(row.text(3))")
        }
        return ChargeEntry(
            id: row.text(0), user: row.text(1), orderID: row.optionalText(2), status: status,
            amount: Amount(row.integer(4), row.text(5)), refunded: row.integer(6), refundRecords: row.integer(7),
            refundedUnderKeys: row.integer(8),
            refundPendingSince: row.optionalInteger(9).map { Timestamp(milliseconds: $0) },
            isKeyedByID: row.integer(10) == 1, isInLedger: row.integer(12) == 1, refundedInLedger: row.integer(13),
            createdAt: Timestamp(milliseconds: row.integer(11)))
    }
}
