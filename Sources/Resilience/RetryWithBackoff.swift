/// An error that knows whether another attempt may succeed. One that does not conform is not repeated: nobody has foreseen it.
public protocol RepeatableError: Error {
    /// False when asking again would be refused again.
    var mayBeRepeated: Bool { get }
    /// The least wait before another attempt, when the other side asked for one.
    var retryAfter: Duration? { get }
}

extension RepeatableError {
    public var retryAfter: Duration? { nil }
}

/// No attempt brought an answer and no further one is allowed, by number or by time.
public struct RetriesExhausted: Error {
    /// How many attempts were made.
    public let attempts: Int
    /// What the last attempt failed with; nil when the deadline had passed before the first.
    public let last: (any Error)?
}

/// Repeats an operation until it succeeds, is refused, or may not be repeated any more (hazards 33 and 34).
///
/// No wait follows the last attempt, and none is begun that would outlast the deadline.
public struct RetryWithBackoff: Sendable {
    /// The waits and their number.
    public let schedule: BackoffSchedule
    private let sleeper: any Sleeper
    private let time: any TimeSource

    /// A retrier.
    public init(schedule: BackoffSchedule = BackoffSchedule(), sleeper: any Sleeper, time: any TimeSource) {
        self.schedule = schedule
        self.sleeper = sleeper
        self.time = time
    }

    /// Runs `operation` up to `schedule.maximumAttempts` times.
    ///
    /// - Parameters:
    ///   - deadline: no attempt and no wait begins after it.
    ///   - onRetry: told of each failure that another attempt follows, with the wait before it.
    ///   - operation: one attempt, given its number from 1.
    /// - Throws: the operation's own error when it may not be repeated; `RetriesExhausted` after the last of those that may;
    ///   `CancellationError` when the task is cancelled while waiting.
    public func callAsFunction<T>(
        until deadline: Deadline? = nil,
        onRetry: (_ attempt: Int, _ error: any Error, _ wait: Duration) -> Void = { _, _, _ in },
        _ operation: (_ attempt: Int) async throws -> T
    ) async throws -> T {
        var last: (any Error)?
        for attempt in 1...schedule.maximumAttempts {
            if let deadline, deadline.hasPassed(on: time) {
                throw RetriesExhausted(attempts: attempt - 1, last: last)
            }
            let failure: any RepeatableError
            do {
                return try await operation(attempt)
            } catch let error as any RepeatableError where error.mayBeRepeated {
                failure = error
            }
            last = failure
            let wait = max(schedule.delay(afterAttempt: attempt), min(failure.retryAfter ?? .zero, schedule.cap))
            let outlastsDeadline = deadline.map { wait >= $0.remaining(on: time) } ?? false
            if attempt == schedule.maximumAttempts || outlastsDeadline {
                throw RetriesExhausted(attempts: attempt, last: last)
            }
            onRetry(attempt, failure, wait)
            try await sleeper.sleep(for: wait)
        }
        // The loop's last turn always returns or throws; this satisfies the compiler for the same outcome.
        throw RetriesExhausted(attempts: schedule.maximumAttempts, last: last)
    }
}
