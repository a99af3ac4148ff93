import Resilience
import ServiceKit
import Storage

/// The Payment service: charges and refunds, recorded durably whatever the provider does.
public enum PaymentService {
    /// How many open charges and refunds one turn of the settler takes up.
    static let settleLimit = 64

    /// The process that runs it.
    public static let definition = ServiceDefinition(
        name: "payment", defaultPort: 3132, migrations: PaymentSchema.migrations
    ) { settings, environment in
        let allowsTestMethods = try settings.flag("PAYMENT_TEST_METHODS", default: false)
        var service = build(
            environment,
            provider: SimulatedProvider(allowsTestMethods: allowsTestMethods, sleeper: environment.sleeper))
        let earlier = EarlierPayments(environment: environment)
        service.background.append(
            PeriodicTask(
                name: "enter earlier payments", interval: .seconds(60), sleeper: environment.sleeper,
                logger: environment.logger
            ) {
                try await earlier.enterAll()
            })
        return service
    }

    package static func build(_ environment: ServiceEnvironment, provider: any PaymentProvider) -> BuiltService {
        let inFlight = InFlight()
        let charging = Charging(environment: environment, provider: provider, inFlight: inFlight)
        let refunding = Refunding(environment: environment, provider: provider, inFlight: inFlight)
        let settler = PeriodicTask(
            name: "settle open payments", interval: .seconds(2), sleeper: environment.sleeper,
            logger: environment.logger
        ) {
            try await settleOpen(environment, charging, refunding)
        }
        return BuiltService(
            routes: PaymentRoutes(environment: environment, charging: charging, refunding: refunding).catalogue(),
            background: [settler])
    }

    /// Asks the provider again about every charge and refund that has no answer yet: those of an earlier process, and
    /// those whose answer was lost. Nothing waits for its client to come back, and each has its turn.
    static func settleOpen(
        _ environment: ServiceEnvironment, _ charging: Charging, _ refunding: Refunding
    ) async throws {
        let (charges, refunds) = try await environment.store.transaction { transaction in
            let book = PaymentBook(transaction: transaction)
            let now = environment.time.now
            return (
                try book.chargesToAsk(now: now, limit: settleLimit), try book.refundsToAsk(now: now, limit: settleLimit)
            )
        }
        try await withThrowingDiscardingTaskGroup { group in
            for id in charges { group.addTask { try await charging.resume(id) } }
            for id in refunds { group.addTask { try await refunding.resume(id) } }
        }
    }
}
