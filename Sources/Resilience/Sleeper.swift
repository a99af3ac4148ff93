/// Waits. Injected wherever code pauses, so that a test can let the time pass at once.
public protocol Sleeper: Sendable {
    /// Returns after `duration`. - Throws: `CancellationError` when the task is cancelled meanwhile.
    func sleep(for duration: Duration) async throws
}

/// Waits by the machine's monotonic clock.
public struct ClockSleeper: Sleeper {
    /// A sleeper on the machine's clock.
    public init() {}

    public func sleep(for duration: Duration) async throws {
        try await Task.sleep(for: duration, tolerance: nil, clock: .continuous)
    }
}
