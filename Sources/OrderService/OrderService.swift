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
        name: "order", defaultPort: 3131, migrations: OrderSchema.migrations
    ) { settings, environment in
        let configuration = try OrderConfiguration(settings)
        let transport = CurlTransport(userAgent: "checkout-order/\(checkoutVersion)")
        func caller(_ baseURL: String, _ refusalCodes: Set<String>) -> ServiceCaller {
            let single = SingleCalls(
                baseURL: baseURL, transport: transport, attemptTimeout: configuration.gatewayTimeout,
                time: environment.time)
            return ServiceCaller(
                carrier: BatchedCalls(single: single, executor: environment.executor), refusalCodes: refusalCodes)
        }
        let stock = HTTPStockClient(caller: caller(configuration.stockBaseURL, HTTPStockClient.refusalCodes))
        let payment = HTTPPaymentClient(caller: caller(configuration.paymentBaseURL, HTTPPaymentClient.refusalCodes))
        return build(
            environment, stock: stock, payment: payment, configuration: configuration,
            checks: [
                dependency("stock", configuration.stockBaseURL, transport),
                dependency("payment", configuration.paymentBaseURL, transport),
            ])
    }

    static func build(
        _ environment: ServiceEnvironment, stock: any StockClient, payment: any PaymentClient,
        configuration: OrderConfiguration, checks: [HealthCheck] = []
    ) -> BuiltService {
        let log = SagaLog(environment)
        let runner = SagaRunner(
            environment: environment, stock: stock, payment: payment, configuration: configuration)
        let routes = OrderRoutes(
            environment: environment, log: log, runner: runner, checkoutTimeout: configuration.checkoutTimeout)
        let recovery = Recovery(
            environment: environment, log: log, runner: runner, checkoutTimeout: configuration.checkoutTimeout)
        return BuiltService(routes: routes.catalogue(), checks: checks, background: [recovery])
    }

    /// Whether another service is ready. Order can be reached and keeps its promises without it: degraded, not unhealthy.
    private static func dependency(_ name: String, _ baseURL: String, _ transport: any Transport) -> HealthCheck {
        HealthCheck(name: name, isEssential: false) {
            let request = ServiceRequest(
                method: "GET", url: "\(baseURL)/health/ready", headers: [], body: [], timeout: healthTimeout)
            let response = try? await transport.send(request)
            return response?.status == 200
        }
    }
}
