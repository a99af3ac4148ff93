import Logging
import Resilience
import ServiceLifecycle

/// Does something again and again, with a pause between, until the service stops. A failure is logged and not fatal: the
/// next turn tries again.
public struct PeriodicTask: Service {
    package let name: String
    package let interval: Duration
    private let sleeper: any Sleeper
    private let logger: Logger
    /// One turn.
    package let body: @Sendable () async throws -> Void

    /// A task that runs `body` at once and then each time `interval` after it has ended.
    public init(
        name: String,
        interval: Duration,
        sleeper: any Sleeper,
        logger: Logger,
        body: @escaping @Sendable () async throws -> Void
    ) {
        self.name = name
        self.interval = interval
        self.sleeper = sleeper
        self.logger = logger
        self.body = body
    }

    /// Runs until graceful shutdown or cancellation.
    public func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await body()
                } catch is CancellationError where Task.isCancelled {
                    return
                } catch {
                    logger.warning(
                        "a periodic task failed", metadata: ["task": .string(name), "error": .string("\(error)")])
                }
                try await sleeper.sleep(for: interval)
            }
        }
    }
}
