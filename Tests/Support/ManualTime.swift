import Resilience
import Synchronization

/// Clocks that stand still until a test, or a `RecordingSleeper`, moves them.
public final class ManualTime: TimeSource {
    private let state: Mutex<(now: Timestamp, uptime: Duration)>

    /// Clocks at 2026-01-01T00:00:00Z.
    public init(now: Timestamp = Timestamp(milliseconds: 1_767_225_600_000)) {
        state = Mutex((now, .seconds(1000)))
    }

    public var now: Timestamp { state.withLock { $0.now } }
    public var uptime: Duration { state.withLock { $0.uptime } }

    /// Sets the clock on the wall forward or back; the monotonic one goes on as if nothing had happened (hazard 37).
    public func jump(by duration: Duration) {
        state.withLock { $0.now = $0.now.advanced(by: duration) }
    }

    /// Moves both clocks forward.
    public func advance(by duration: Duration) {
        state.withLock { state in
            state.now = state.now.advanced(by: duration)
            state.uptime += duration
        }
    }
}
