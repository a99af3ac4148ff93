import CoreMetrics
import Logging
import Prometheus
import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import Storage

/// Delivers messages, signed, each until its receiver has taken it or the attempts are used up.
struct WebhookSender: Sendable {
    /// How many messages are on their way at once.
    static let concurrency = 16

    let environment: ServiceEnvironment
    let outbox: WebhookOutbox
    let transport: any Transport

    /// Delivers what is due now, and returns when nothing more is.
    func deliverDue() async throws {
        var count = Self.concurrency
        while count == Self.concurrency {
            let now = environment.time.now
            let messages = try await environment.store.transaction { [outbox] transaction in
                try outbox.due(now, limit: Self.concurrency, in: transaction)
            }
            try await withThrowingDiscardingTaskGroup { group in
                for message in messages { group.addTask { try await deliver(message) } }
            }
            count = messages.count
        }
    }

    private func deliver(_ message: WebhookOutbox.Message) async throws {
        let trouble = await send(message)
        let now = environment.time.now
        guard let trouble else {
            outbox.metrics.delivered.increment()
            return try await environment.store.transaction { [outbox] transaction in
                try outbox.noteDelivery(of: message, now, in: transaction)
            }
        }
        outbox.metrics.failed.increment()
        let wasLast = try await environment.store.transaction { [outbox] transaction in
            try outbox.noteFailure(of: message, now, in: transaction)
        }
        guard wasLast else { return }
        outbox.metrics.dropped.increment()
        environment.logger.warning(
            "a webhook was given up after its last attempt",
            metadata: [
                "provider": .string(message.provider.rawValue), "message_id": .string(message.id),
                "attempts": .stringConvertible(message.attempts + 1), "error": .string(trouble),
            ])
    }

    /// One attempt. - Returns: why it failed, or nil.
    private func send(_ message: WebhookOutbox.Message) async -> String? {
        // A target that was configured when the message was made, and is not any more.
        guard let target = outbox.configuration.targets[message.provider] else { return "no secret is configured" }
        let seconds = environment.time.now.milliseconds / 1000
        let signature = WebhookSignature(target.secrets, time: environment.time)
            .sign(id: message.id, timestamp: seconds, body: message.body)
        let request = ServiceRequest(
            method: "POST", url: target.url,
            headers: [
                .init("Content-Type", "application/json"), .init(WebhookSignature.Header.id, message.id),
                .init(WebhookSignature.Header.timestamp, String(seconds)),
                .init(WebhookSignature.Header.signature, signature),
            ], body: message.body, timeout: outbox.configuration.deliveryTimeout)
        do {
            let response = try await transport.send(request)
            return (200..<300).contains(response.status) ? nil : "it answered \(response.status)"
        } catch {
            return "\(error)"
        }
    }
}

/// What is measured of the messages.
struct WebhookMetrics: Sendable {
    static let families = [
        MetricFamily(
            "webhook_deliveries_total", .counter,
            "Attempts to deliver a webhook, by outcome: delivered or failed; dropped are those that nobody will get any more."
        ),
        MetricFamily("webhook_queue_length", .gauge, "Webhooks that wait to be delivered."),
    ]

    let delivered: Counter
    let failed: Counter
    let dropped: Counter
    let queueLength: Meter

    init(_ factory: any MetricsFactory) {
        func counter(_ outcome: String) -> Counter {
            Counter(label: "webhook_deliveries_total", dimensions: [("outcome", outcome)], factory: factory)
        }
        delivered = counter("delivered")
        failed = counter("failed")
        dropped = counter("dropped")
        queueLength = Meter(label: "webhook_queue_length", dimensions: [], factory: factory)
    }
}
