import Resilience
import Storage

/// What is open, charges and refunds whose provider has not answered, and when it is asked about next.
///
/// Each waits longer after every question that brought nothing, and those go first that have waited longest: a provider
/// that never answers for some keeps nobody else waiting.
extension ChargeBook {
    /// The wait after the first question that brought no answer; it doubles each time.
    static let shortestWait = Duration.seconds(2)
    /// The longest wait between two questions. A customer's order may be waiting for the answer, to be undone.
    static let longestWait = Duration.seconds(8)

    /// The ids of open charges whose time has come, those that have waited longest first, at most `limit`.
    func chargesToAsk(now: Timestamp, limit: Int) throws -> [String] {
        try toAsk("SELECT charge_id FROM charges", now, limit)
    }

    /// The ids of open refunds whose time has come, those that have waited longest first, at most `limit`.
    func refundsToAsk(now: Timestamp, limit: Int) throws -> [String] {
        try toAsk("SELECT refund_id FROM refunds", now, limit)
    }

    /// Sets the time of the next question about an open charge; before this one is asked, so that one whose answer never
    /// comes counts as well. - Returns: the charge; nil when it is not open any more.
    func beginAsking(charge id: String, now: Timestamp) throws -> Charge? {
        try postpone("UPDATE charges", "charge_id", id, now) ? try charge(id) : nil
    }

    /// The same for a refund.
    func beginAsking(refund id: String, now: Timestamp) throws -> Refund? {
        try postpone("UPDATE refunds", "refund_id", id, now) ? try refund(id) : nil
    }

    /// How many charges are open, up to `ChargeMetrics.maximumCounted`, and since when.
    func openCharges() throws -> ChargeMetrics.Open { try open(Self.open("charges")) }

    /// The same for refunds.
    func openRefunds() throws -> ChargeMetrics.Open { try open(Self.open("refunds")) }

    /// The oldest first, by an index that has nothing else in it: however many there are, few are read.
    static func open(_ table: String) -> String {
        """
        SELECT count(*), min(created_at) FROM (SELECT created_at FROM \(table) WHERE status = 'pending'
            ORDER BY created_at LIMIT ?)
        """
    }

    private func open(_ select: String) throws -> ChargeMetrics.Open {
        try transaction.first(select, [.integer(ChargeMetrics.maximumCounted)]) { row in
            ChargeMetrics.Open(
                count: row.integer(0), since: row.optionalInteger(1).map { Timestamp(milliseconds: $0) })
        } ?? ChargeMetrics.Open(count: 0, since: nil)
    }

    /// A time further away than the longest wait was set before the clock was set back (hazard 37).
    private func toAsk(_ select: String, _ now: Timestamp, _ limit: Int) throws -> [String] {
        try transaction.all(
            "\(select) WHERE status = 'pending' AND (ask_at <= ? OR ask_at > ?) ORDER BY ask_at LIMIT ?",
            [
                .integer(now.milliseconds), .integer(now.advanced(by: Self.longestWait).milliseconds),
                .integer(Int64(limit)),
            ]
        ) { $0.text(0) }
    }

    private func postpone(_ update: String, _ column: String, _ id: String, _ now: Timestamp) throws -> Bool {
        // Ten doublings are more than the longest wait, and no shift can overflow.
        try transaction.run(
            """
            \(update) SET askings = askings + 1, ask_at = ?1 + min(?2 << min(askings, 10), ?3)
            WHERE \(column) = ?4 AND status = 'pending'
            """,
            [
                .integer(now.milliseconds), .integer(Self.shortestWait.wholeMilliseconds),
                .integer(Self.longestWait.wholeMilliseconds), .text(id),
            ]) == 1
    }
}
