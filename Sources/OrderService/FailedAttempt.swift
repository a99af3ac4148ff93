import Resilience
import ServiceClient
import StockAPI
import Storage
import StrictJSON

/// One attempt of a call that brought no answer that ends it: what an operator needs to see where a checkout hangs. None is
/// stored of a checkout that goes well, and none for a refusal, which stands in the order's history.
struct FailedAttempt: Hashable, Sendable {
    let at: Timestamp
    /// The call: `reserve`, `charge`, `complete`, `release` or `refund`.
    let call: String
    /// Its number within its round of attempts, from 1.
    let attempt: Int
    /// What came of it, for a person.
    let answer: String
}

/// What has been in the way of a saga's calls.
struct FailedAttempts: Sendable {
    /// Since the saga was stored last.
    var attempts: [FailedAttempt] = []
    /// How long the service has asked to be left alone, in its last answer.
    var retryAfter: Duration?

    /// A saga is stored after every round, so that this is never reached but by a store that cannot be written.
    static let maximum = 64

    mutating func add(_ failure: CallFailure, _ call: String, _ number: Int, at now: Timestamp) {
        retryAfter = failure.retryAfter
        guard let answer = failure.answer, attempts.count < Self.maximum else { return }
        attempts.append(FailedAttempt(at: now, call: call, attempt: number, answer: answer))
    }
}

extension CallFailure {
    /// What came of the attempt; nil when it was refused.
    fileprivate var answer: String? {
        switch self {
        case .refused: nil
        case .notSent(let trouble): "not sent: \(trouble.words)"
        case .notExecuted(let trouble, _): "not executed, says the service: \(trouble.words)"
        case .unknown(let trouble, _): "no definite answer: \(trouble.words)"
        }
    }
}

extension CallTrouble {
    fileprivate var words: String {
        switch self {
        case .unreachable: "no connection"
        case .queueFull: "too many commands wait here"
        case .unavailable: "it is not available"
        case .providerUnavailable: "the payment provider is not available"
        case .timedOut: "no answer in time"
        case .connectionLost: "the connection broke"
        case .garbled: "what came back makes no sense"
        case .inProgress: "it is still working on it"
        }
    }
}

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
