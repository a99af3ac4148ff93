import HTTPTypes
import Hummingbird
import Logging
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// Takes the messages of providers. A message is a hint that there is an outcome to be asked for: it makes the payment due now,
/// and what the provider then answers settles it. So a message that comes twice, late, out of order or from somebody who has
/// stolen the secret moves nothing. The most that it can do is to hold a payment up: one that is said to have moved is given back only when
/// the provider says that it will never take it, and where it never says so, a person has to (`PaymentVerdict`).
package struct WebhookInbox: Sendable {
    /// How long a message is remembered, so that a repetition is known: longer than any provider repeats one.
    static let memory = Duration.seconds(3 * 86_400)
    /// How many messages are remembered. One that is forgotten is taken for new, and causes one question more.
    static let maximumRemembered: Int64 = 100_000
    /// How many messages one transaction forgets.
    static let sweepLimit: Int64 = 200

    private let environment: ServiceEnvironment
    private let signatures: [Provider: WebhookSignature]
    private let metrics: PaymentMetrics
    private let wake: @Sendable () -> Void

    init(
        _ environment: ServiceEnvironment, secrets: [Provider: [WebhookSecret]], _ metrics: PaymentMetrics,
        wake: @escaping @Sendable () -> Void
    ) {
        self.environment = environment
        signatures = secrets.mapValues { WebhookSignature($0, time: environment.time) }
        self.metrics = metrics
        self.wake = wake
    }

    /// Takes a message. - Throws: `Problem`, or `StoreError`, upon which the provider sends it again.
    func receive(_ request: Request, _ context: ServiceContext, from provider: Provider) async throws {
        let body = Array(context.body.readableBytesView)
        let id: String
        do {
            id = try verify(request, body, from: provider)
        } catch {
            metrics.received(provider, .refused)
            throw error
        }
        let json = try? JSONParser.parse(body)
        if let json, let type = try? WebhookEvent.type(of: json), WebhookEvent.Kind(rawValue: type) == nil {
            // A provider of a later version tells more than we ask for. Refused, it would be sent again for days.
            return metrics.received(provider, .ignored)
        }
        guard let json, let event = try? WebhookEvent(json: json) else {
            environment.logger.warning(
                "a message of a provider cannot be read", metadata: ["provider": .string(provider.rawValue)])
            metrics.received(provider, .refused)
            throw Problem(.validationFailed, "The message is not an event of a payment.")
        }
        try await take(id, event.reference, saying: event.kind, from: provider)
    }

    /// Takes a message that is the provider's.
    ///
    /// - Parameter kind: what it says has happened; nil if that is not known.
    /// - Throws: `StoreError`.
    package func take(
        _ id: String, _ reference: String, saying kind: WebhookEvent.Kind? = nil, from provider: Provider
    ) async throws {
        let result: PaymentMetrics.Webhook = try await environment.store.transaction { [environment] transaction in
            let now = environment.time.now
            let isNew = try transaction.run(
                """
                INSERT INTO webhook_messages (provider, message_id, received_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
                """, [.text(provider.rawValue), .text(id), .integer(now.milliseconds)])
            guard isNew == 1 else { return .repeated }
            let records = PaymentRecords(transaction: transaction)
            let saysMoved = kind == .paymentSucceeded || kind == .refundSucceeded
            let isRefund = kind == .refundSucceeded
            let isNoted = try saysMoved && records.noteMoved(reference, at: provider, isRefund: isRefund)
            let isHurried = try records.hurry(reference, at: provider, now: now)
            if isNoted || isHurried { return .accepted }
            guard saysMoved else { return .ignored }
            return try records.contradict(reference, at: provider, isRefund: isRefund, now: now)
                ? .contradicted : .ignored
        }
        metrics.received(provider, result)
        environment.logger.log(
            level: result == .contradicted ? .error : .info,
            result == .contradicted
                ? "a provider says it has moved the money of a payment that has failed here: compare its books"
                : "a message of a provider was taken",
            metadata: [
                "provider": .string(provider.rawValue), "payment_id": .string(reference),
                "result": .string(result.rawValue),
            ])
        if result == .accepted { wake() }
    }

    private func verify(_ request: Request, _ body: [UInt8], from provider: Provider) throws -> String {
        guard let signature = signatures[provider] else {
            throw Problem(.webhookSignatureInvalid, "No secret is configured for messages of \(provider.rawValue).")
        }
        func header(_ name: String) -> String? {
            guard let field = HTTPField.Name(name) else { return nil }
            let values = request.headers[values: field]
            return values.count == 1 ? values[0] : nil
        }
        let id = header(WebhookSignature.Header.id)
        do throws(WebhookRefusal) {
            try signature.verify(
                id: id, timestamp: header(WebhookSignature.Header.timestamp),
                signature: header(WebhookSignature.Header.signature), body: body)
        } catch {
            throw Problem(.webhookSignatureInvalid, error.explanation)
        }
        return id ?? ""
    }

    /// Forgets messages whose time is over, and the oldest if there are too many, in steps that leave room for requests between
    /// them.
    ///
    /// - Parameter most: so many are remembered.
    /// - Throws: `StoreError`.
    func sweep(most: Int64 = maximumRemembered) async throws {
        let store = environment.store
        // Counted once: that reads all of them.
        let count = try await store.transaction { transaction in
            try transaction.first("SELECT count(*) FROM webhook_messages", []) { $0.integer(0) } ?? 0
        }
        var excess = max(0, count - most)
        let old = environment.time.now.advanced(by: .zero - Self.memory)
        try await environment.stepByStep {
            let tooMany = excess
            let forgotten = try await store.transaction { transaction in
                let limit = SQLValue.integer(Self.sweepLimit)
                let overdue =
                    try transaction.first(Self.countOverdue, [.integer(old.milliseconds), limit]) { $0.integer(0) } ?? 0
                // The oldest are in front either way.
                let forgotten = min(Self.sweepLimit, max(overdue, tooMany))
                return Int64(try transaction.run(Self.forgetOldest, [.integer(forgotten)]))
            }
            excess -= forgotten
            return forgotten == Self.sweepLimit
        }
    }

    static let countOverdue =
        "SELECT count(*) FROM (SELECT 1 FROM webhook_messages WHERE received_at < ? LIMIT ?)"

    /// One subquery, and no union of two: for that SQLite looks at every message, and not at those it names.
    static let forgetOldest = """
        DELETE FROM webhook_messages WHERE (provider, message_id) IN (
            SELECT provider, message_id FROM webhook_messages ORDER BY received_at LIMIT ?)
        """
}
