import ProviderAPI
import Resilience
import ServiceKit
import Storage

/// What is open of a provider.
struct Backlog: Hashable, Sendable {
    /// How many payments, up to `PaymentRecords.maximumCounted`.
    let count: Int64
    /// For how long the one has been due that has waited longest, the time not counted in which its provider has asked to be left alone: whether
    /// the worker keeps up.
    let oldestDue: Duration
    /// How old the oldest is, however often it was asked about: whether its provider ever brings it to an end.
    let oldestOpen: Duration
}

extension PaymentRecords {
    func backlog(of provider: Provider, at now: Timestamp) throws -> Backlog {
        func age(_ milliseconds: Int64?) -> Duration {
            milliseconds.map { max(.zero, .milliseconds(now.milliseconds - $0)) } ?? .zero
        }
        let due = try transaction.first(
            """
            SELECT count(*), min(due_at) FROM (SELECT due_at FROM payments
                WHERE provider = ? AND status IN ('new', 'processing') ORDER BY due_at LIMIT ?)
            """, [.text(provider.rawValue), .integer(Int64(Self.maximumCounted))]
        ) { ($0.integer(0), $0.optionalInteger(1)) }
        let oldest = try transaction.first(Self.oldest, [.text(provider.rawValue)]) { $0.optionalInteger(0) }
        let dueSince = try due?.1.map { max($0, try lastPauseEnd(of: provider, at: now)?.milliseconds ?? $0) }
        return Backlog(count: due?.0 ?? 0, oldestDue: age(dueSince), oldestOpen: age(oldest ?? nil))
    }

    static let oldest = "SELECT min(created_at) FROM payments WHERE provider = ? AND status IN ('new', 'processing')"
}

extension PaymentRecords {
    /// Payments of one state for operators: open ones by id, the others in the opposite order and in steps of a bounded number of
    /// rows.
    func page(_ selection: OperatorSelection) throws -> Page<Payment> {
        let limit = SQLValue.integer(Int64(selection.limit + 1))
        let bounds = [SQLValue.integer(selection.madeBefore?.milliseconds ?? .max), SQLValue(selection.user)]
        guard selection.state != Self.openState else {
            let found = try transaction.all(
                """
                \(Self.select) INDEXED BY payments_open WHERE status IN ('new', 'processing') AND payment_id > ?1
                    AND created_at <= ?2 AND (?3 IS NULL OR user_id = ?3) ORDER BY payment_id LIMIT ?4
                """, [.text(selection.cursor ?? "")] + bounds + [limit], Self.payment)
            return Page(found, limit: selection.limit, id: \.id)
        }
        let some = "FROM payments WHERE payment_id < ?1 ORDER BY payment_id DESC"
        let last = try transaction.first(
            "SELECT payment_id \(some) LIMIT 1 OFFSET \(OperatorSelection.scanned - 1)", [selection.before]
        ) { $0.text(0) }
        let found = try transaction.all(
            """
            \(Self.select) WHERE payment_id < ?1 AND payment_id >= ?2 AND status = ?3 AND created_at <= ?4
                AND (?5 IS NULL OR user_id = ?5) ORDER BY payment_id DESC LIMIT ?6
            """, [selection.before, .text(last ?? ""), .text(selection.state)] + bounds + [limit], Self.payment)
        return Page(found, limit: selection.limit, scannedTo: last, id: \.id)
    }

    /// The state in which operators see what has no end yet.
    static let openState = "open"

    /// Makes an open payment due now, whatever its wait: an operator knows more than we do. One that is being asked about is asked
    /// about again if that brings no end.
    func askNow(_ payment: Payment, at now: Timestamp) throws {
        try transaction.run(
            """
            UPDATE payments SET has_news = lease_owner IS NOT NULL, not_before = 0,
                due_at = iif(lease_owner IS NULL, min(due_at, ?), due_at)
            WHERE payment_id = ? AND status IN ('new', 'processing')
            """, [.integer(now.milliseconds), .text(payment.id)])
    }
}
