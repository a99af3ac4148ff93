/// The moment by which an answer is owed, on the monotonic clock of one process. Between processes the time left travels
/// instead (OP-06), because their clocks have nothing in common.
public struct Deadline: Hashable, Sendable {
    /// The moment, as `TimeSource.uptime`.
    public let uptime: Duration

    /// A moment on the clock of this process.
    public init(uptime: Duration) {
        self.uptime = uptime
    }

    /// The moment `duration` from now.
    public init(after duration: Duration, on time: some TimeSource) {
        self.init(uptime: time.uptime + duration)
    }

    /// The time left, never negative.
    public func remaining(on time: some TimeSource) -> Duration {
        max(.zero, uptime - time.uptime)
    }

    /// Whether no time is left.
    public func hasPassed(on time: some TimeSource) -> Bool {
        time.uptime >= uptime
    }
}
