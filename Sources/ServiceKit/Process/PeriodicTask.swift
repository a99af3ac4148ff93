import Logging
import Resilience
import ServiceLifecycle

/// Does something again and again, with a pause between, until the service stops. A failure is logged and not fatal: the
/// next turn tries again.
public struct PeriodicTask: Service {
    package let name: String
    package let interval: Duration
    /// Whether a turn begins when its time has come though an earlier one is not over.
    package let overlaps: Bool
    private let sleeper: any Sleeper
    private let logger: Logger
    /// One turn.
    package let body: @Sendable () async throws -> Void

    /// A task that runs `body` at once and then each time `interval` after it has ended.
    ///
    /// - Parameter overlaps: the next time comes `interval` after the turn has begun instead. How many turns there may be at once is for
    ///   `body` to bound.
    public init(
        name: String,
        interval: Duration,
        overlaps: Bool = false,
        sleeper: any Sleeper,
        logger: Logger,
        body: @escaping @Sendable () async throws -> Void
    ) {
        self.name = name
        self.interval = interval
        self.overlaps = overlaps
        self.sleeper = sleeper
        self.logger = logger
        self.body = body
    }

    /// Runs until graceful shutdown or cancellation, and until the last turn is over.
    public func run() async throws {
        try? await cancelWhenGracefulShutdown {
            try await withThrowingDiscardingTaskGroup { turns in
                while true {
                    if overlaps { turns.addTask { await turn() } } else { await turn() }
                    if Task.isCancelled { return }
                    try await sleeper.sleep(for: interval)
                }
            }
        }
    }

    private func turn() async {
        do {
            try await body()
        } catch is CancellationError where Task.isCancelled {
            return
        } catch {
            logger.warning("a periodic task failed", metadata: ["task": .string(name), "error": .string("\(error)")])
        }
    }
}
