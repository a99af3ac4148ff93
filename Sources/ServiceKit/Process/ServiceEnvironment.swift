import CoreMetrics
import Correlation
import Idempotency
import Logging
import NIOCore
import Prometheus
import Resilience
import Storage

/// The parts at the edge that a service is built from: its store, clocks, log and executor.
///
/// A class, like other sets of parts that closures keep for the length of a request: a copy of a structure of nine parts
/// costs as many counts of references.
public final class ServiceEnvironment: Sendable {
    /// The service's database.
    public let store: any Store
    /// The file of that database; nil if it is in memory.
    public let storePath: String?
    /// What is known of each key; used inside the store's transactions.
    public let keys: any IdempotencyStore
    /// The clocks.
    public let time: any TimeSource
    /// Waits.
    public let sleeper: any Sleeper
    /// Makes ids.
    public let identifiers: IdentifierSource
    /// The log.
    public let logger: Logger
    /// Where tasks that outlive a request run; nil is Swift's default.
    public let executor: (any TaskExecutor)?
    /// Keeps what is measured; nil measures nothing.
    public let registry: PrometheusRegistry?
    /// Records spans; nil records none.
    public let traces: Traces?

    /// Makes what measures.
    public var metrics: any MetricsFactory { registry ?? NOOPMetricsHandler.instance }

    /// An environment; the defaults are the machine's.
    public init(
        store: any Store,
        storePath: String? = nil,
        keys: any IdempotencyStore,
        time: any TimeSource = SystemTime(),
        sleeper: any Sleeper = ClockSleeper(),
        identifiers: IdentifierSource? = nil,
        logger: Logger,
        executor: (any TaskExecutor)? = nil,
        registry: PrometheusRegistry? = nil,
        traces: Traces? = nil
    ) {
        self.store = store
        self.storePath = storePath
        self.keys = keys
        self.time = time
        self.sleeper = sleeper
        self.identifiers = identifiers ?? IdentifierSource(time: time)
        self.logger = logger
        self.executor = executor
        self.registry = registry
        self.traces = traces
    }

    /// Starts work that goes on whether or not the request that caused it is still waiting (hazard 19).
    @discardableResult
    public func detach<T: Sendable>(_ work: @escaping @Sendable () async -> T) -> Task<T, Never> {
        Task(executorPreference: executor, operation: work)
    }

    /// Does something at once and then again and again, until the service stops. - Parameters: as for `PeriodicTask`.
    public func periodic(
        _ name: String, _ interval: Duration, overlaps: Bool = false,
        _ body: @escaping @Sendable () async throws -> Void
    ) -> PeriodicTask {
        PeriodicTask(
            name: name, interval: interval, overlaps: overlaps, sleeper: sleeper, logger: logger, body: body)
    }
}
