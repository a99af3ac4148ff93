import Money
import Resilience
import Storage

/// The trails of payments through providers. Not among those of charges: a charge's id is whatever its client says, and no client
/// may come upon the trail of a payment by choosing one (INV-15).
extension PaymentRecords {
    /// - Parameter refund: what the event is about, if it is about a refund of the payment.
    func record(
        _ kind: PaymentEvent.Kind, of payment: Payment, refund: Payment? = nil, because reason: String? = nil,
        at now: Timestamp
    ) throws {
        try transaction.run(
            """
            INSERT INTO payments_trail (payment_id, sequence, type, refund_id, amount, code, at)
            VALUES (?1, (SELECT ifnull(max(sequence), 0) + 1 FROM payments_trail WHERE payment_id = ?1), ?2, ?3, ?4, ?5, ?6)
            """,
            [
                .text(payment.id), .text(kind.rawValue), SQLValue(refund?.id),
                .integer((refund ?? payment).amount.minorUnits), SQLValue(reason), .integer(now.milliseconds),
            ])
    }

    /// The last events of a payment, oldest first.
    func lastEvents(of id: String, limit: Int) throws -> [RecordedEvent] {
        let last = try transaction.first(
            "SELECT ifnull(max(sequence), 0) FROM payments_trail WHERE payment_id = ?", [.text(id)]
        ) { $0.integer(0) }
        return try events(of: id, after: (last ?? 0) - Int64(limit), limit: limit)
    }

    /// The events of a payment, oldest first. - Parameter cursor: only events after this one.
    func events(of id: String, after cursor: Int64, limit: Int) throws -> [RecordedEvent] {
        try transaction.all(
            """
            SELECT sequence, type, refund_id, amount, code, at, NULL FROM payments_trail
            WHERE payment_id = ? AND sequence > ? ORDER BY sequence LIMIT ?
            """, [.text(id), .integer(cursor), .integer(Int64(limit))]
        ) { try RecordedEvent($0, of: id) }
    }
}
