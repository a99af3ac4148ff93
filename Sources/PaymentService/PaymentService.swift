import Idempotency
import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import Storage

/// The Payment service: charges and refunds, recorded durably whatever the provider does; accounts, and payments between them and
/// the outside.
public enum PaymentService {
    /// How many open charges and refunds one turn of `settleOpen` takes up.
    static let settleLimit = 64

    /// The process that runs it.
    public static let definition = ServiceDefinition(
        name: "payment", defaultPort: 3132, migrations: PaymentSchema.migrations,
        metrics: PaymentMetrics.families + ChargeMetrics.families
    ) { settings, environment in
        let allowsTestMethods = try settings.flag("PAYMENT_TEST_METHODS", default: false)
        let configuration = try PaymentsConfiguration(settings)
        let parts = Parts(
            environment,
            provider: SimulatedCard(allowsTestMethods: allowsTestMethods, sleeper: environment.sleeper),
            gateway: gateway(configuration, environment), configuration: configuration)
        try await parts.worker.disownAll()
        var service = parts.service()
        let earlier = EarlierPayments(environment: environment)
        service.background.append(
            environment.periodic("enter earlier payments", .seconds(60)) { try await earlier.enterAll() })
        service.background.append(
            environment.periodic("check the ledger", LedgerCheck.interval) { await parts.ledgerCheck.begin() })
        return service
    }

    private static func gateway(
        _ configuration: PaymentsConfiguration, _ environment: ServiceEnvironment
    ) -> HTTPProviderGateway {
        let transport = CurlTransport(userAgent: "checkout-payment/\(checkoutVersion)")
        let clients = configuration.baseURLs.map { provider, baseURL in
            let measured = MeasuredTransport(
                transport, to: provider.rawValue, at: baseURL, metrics: environment.metrics, time: environment.time,
                route: ProviderClient.route)
            let client = ProviderClient(
                baseURL: baseURL, transport: measured, attemptTimeout: configuration.providerTimeout,
                time: environment.time)
            return (provider, client)
        }
        return HTTPProviderGateway(
            Dictionary(uniqueKeysWithValues: clients), timeout: configuration.providerTimeout, time: environment.time)
    }

    /// The parts of one Payment process.
    package struct Parts: Sendable {
        let environment: ServiceEnvironment
        let configuration: PaymentsConfiguration
        let charging: Charging
        let refunding: Refunding
        package let worker: PaymentWorker
        let payments: Payments
        /// One for whoever asks, so that one check runs at a time.
        let ledgerCheck: LedgerCheck
        package let inbox: WebhookInbox

        package init(
            _ environment: ServiceEnvironment, provider: any CardProvider, gateway: any ProviderGateway,
            configuration: PaymentsConfiguration
        ) {
            let inFlight = InFlight()
            let metrics = PaymentMetrics(environment.metrics)
            let worker = PaymentWorker(environment, gateway, configuration, metrics)
            self.environment = environment
            self.configuration = configuration
            self.worker = worker
            ledgerCheck = LedgerCheck(environment)
            charging = Charging(environment: environment, provider: provider, inFlight: inFlight)
            refunding = Refunding(environment: environment, provider: provider, inFlight: inFlight)
            payments = Payments(
                environment: environment, fee: configuration.fee, metrics: metrics, wake: { worker.wake() })
            inbox = WebhookInbox(
                environment, secrets: configuration.webhookSecrets, metrics, wake: { worker.wake() })
        }

        var routes: RouteCatalogue {
            var routes = RouteCatalogue(of: description)
            ChargeRoutes(environment: environment, charging: charging, refunding: refunding).add(to: &routes)
            // Of the commands declared so far: those of checkouts.
            routes.acceptBatches(in: environment)
            WalletRoutes(environment, ledgerCheck).add(to: &routes)
            PaymentsRoutes(
                environment: environment, payments: payments, inbox: inbox,
                earliest: { [worker] in worker.earliestAsking($0) }
            ).add(to: &routes)
            PaymentAudit(environment: environment, ledgerCheck: ledgerCheck).add(to: &routes)
            return routes
        }

        /// What `POST /payments/{id}/refund` does. - Throws: `Problem`, or `StoreError`.
        package func refund(
            payment id: String, _ command: Command, key: IdempotencyKey
        ) async throws -> CommandReply {
            try await payments.refund(id, by: Caller(command), key: key) { currency in
                try PaymentRefundRequest(json: command.body, currency)
            }
        }

        /// What `POST /payments/{id}/cancel` does. - Throws: `Problem`, or `StoreError`.
        package func cancel(payment id: String, _ command: Command) async throws -> CommandReply {
            .made(try await payments.cancel(id, caller: command.user).json())
        }

        /// Makes a payment anew that was given up, or lets it be if it cannot be made any more; as an operator does.
        /// - Throws: `StoreError`.
        package func resolve(deadLetter id: String) async throws {
            func command(_ action: DeadLetterAction) async throws -> OperatorCommand {
                let plan = try await environment.store.transaction { try DeadLetterPlan(action, of: id, in: $0) }
                return OperatorCommand(name: "operator", reason: "it was given up", plan: plan.id)
            }
            do {
                _ = try await payments.retry(deadLetter: id, try await command(.retry))
            } catch is Problem {
                try await payments.discard(deadLetter: id, try await command(.discard))
            }
        }

        /// For operators, on a port of their own.
        var operatorRoutes: RouteCatalogue {
            var routes = ChargeDesk(environment: environment, charging: charging, refunding: refunding).catalogue()
            DeadLetterDesk(environment: environment, payments: payments).add(to: &routes)
            PaymentDesk(
                environment: environment, payments: payments, wake: { [worker] in worker.wake() },
                openFor: { [worker] in worker.breakers[$0]?.openFor }
            ).add(to: &routes)
            return routes
        }

        package func service() -> BuiltService {
            let charges = ChargeMetrics(environment.metrics)
            return BuiltService(
                routes: routes,
                operatorRoutes: operatorRoutes,
                background: [
                    environment.periodic("settle open charges", .seconds(2)) { [environment, charging, refunding] in
                        try await settleOpen(environment, charging, refunding)
                    },
                    // Services are stopped from the last to the first: leases are renewed for as long as anything is taken up.
                    environment.periodic("payment lease renewal", configuration.lease / 3) { [worker] in
                        try await worker.renewLeases()
                    },
                    environment.periodic("forget webhooks", .seconds(600)) { [inbox] in try await inbox.sweep() },
                    environment.periodic("payment worker", configuration.pollInterval) { [worker] in
                        try await worker.fill()
                    },
                ],
                handOver: { [worker] in await worker.stop() },
                measure: { [worker, environment] in
                    try await worker.measure()
                    try await measure(charges, environment)
                })
        }
    }

    /// What the OpenAPI document says of the service.
    private static let description = APIDescription(
        name: "payment", title: "Payment", port: 3132,
        """
        Charges and refunds, users' accounts, and the ledger under them. A checkout charges by itself; use it directly to charge \
        for something else, to give money back of a completed order, or to put money into an account that checkouts are paid from.
        """)

    private static func measure(_ metrics: ChargeMetrics, _ environment: ServiceEnvironment) async throws {
        let (charges, refunds) = try await environment.store.transaction { transaction in
            let book = ChargeBook(transaction: transaction)
            return (try book.openCharges(), try book.openRefunds())
        }
        metrics.set(charges: charges, refunds: refunds, at: environment.time.now)
    }

    /// Asks the provider again about every charge and refund that has no answer yet: those of an earlier process, and
    /// those whose answer was lost. Nothing waits for its client to come back, and each has its turn.
    static func settleOpen(
        _ environment: ServiceEnvironment, _ charging: Charging, _ refunding: Refunding
    ) async throws {
        let (charges, refunds) = try await environment.store.transaction { transaction in
            let book = ChargeBook(transaction: transaction)
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

extension ProviderClient {
    /// The template of a path, for metrics: no reference is a label.
    fileprivate static func route(_ path: String) -> String {
        var parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        if parts.count > 3 { parts[3] = "{reference}" }
        return parts.joined(separator: "/")
    }
}
