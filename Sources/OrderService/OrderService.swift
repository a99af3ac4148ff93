import PaymentAPI
import Resilience
import ServiceClient
import ServiceKit
import StockAPI

/// The Order service: takes checkouts and sees each of them through to one outcome.
public enum OrderService {
    /// How long a health check waits for another service.
    static let healthTimeout = Duration.seconds(1)

    /// The process that runs it.
    public static let definition = ServiceDefinition(
        name: "order", defaultPort: 3131, migrations: OrderSchema.migrations, metrics: SagaMetrics.families
    ) { settings, environment in
        let configuration = try OrderConfiguration(settings)
        let transport = CurlTransport(userAgent: "checkout-order/\(checkoutVersion)")
        func caller(_ target: String, _ baseURL: String, _ refusalCodes: Set<String>) -> ServiceCaller {
            let single = SingleCalls(
                baseURL: baseURL,
                transport: MeasuredTransport(
                    transport, to: target, at: baseURL, metrics: environment.metrics, time: environment.time),
                attemptTimeout: configuration.gatewayTimeout,
                time: environment.time, traces: environment.traces)
            let calls = BatchedCalls(single: single, executor: environment.executor)
            let traced = environment.traces.map { TracedCalls(calls, of: target, at: baseURL, traces: $0) }
            return ServiceCaller(carrier: traced ?? calls, refusalCodes: refusalCodes)
        }
        let stock = HTTPStockClient(caller: caller("stock", configuration.stockBaseURL, HTTPStockClient.refusalCodes))
        let payment = HTTPPaymentClient(
            caller: caller("payment", configuration.paymentBaseURL, HTTPPaymentClient.refusalCodes))
        let parts = Parts(environment, stock: stock, payment: payment, configuration: configuration)
        try await parts.recovery.disownAll()
        let dependencies = [
            ("stock", configuration.stockBaseURL, parts.caller.stockBreaker),
            ("payment", configuration.paymentBaseURL, parts.caller.paymentBreaker),
        ]
        var service = parts.service(checks: dependencies.map { dependency($0, $1, transport, $2) })
        for (name, baseURL, breaker) in dependencies {
            let probe = BreakerProbe(breaker) { await isReady(baseURL, transport) }
            service.background.append(
                environment.periodic("probe of \(name)", BreakerProbe.interval) { await probe.look() })
        }
        return service
    }

    /// The parts of one Order process.
    package struct Parts: Sendable {
        let environment: ServiceEnvironment
        let configuration: OrderConfiguration
        let log: SagaLog
        let caller: SagaCaller
        let runner: SagaRunner
        package let recovery: Recovery
        let orphanNet: OrphanNet

        /// - Parameters:
        ///   - decide: what a saga does about an event; another than its own plants a mistake.
        ///   - decideOnKey: what a used key answers; the same.
        package init(
            _ environment: ServiceEnvironment, stock: any StockClient, payment: any PaymentClient,
            configuration: OrderConfiguration, decide: @escaping SagaDecision = { $0.apply($1) },
            decideOnKey: @escaping KeyDecision = { $0.claim }
        ) {
            func retry(_ schedule: BackoffSchedule) -> RetryWithBackoff {
                RetryWithBackoff(schedule: schedule, sleeper: environment.sleeper, time: environment.time)
            }
            self.environment = environment
            self.configuration = configuration
            log = SagaLog(environment, leaseDuration: configuration.leaseDuration, decide: decideOnKey)
            caller = SagaCaller(
                stock: stock, payment: payment,
                stockBreaker: CircuitBreaker(configuration.breaker, time: environment.time),
                paymentBreaker: CircuitBreaker(configuration.breaker, time: environment.time),
                retry: retry(configuration.backoff), once: retry(configuration.backoff.single),
                time: environment.time, logger: environment.logger,
                leastTimeForCharge: configuration.leastTimeForCharge, metrics: SagaMetrics(environment.metrics),
                traces: environment.traces)
            runner = SagaRunner(
                environment: environment, log: log, caller: caller, configuration: configuration, decide: decide)
            recovery = Recovery(environment, log: log, runner: runner, configuration: configuration)
            orphanNet = OrphanNet(environment, log: log, runner: runner, configuration: configuration)
        }

        package func service(checks: [HealthCheck] = []) -> BuiltService {
            let routes = OrderRoutes(environment: environment, log: log, runner: runner, configuration: configuration)
            let desk = SagaDesk(log: log, logger: environment.logger)
            return BuiltService(
                routes: routes.catalogue(), operatorRoutes: SagaRoutes(desk: desk).catalogue(),
                checks: checks,
                background: [
                    // Services are stopped from the last to the first, each when the one after it has ended: leases are
                    // renewed for as long as anybody drives a saga.
                    environment.periodic("lease renewal", configuration.leaseDuration / 3) { [recovery] in
                        try await recovery.renewLeases()
                    },
                    environment.periodic("recovery", recoveryInterval, overlaps: true) { [recovery] in
                        await recovery.takeUpDue()
                    },
                    environment.periodic("waiting sagas", recoveryInterval) { [recovery] in
                        try await recovery.makeWaitingDue()
                    },
                    environment.periodic("orphaned sagas", configuration.leaseDuration) { [orphanNet] in
                        try await orphanNet.takeUp()
                    },
                ],
                handOver: { [recovery] in try await recovery.handOver() },
                measure: { [log, caller] in
                    caller.metrics.set(breaker: caller.stockBreaker.current, of: "stock")
                    caller.metrics.set(breaker: caller.paymentBreaker.current, of: "payment")
                    caller.metrics.set(waiting: try await log.countWaiting())
                })
        }
    }

    /// How often unfinished sagas are looked for.
    static let recoveryInterval = Duration.milliseconds(500)

    /// Whether another service is ready. Order can be reached and keeps its promises without it: degraded, not unhealthy.
    private static func dependency(
        _ name: String, _ baseURL: String, _ transport: any Transport, _ breaker: CircuitBreaker
    ) -> HealthCheck {
        HealthCheck(name: name, isEssential: false, details: { ["breaker": breaker.current.rawValue] }) {
            await isReady(baseURL, transport)
        }
    }

    private static func isReady(_ baseURL: String, _ transport: any Transport) async -> Bool {
        let request = ServiceRequest(
            method: "GET", url: "\(baseURL)/health/ready", headers: [], body: [], timeout: healthTimeout)
        let response = try? await transport.send(request)
        return response?.status == 200
    }
}
