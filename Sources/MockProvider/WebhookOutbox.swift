import CoreMetrics
import Correlation
import Logging
import ProviderAPI
import Resilience
import Storage

/// Messages that wait to be delivered. They are stored with the change that they tell of, so that none is lost and none is told
/// of a change that was undone.
struct WebhookOutbox: Sendable {
    /// A message, and how often its delivery was tried.
    struct Message: Sendable, Equatable {
        let number: Int64
        let id: String
        let provider: Provider
        let body: [UInt8]
        /// How often it is still to be delivered.
        let copies: Int
        let attempts: Int
    }

    /// How long a message is held back that others are to overtake.
    static let overtaking = Duration.seconds(1)

    let configuration: MockProviderConfiguration
    let identifiers: IdentifierSource
    let metrics: WebhookMetrics
    let logger: Logger

    /// Adds an event, unless its provider sends none. Of too many, it is dropped, which is logged and counted.
    func add(
        _ event: WebhookEvent, of provider: Provider, _ now: Timestamp, in transaction: any Transaction
    ) throws {
        guard configuration.targets[provider] != nil else { return }
        guard try Self.count(upTo: configuration.maximumQueued, in: transaction) < configuration.maximumQueued else {
            // It may be said twice, as a body may run twice; the queue is full either way.
            metrics.dropped.increment()
            logger.warning(
                "a webhook was dropped, since too many wait",
                metadata: ["provider": .string(provider.rawValue), "type": .string(event.type)])
            return
        }
        let behaviour = configuration.behaviour
        let delivery = behaviour.delivery(provider, type: event.type, reference: event.reference)
        let dueAt = delivery.isHeldBack ? now.advanced(by: Self.overtaking) : now
        try transaction.run(
            "INSERT INTO webhook_messages (message_id, provider, body, copies, due_at) VALUES (?, ?, ?, ?, ?)",
            [
                .text("msg_\(identifiers.next())"), .text(provider.rawValue), .blob(event.json()),
                .integer(Int64(delivery.copies)), .integer(dueAt.milliseconds),
            ])
    }

    /// The messages that are due, at most so many.
    func due(_ now: Timestamp, limit: Int, in transaction: any Transaction) throws -> [Message] {
        try transaction.all(
            """
            SELECT number, message_id, provider, body, copies, attempts FROM webhook_messages
            WHERE due_at <= ? ORDER BY due_at, number LIMIT ?
            """, [.integer(now.milliseconds), .integer(Int64(limit))]
        ) { row in
            guard let provider = Provider(rawValue: row.text(2)) else {
                throw StoreError.failed("a message is of the provider \(row.text(2))")
            }
            return Message(
                number: row.integer(0), id: row.text(1), provider: provider, body: row.blob(3),
                copies: Int(row.integer(4)), attempts: Int(row.integer(5)))
        }
    }

    /// One copy was delivered.
    func noteDelivery(of message: Message, _ now: Timestamp, in transaction: any Transaction) throws {
        guard message.copies > 1 else { return try forget(message, in: transaction) }
        try transaction.run(
            "UPDATE webhook_messages SET copies = copies - 1, attempts = 0, due_at = ? WHERE number = ?",
            [.integer(now.milliseconds), .integer(message.number)])
    }

    /// An attempt failed. - Returns: whether it was the last.
    func noteFailure(of message: Message, _ now: Timestamp, in transaction: any Transaction) throws -> Bool {
        let attempts = message.attempts + 1
        guard attempts < configuration.deliveries.maximumAttempts else {
            try forget(message, in: transaction)
            return true
        }
        let dueAt = now.advanced(by: configuration.deliveries.delay(afterAttempt: attempts))
        try transaction.run(
            "UPDATE webhook_messages SET attempts = ?, due_at = ? WHERE number = ?",
            [.integer(Int64(attempts)), .integer(dueAt.milliseconds), .integer(message.number)])
        return false
    }

    private func forget(_ message: Message, in transaction: any Transaction) throws {
        try transaction.run("DELETE FROM webhook_messages WHERE number = ?", [.integer(message.number)])
    }

    /// How many messages wait, counted up to a limit.
    static func count(upTo limit: Int, in transaction: any Transaction) throws -> Int {
        let count = try transaction.first(
            "SELECT count(*) FROM (SELECT 1 FROM webhook_messages LIMIT ?)", [.integer(Int64(limit))]
        ) { $0.integer(0) }
        return Int(count ?? 0)
    }
}
