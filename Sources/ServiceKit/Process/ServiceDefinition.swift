import Hummingbird
import Idempotency
import Logging
import Prometheus
import ServiceLifecycle
import Storage

/// What distinguishes one service from another, as far as its process is concerned.
public struct ServiceDefinition: Sendable {
    /// For example `order`: names files and log lines.
    public let name: String
    /// The port without a setting.
    public let defaultPort: Int
    /// The tables of the service.
    public let migrations: [Migration]
    /// The metrics that it has besides those of every service.
    public let metrics: [MetricFamily]
    /// Makes the service from its environment. - Throws: `ConfigurationError`, or what stops it from starting.
    public let build: @Sendable (Settings, ServiceEnvironment) async throws -> BuiltService

    /// Those, and before them the tables that every service has.
    public var allMigrations: [Migration] { Self.sharedMigrations + migrations }
    /// The tables that every service has.
    package static var sharedMigrations: [Migration] { SQLIdempotencyStore.migrations + [HealthCheck.migration] }

    /// A definition.
    public init(
        name: String,
        defaultPort: Int,
        migrations: [Migration],
        metrics: [MetricFamily] = [],
        build: @escaping @Sendable (Settings, ServiceEnvironment) async throws -> BuiltService
    ) {
        self.name = name
        self.defaultPort = defaultPort
        self.migrations = migrations
        self.metrics = metrics
        self.build = build
    }
}

/// A service ready to run.
public struct BuiltService: Sendable {
    /// What it answers.
    public let routes: RouteCatalogue
    /// What it answers to operators, on a port of their own.
    public let operatorRoutes: RouteCatalogue?
    /// What it depends on besides its store.
    public let checks: [HealthCheck]
    /// What it does by itself, for example recovery.
    public var background: [any Service]
    /// Leaves to the next process what this one has not finished. Called when everything else has been stopped, or when the
    /// time for that is over, while the store is still open.
    public let handOver: @Sendable () async throws -> Void

    /// Sets the metrics that are read only when somebody asks for them. Bounded, since it runs with every scrape.
    public let measure: @Sendable () async throws -> Void

    /// A service. - Parameter background: stopped from the last to the first, after the server.
    public init(
        routes: RouteCatalogue, operatorRoutes: RouteCatalogue? = nil, checks: [HealthCheck] = [],
        background: [any Service] = [],
        handOver: @escaping @Sendable () async throws -> Void = {},
        measure: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.routes = routes
        self.operatorRoutes = operatorRoutes
        self.checks = checks
        self.background = background
        self.handOver = handOver
        self.measure = measure
    }

    /// The service's own routes and those that every service has.
    package func allRoutes(environment: ServiceEnvironment, drain: DrainState) -> RouteCatalogue {
        var routes = routes
        let storeCheck = HealthCheck.store(environment.store, time: environment.time)
        HealthRoutes(checks: [storeCheck] + checks, drain: drain, version: checkoutVersion).add(to: &routes)
        if let registry = environment.registry {
            MetricsRoute(
                registry: registry, storePath: environment.storePath, measure: measure, logger: environment.logger
            ).add(to: &routes)
        }
        if let service = routes.service { DocumentRoutes(routes, of: service).add(to: &routes) }
        return routes
    }

    /// The router that serves them all behind the common envelope.
    public func router(
        environment: ServiceEnvironment, drain: DrainState = DrainState()
    ) -> Router<ServiceContext> {
        Self.router(
            of: allRoutes(environment: environment, drain: drain), environment: environment, drain: drain)
    }

    static func router(
        of routes: RouteCatalogue, environment: ServiceEnvironment, drain: DrainState
    ) -> Router<ServiceContext> {
        let router = Router(context: ServiceContext.self, options: .autoGenerateHeadEndpoints)
        router.add(
            middleware: EnvelopeMiddleware(
                routes: routes, drain: drain, time: environment.time,
                logs: RequestLogs(environment.logger, metrics: environment.registry.map { RequestMetrics($0) }),
                traces: environment.traces))
        for route in routes.routes {
            router.on(RouterPath(route.path), method: route.method, use: route.handle)
        }
        return router
    }
}

/// The version of every part of the checkout, as `--version` and health show it.
public let checkoutVersion = "0.1.0"
