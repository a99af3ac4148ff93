import CoreMetrics
import Logging
import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import Storage

/// A payment processor without a bank behind it, for trials and tests: it answers, fails, hesitates and sends messages like a real one,
/// and keeps its promises when it is killed. Both providers live in it, each with books of its own.
public enum MockProvider {
    /// How often messages and pending payments are looked after.
    static let interval = Duration.milliseconds(100)
    /// How many pending payments are settled in one transaction.
    static let settleLimit = 64

    /// The process that runs it.
    public static let definition = ServiceDefinition(
        name: "mock-provider", defaultPort: 3134, migrations: ProviderSchema.migrations,
        metrics: WebhookMetrics.families
    ) { settings, environment in
        let configuration = try MockProviderConfiguration(settings)
        for provider in Provider.allCases where configuration.targets[provider] == nil {
            environment.logger.warning(
                "no webhooks are sent, since there is no secret to sign them with",
                metadata: ["setting": .string("\(provider.rawValue.uppercased())_WEBHOOK_SECRET")])
        }
        return build(
            environment, configuration, transport: CurlTransport(userAgent: "mock-provider/\(checkoutVersion)"))
    }

    static func build(
        _ environment: ServiceEnvironment, _ configuration: MockProviderConfiguration, transport: any Transport
    ) -> BuiltService {
        let outbox = WebhookOutbox(
            configuration: configuration, identifiers: environment.identifiers,
            metrics: WebhookMetrics(environment.metrics), logger: environment.logger)
        let sender = WebhookSender(environment: environment, outbox: outbox, transport: transport)
        return BuiltService(
            routes: MockProviderRoutes(environment: environment, configuration: configuration, outbox: outbox)
                .catalogue(),
            background: [
                environment.periodic("deliver webhooks", interval) { try await sender.deliverDue() },
                environment.periodic("settle pending payments", interval) { try await settleDue(environment, outbox) },
            ],
            measure: {
                let count = try await environment.store.transaction { transaction in
                    try WebhookOutbox.count(upTo: configuration.maximumQueued, in: transaction)
                }
                outbox.metrics.queueLength.set(count)
            })
    }

    private static func settleDue(_ environment: ServiceEnvironment, _ outbox: WebhookOutbox) async throws {
        var count = settleLimit
        while count == settleLimit {
            let now = environment.time.now
            count = try await environment.store.transaction { transaction in
                try ProviderBooks.settleDue(now: now, limit: settleLimit, in: transaction, outbox)
            }
        }
    }
}
