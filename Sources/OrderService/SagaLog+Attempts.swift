import Resilience
import Storage
import StrictJSON

/// A failed attempt with its place among all of its saga's, from 1.
struct RecordedAttempt: Hashable, Sendable {
    let sequence: Int64
    let attempt: FailedAttempt

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.integer("sequence", sequence)
            json.string("at", attempt.at.description)
            json.string("call", attempt.call)
            json.integer("attempt", attempt.attempt)
            json.string("answer", attempt.answer)
        }
    }
}

extension SagaLog {
    /// Of a saga's failed attempts so many of the first and so many of the last are kept: they may go on for days.
    static let keptAttempts: Int64 = 32

    /// Adds failed attempts to those of a saga, whose numbers go on counting also what is dropped.
    static func record(_ attempts: [FailedAttempt], of orderID: String, in transaction: any Transaction) throws {
        guard !attempts.isEmpty else { return }
        for attempt in attempts {
            try transaction.run(
                """
                INSERT INTO saga_attempts (order_id, sequence, at, call, attempt, answer)
                VALUES (?1, (SELECT ifnull(max(sequence), 0) + 1 FROM saga_attempts WHERE order_id = ?1), ?2, ?3, ?4, ?5)
                """,
                [
                    .text(orderID), .integer(attempt.at.milliseconds), .text(attempt.call),
                    .integer(Int64(attempt.attempt)), .text(attempt.answer),
                ])
        }
        try transaction.run(
            """
            DELETE FROM saga_attempts WHERE order_id = ?1 AND sequence > ?2
                AND sequence <= (SELECT max(sequence) FROM saga_attempts WHERE order_id = ?1) - ?2
            """,
            [.text(orderID), .integer(keptAttempts)])
    }

    /// The failed attempts that are kept of a saga, oldest first.
    static func attempts(of orderID: String, in transaction: any Transaction) throws -> [RecordedAttempt] {
        try transaction.all(
            """
            SELECT sequence, at, call, attempt, answer FROM saga_attempts WHERE order_id = ?
            ORDER BY sequence LIMIT \(2 * keptAttempts)
            """, [.text(orderID)]
        ) { row in
            RecordedAttempt(
                sequence: row.integer(0),
                attempt: FailedAttempt(
                    at: Timestamp(milliseconds: row.integer(1)), call: row.text(2), attempt: Int(row.integer(3)),
                    answer: row.text(4)))
        }
    }
}
