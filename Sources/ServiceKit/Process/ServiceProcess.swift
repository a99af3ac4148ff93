import CoreMetrics
import Correlation
import Dispatch
import Foundation
import Hummingbird
import HummingbirdCore
import Idempotency
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import OTLP
import Prometheus
import Resilience
import ServiceLifecycle
import Storage
import Synchronization

/// How a process ends (OP-08).
public enum ExitCode: Int32, Sendable {
    case success = 0
    case cannotBind = 69
    case internalError = 70
    case configuration = 78
}

/// Runs one service from its settings to its exit code.
public struct ServiceProcess: Sendable {
    /// An idle connection lives longer than nginx keeps one to a service (15 s), so that nginx never sends on one that is
    /// just being closed (NX-03).
    static let idleConnectionTimeout = TimeAmount.seconds(75)
    /// How long a request may take to arrive (HT-16).
    static let requestReadTimeout = TimeAmount.seconds(10)
    /// How long a process that has to end waits for its last transactions.
    static let handOverTimeout = Duration.seconds(1)
    /// Heads larger than this are refused.
    static let maximumHeadBytes = 32 * 1024

    private let definition: ServiceDefinition
    private let settings: Settings

    /// A process for a service.
    public init(_ definition: ServiceDefinition, settings: Settings) {
        self.definition = definition
        self.settings = settings
    }

    /// Runs the service until it is told to stop, and ends the process.
    public func run() async -> Never {
        // What a service keeps is nobody else's: customers' keys, which are as good as passwords.
        umask(0o077)
        let startLogger = Logger(label: definition.name) { _ in JSONLogHandler(service: definition.name, level: .info) }
        var exitCode = ExitCode.success
        do {
            let configuration = try ServiceConfiguration(
                settings, defaultPort: definition.defaultPort, name: definition.name)
            try await serve(configuration)
        } catch let error as ConfigurationError {
            startLogger.critical(
                "bad configuration", metadata: ["setting": .string(error.name), "error": .string("\(error)")])
            exitCode = .configuration
        } catch let error as DataDirectoryError {
            startLogger.critical(
                "data directory not usable", metadata: ["setting": "DATA_DIR", "error": .string("\(error)")])
            exitCode = .configuration
        } catch StoreError.foreign(let reason) {
            startLogger.critical(
                "data directory not usable", metadata: ["setting": "DATA_DIR", "error": .string(reason)])
            exitCode = .configuration
        } catch let error as CannotListen {
            startLogger.critical(
                "cannot listen", metadata: ["address": .string(error.address), "error": .string("\(error.cause)")])
            exitCode = .cannotBind
        } catch let error as StoreError {
            startLogger.critical("the store cannot be used; stopping", metadata: ["error": .string("\(error)")])
            exitCode = .internalError
        } catch {
            startLogger.critical("the service failed", metadata: ["error": .string("\(error)")])
            exitCode = .internalError
        }
        exit(exitCode.rawValue)
    }

    private func serve(_ configuration: ServiceConfiguration) async throws {
        let level = Logger.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        let logger = Logger(label: definition.name) { _ in JSONLogHandler(service: definition.name, level: level) }
        // The libraries' own lines about every connection and service are noise below a warning.
        let libraryLogger = Logger(label: definition.name) { _ in
            JSONLogHandler(service: definition.name, level: max(level, .warning))
        }

        let lock =
            try configuration.backend == .file
            ? DataDirectoryLock(
                directory: configuration.dataDirectory, service: definition.name,
                mustExist: configuration.storeMustExist) : nil
        if lock == nil, DataDirectoryLock.hasStore(in: configuration.dataDirectory, of: definition.name) {
            throw ConfigurationError(
                "IDEMPOTENCY_BACKEND",
                "is memory, but in \(configuration.dataDirectory) there is a store: all that is in it would be unknown, and every key new"
            )
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let executor = EventLoopTaskExecutor(loop)
        LogOutput.standard.gather(on: loop)
        let store = try SQLiteStore(
            path: lock?.databasePath,
            migrations: definition.allMigrations,
            loop: loop,
            isExpected: lock?.storeIsExpected ?? false,
            onOpen: { try lock?.noteFile() },
            onFatal: { error in
                let isDamaged = if case .fatal(_, isDamaged: true) = error { true } else { false }
                logger.critical(
                    isDamaged
                        ? "the store on the disk is damaged; stopping, because nothing that it says can be trusted"
                        : "the disk failed; stopping, because only a restart can tell what it holds",
                    metadata: [
                        "error": .string("\(error)"), "data_directory": .string(configuration.dataDirectory),
                    ])
                LogOutput.standard.end()
                exit(ExitCode.internalError.rawValue)
            }
        )
        tell(store.schema, hadStore: lock?.storeIsExpected ?? false, logger)
        try lock?.noteStore()
        let keys: any IdempotencyStore
        switch configuration.backend {
        case .file: keys = SQLIdempotencyStore(timeToLive: configuration.keyTimeToLive)
        case .memory:
            keys = MemoryIdempotencyStore(timeToLive: configuration.keyTimeToLive)
            logger.warning(
                "everything is kept in memory and forgotten on exit", metadata: ["setting": "IDEMPOTENCY_BACKEND"])
        }
        let registry = PrometheusRegistry(ServiceMetrics.families + definition.metrics)
        MetricsSystem.bootstrap(registry)
        let exporter = configuration.tracing.map {
            SpanExporter($0, of: definition.name, metrics: registry, logger: logger)
        }
        let traces = exporter?.traces
        let measured = MeasuredStore(store, metrics: registry, time: SystemTime())
        let environment = ServiceEnvironment(
            store: traces.map { TracedStore(measured, traces: $0) } ?? measured, storePath: lock?.databasePath,
            keys: MeasuredIdempotencyStore(keys, metrics: registry), logger: logger, executor: executor,
            registry: registry, traces: traces)
        let service = try await definition.build(settings, environment)
        let handOver: @Sendable () async -> Void = {
            do {
                try await service.handOver()
            } catch {
                logger.warning(
                    "what is unfinished could not be handed over; it is taken up when its time has come",
                    metadata: ["error": .string("\(error)")])
            }
        }
        let drain = DrainState(onDrain: { leaveRest(after: configuration.shutdownTimeout, handOver, logger) })
        let server = server(
            service.router(environment: environment, drain: drain), configuration.host, configuration.port,
            most: ConnectionLimit.forClients(), isReady: "ready", on: group, executor, logger, libraryLogger)
        let operators = service.operatorRouter(environment: environment, drain: drain).map { router in
            self.server(
                router, configuration.operatorHost, configuration.operatorPort, most: ConnectionLimit.operators,
                isReady: "ready for operators", on: group, executor, logger, libraryLogger)
        }
        // Stopped from the last to the first: spans are sent when nobody makes any more.
        var services: [any Service] = exporter.map { [$0] } ?? []
        services += service.background + [keySweeper(environment)] + watch(lock, logger)
        services += operators.map { [$0] } ?? []
        services += [server, drain]
        let serviceGroup = ServiceGroup(services: services, logger: libraryLogger)
        StopSignals.watch(within: configuration.shutdownTimeout + Self.handOverTimeout, logger) {
            await serviceGroup.triggerGracefulShutdown()
        }
        try await withTaskExecutorPreference(executor) { try await serviceGroup.run() }
        await handOver()
        logger.info("stopped")
        try store.close()
        withExtendedLifetime(lock) {}
    }

    /// What nobody can go back from is in the log: an older version may not be able to work on the store any more.
    private func tell(_ schema: SQLiteStore.SchemaChange, hadStore: Bool, _ logger: Logger) {
        if hadStore {
            for step in schema.steps {
                logger.notice("the store's schema is of a newer step", metadata: ["step": .string(step)])
            }
        }
        if !schema.unknown.isEmpty {
            logger.warning(
                "the store was written by a newer version; whether this one can work on it is not known",
                metadata: ["steps": .string(schema.unknown.joined(separator: ", "))])
        }
    }

    private func server(
        _ router: Router<ServiceContext>, _ host: String, _ port: Int, most: Int, isReady: Logger.Message,
        on group: any EventLoopGroup, _ executor: any TaskExecutor, _ logger: Logger, _ libraryLogger: Logger
    ) -> any Service {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = Self.maximumHeadBytes
        limits.maxHeaderListSize = Self.maximumHeadBytes
        limits.maxHeaderFieldCount = 100
        let connections = WholeRequestChannel(
            respond: responder(router, libraryLogger), executor: executor, idleTimeout: Self.idleConnectionTimeout,
            readTimeout: Self.requestReadTimeout, limits: limits)
        let server = connections.server(
            configuration: .init(
                address: .hostname(host, port: port), backlog: 1024,
                availableConnectionsDelegate: ConnectionLimit(most, logger)),
            onServerRunning: { channel in
                logger.info(isReady, metadata: ["address": .string("\(channel.localAddress?.description ?? "?")")])
            },
            eventLoopGroup: group,
            logger: libraryLogger
        )
        return Listener(server: server, address: "\(host):\(port)")
    }

    /// Answers requests by a router.
    private func responder(
        _ router: Router<ServiceContext>, _ logger: Logger
    ) -> WholeRequestHandler.Responder {
        let responder = router.buildResponder()
        let date = DateHeader(SystemTime())
        return { request, body, channel in
            var response: Response
            do {
                var context = ServiceContext(source: .init(channel: channel, logger: logger))
                context.take(body: body)
                response = try await responder.respond(to: request, context: context)
            } catch {
                // The envelope answers whatever is thrown; this is for its own faults.
                logger.error("a request was not answered", metadata: ["error": .string("\(error)")])
                response = Response(status: .internalServerError)
            }
            response.headers[.date] = date.value
            return response
        }
    }

    /// Forgets keys whose time is over, in steps between which requests are served.
    private func keySweeper(_ environment: ServiceEnvironment) -> PeriodicTask {
        environment.periodic("key sweep", .seconds(10)) {
            try await environment.stepByStep {
                let deleted = try await environment.store.transaction { transaction in
                    try environment.keys.forgetExpired(
                        now: environment.time.now, limit: Self.sweepLimit, in: transaction)
                }
                return deleted == Self.sweepLimit
            }
        }
    }

    private static let sweepLimit = 200

    /// Ends the process soon after its database was removed or replaced under it: what it would go on to acknowledge would be
    /// lost, and another process could begin on the new file (hazard 51).
    private func watch(_ lock: DataDirectoryLock?, _ logger: Logger) -> [any Service] {
        guard let lock else { return [] }
        let task = PeriodicTask(
            name: "data directory watch", interval: .seconds(1), sleeper: ClockSleeper(), logger: logger
        ) {
            guard !lock.isInPlace else { return }
            logger.critical(
                "the database, or its log, was removed or replaced while it was in use; stopping",
                metadata: ["path": .string(lock.databasePath)])
            LogOutput.standard.end()
            exit(ExitCode.internalError.rawValue)
        }
        return [task]
    }

    /// What is still in flight when the time for stopping is over is left to the next start: ending now is no worse than a
    /// crash, which every part is made for (OP-07).
    private func leaveRest(after timeout: Duration, _ handOver: @escaping @Sendable () async -> Void, _ logger: Logger)
    {
        Task.detached {
            try? await Task.sleep(for: timeout)
            logger.warning("stopped with requests in flight; the next start takes them up")
            Task.detached {
                await handOver()
                exit(ExitCode.success.rawValue)
            }
            // A store that hangs does not keep the process from its end.
            try? await Task.sleep(for: Self.handOverTimeout)
            exit(ExitCode.success.rawValue)
        }
    }
}
