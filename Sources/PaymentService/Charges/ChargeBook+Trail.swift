import Money
import Resilience
import Storage

/// The trails of charges.
extension ChargeBook {
    func record(_ event: PaymentEvent, of chargeID: String) throws {
        try transaction.run(
            """
            INSERT INTO payment_events (payment_id, sequence, type, refund_id, amount, code, at)
            VALUES (?1, (SELECT ifnull(max(sequence), 0) + 1 FROM payment_events WHERE payment_id = ?1), ?2, ?3, ?4, ?5, ?6)
            """,
            [
                .text(chargeID), .text(event.kind.rawValue), SQLValue(event.refundID), SQLValue(event.amount),
                SQLValue(event.code), .integer(event.at.milliseconds),
            ])
    }

    /// The event of a charge that is forgotten, so that its id is free: it keeps what the events before it are to be read by.
    func recordDrop(of charge: Charge, at now: Timestamp) throws {
        try transaction.run(
            """
            INSERT INTO payment_events (payment_id, sequence, type, at, user_id, currency)
            VALUES (?1, (SELECT ifnull(max(sequence), 0) + 1 FROM payment_events WHERE payment_id = ?1), ?2, ?3, ?4, ?5)
            """,
            [
                .text(charge.id), .text(PaymentEvent.Kind.dropped.rawValue), .integer(now.milliseconds),
                .text(charge.user), .text(charge.amount.currency.code),
            ])
    }

    /// The last events of a charge that a user may see, oldest first.
    func lastEvents(of chargeID: String, for user: String, limit: Int) throws -> [RecordedEvent] {
        let last = try transaction.first(
            "SELECT ifnull(max(sequence), 0) FROM payment_events WHERE payment_id = ?", [.text(chargeID)]
        ) { $0.integer(0) }
        return try events(of: chargeID, for: user, after: (last ?? 0) - Int64(limit), limit: limit)
    }

    /// The events of a charge, oldest first.
    ///
    /// - Parameters:
    ///   - user: whose charge it is now. Of charges that had the id before and were dropped, only this user's are shown (INV-15).
    ///   - cursor: only events after this one.
    func events(of chargeID: String, for user: String, after cursor: Int64, limit: Int) throws -> [RecordedEvent] {
        try transaction.all(
            """
            SELECT event.sequence, event.type, event.refund_id, event.amount, event.code, event.at, ending.currency
            FROM payment_events AS event LEFT JOIN payment_events AS ending
                ON ending.payment_id = event.payment_id AND ending.sequence = (
                    SELECT min(sequence) FROM payment_events
                    WHERE payment_id = event.payment_id AND sequence >= event.sequence AND type = 'dropped')
            WHERE event.payment_id = ?1 AND event.sequence > ?2 AND (ending.sequence IS NULL OR ending.user_id = ?4)
            ORDER BY event.sequence LIMIT ?3
            """,
            [.text(chargeID), .integer(cursor), .integer(Int64(limit)), .text(user)]
        ) { try RecordedEvent($0, of: chargeID) }
    }
}
