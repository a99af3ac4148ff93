#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Where a component reads the time: a wall clock for what is stored and shown, a monotonic one for deadlines, which a
/// jump of the wall clock must not move (hazard 37).
public protocol TimeSource: Sendable {
    /// Wall-clock time.
    var now: Timestamp { get }
    /// Time since an arbitrary fixed point; it never goes backwards.
    var uptime: Duration { get }
}

/// The machine's clocks.
public struct SystemTime: TimeSource {
    /// The machine's clocks.
    public init() {}

    public var now: Timestamp {
        let time = Self.read(CLOCK_REALTIME)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    public var uptime: Duration {
        let time = Self.read(CLOCK_MONOTONIC)
        return .nanoseconds(1_000_000_000 * Int64(time.tv_sec) + Int64(time.tv_nsec))
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        // Cannot fail for these two clocks and a valid pointer.
        clock_gettime(clock, &time)
        return time
    }
}
