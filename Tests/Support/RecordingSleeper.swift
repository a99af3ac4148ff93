import Resilience
import Synchronization

/// Never waits: notes how long it was asked to, and moves a clock by as much.
public final class RecordingSleeper: Sleeper {
    private let time: ManualTime?
    private let recorded = Mutex<[Duration]>([])
    private let maximum: Int

    /// A sleeper.
    ///
    /// - Parameters:
    ///   - time: moved forward by each sleep.
    ///   - maximum: after so many sleeps it throws `CancellationError`, so that a loop without an end ends.
    public init(advancing time: ManualTime? = nil, maximum: Int = 10_000) {
        self.time = time
        self.maximum = maximum
    }

    /// What it was asked for, in order.
    public var sleeps: [Duration] { recorded.withLock { $0 } }

    public func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        let count = recorded.withLock { recorded in
            recorded.append(duration)
            return recorded.count
        }
        time?.advance(by: duration)
        guard count <= maximum else { throw CancellationError() }
        await Task.yield()
    }
}
