import CoreMetrics
import Money
import Prometheus
import ProviderAPI
import Resilience

/// What is measured of payments through providers. All series are made at the start, so that counting takes no lock.
final class PaymentMetrics: Sendable {
    static let families = [
        MetricFamily(
            "payments_total", .counter,
            "Payments and refunds through providers that have reached a status, by type and status."),
        MetricFamily(
            "payment_provider_calls_total", .counter,
            "Calls of the worker to providers, by provider, call and what came back."),
        MetricFamily("payment_dead_letters", .gauge, "Payments that were given up and that nobody has resolved."),
        MetricFamily("payments_open", .gauge, "Payments and refunds whose end is still to come, by provider."),
        MetricFamily(
            "payments_oldest_due_seconds", .gauge,
            "For how long the payment has been due that has waited longest, by provider."),
        MetricFamily(
            "payments_oldest_open_seconds", .gauge,
            "For how long the oldest payment has had no end, however often it was asked about, by provider."),
        MetricFamily("payment_webhooks_total", .counter, "Messages of providers, by provider and what was done."),
        MetricFamily(
            "ledger_balanced", .gauge,
            "1 when the last check found the ledger in balance, else 0; nothing before the first."),
        MetricFamily("circuit_breaker_state", .gauge, "0 closed, 1 half open, 2 open."),
    ]

    /// What became of a message.
    enum Webhook: String, CaseIterable { case accepted, repeated, ignored, refused, contradicted }

    private static let statuses: [Payment.Status] = [.new, .succeeded, .failed, .canceled]
    private static let calls = ["pay", "payment", "cancel", "refund", "refund_status"]
    private static let replies = [
        "succeeded", "pending", "declined", "canceled", "not_found", "refused", "throttled", "not_sent", "unknown",
        "contradicted",
    ]

    private let payments: [[String]: Counter]
    private let providerCalls: [[String]: Counter]
    private let webhooks: [[String]: Counter]
    private let deadLetters: Meter
    private let open: [Provider: Meter]
    private let oldestDue: [Provider: Meter]
    private let oldestOpen: [Provider: Meter]
    private let breakers: [Provider: Meter]

    init(_ factory: any MetricsFactory) {
        func counters(_ name: String, _ labels: [String], _ values: [[String]]) -> [[String]: Counter] {
            Dictionary(
                uniqueKeysWithValues: values.map { value in
                    (value, Counter(label: name, dimensions: Array(zip(labels, value)), factory: factory))
                })
        }
        func meters(_ name: String, _ label: String = "provider") -> [Provider: Meter] {
            Dictionary(
                uniqueKeysWithValues: Provider.allCases.map {
                    ($0, Meter(label: name, dimensions: [(label, $0.rawValue)], factory: factory))
                })
        }
        payments = counters(
            "payments_total", ["type", "status"],
            Payment.Kind.allCases.flatMap { kind in Self.statuses.map { [kind.rawValue, $0.rawValue] } })
        let names = Provider.allCases.map(\.rawValue)
        providerCalls = counters(
            "payment_provider_calls_total", ["provider", "call", "answer"],
            names.flatMap { name in Self.calls.flatMap { call in Self.replies.map { [name, call, $0] } } })
        webhooks = counters(
            "payment_webhooks_total", ["provider", "result"],
            names.flatMap { name in Webhook.allCases.map { [name, $0.rawValue] } })
        deadLetters = Meter(label: "payment_dead_letters", factory: factory)
        open = meters("payments_open")
        oldestDue = meters("payments_oldest_due_seconds")
        oldestOpen = meters("payments_oldest_open_seconds")
        breakers = meters("circuit_breaker_state", "target")
    }

    /// A payment has reached a status, durably.
    func count(_ payment: Payment, _ status: Payment.Status) {
        payments[[payment.kind.rawValue, status.rawValue]]?.increment()
    }

    /// A provider was asked.
    func asked(_ provider: Provider, _ call: ProviderCall, _ reply: ProviderReply) {
        providerCalls[[provider.rawValue, call.name, reply.name]]?.increment()
    }

    /// A message has come.
    func received(_ provider: Provider, _ result: Webhook) {
        webhooks[[provider.rawValue, result.rawValue]]?.increment()
    }

    // MARK: - With every scrape

    func set(deadLetters count: Int64) { deadLetters.set(count) }

    func set(_ provider: Provider, _ backlog: Backlog) {
        open[provider]?.set(backlog.count)
        oldestDue[provider]?.set(backlog.oldestDue.inSeconds)
        oldestOpen[provider]?.set(backlog.oldestOpen.inSeconds)
    }

    func set(_ provider: Provider, breaker state: CircuitBreaker.State) {
        let number =
            switch state {
            case .closed: 0
            case .halfOpen: 1
            case .open: 2
            }
        breakers[provider]?.set(number)
    }
}
