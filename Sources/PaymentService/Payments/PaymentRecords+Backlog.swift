import ProviderAPI
import Resilience
import Storage

/// What is open of a provider.
struct Backlog: Hashable, Sendable {
    /// How many payments, up to `PaymentRecords.maximumCounted`.
    let count: Int64
    /// For how long the one has been due that has waited longest: whether the worker keeps up.
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
        return Backlog(count: due?.0 ?? 0, oldestDue: age(due?.1), oldestOpen: age(oldest ?? nil))
    }

    static let oldest = "SELECT min(created_at) FROM payments WHERE provider = ? AND status IN ('new', 'processing')"
}
