/// How long to wait before each further attempt: `base`, then `factor` times as long each time, up to `cap`, plus a random
/// part so that many callers who failed together do not come back together.
public struct BackoffSchedule: Sendable {
    /// The wait after the first attempt.
    public let base: Duration
    /// How much longer each wait is than the one before.
    public let factor: Int
    /// The longest wait, before jitter.
    public let cap: Duration
    /// The largest random addition.
    public let jitter: Duration
    /// How many attempts there are in all; at least 1.
    public let maximumAttempts: Int
    /// A number from 0 up to, not including, 1.
    private let random: @Sendable () -> Double

    /// A schedule; by default the reference's: 5 attempts with 1, 2, 4 and 8 s between them.
    ///
    /// - Parameter random: gives the jitter as a share of `jitter`, from 0 to below 1.
    public init(
        base: Duration = .seconds(1),
        factor: Int = 2,
        cap: Duration = .seconds(30),
        jitter: Duration = .zero,
        maximumAttempts: Int = 5,
        random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
    ) {
        precondition(maximumAttempts >= 1 && factor >= 1, "a schedule has at least one attempt and does not shrink")
        self.base = base
        self.factor = factor
        self.cap = cap
        self.jitter = jitter
        self.maximumAttempts = maximumAttempts
        self.random = random
    }

    /// The same schedule with another largest random addition.
    public func withJitter(_ jitter: Duration) -> BackoffSchedule {
        BackoffSchedule(
            base: base, factor: factor, cap: cap, jitter: jitter, maximumAttempts: maximumAttempts, random: random)
    }

    /// The same schedule with one attempt.
    public var single: BackoffSchedule {
        BackoffSchedule(base: base, factor: factor, cap: cap, jitter: jitter, maximumAttempts: 1, random: random)
    }

    /// The wait after attempt number `attempt` (from 1), whether or not another one follows.
    public func delay(afterAttempt attempt: Int) -> Duration {
        var delay = min(base, cap)
        for _ in 1..<max(1, attempt) {
            // Stops at the cap, so a large attempt number cannot overflow.
            guard delay > .zero, delay < cap else { break }
            delay = min(delay * factor, cap)
        }
        guard jitter > .zero else { return delay }
        return delay + jitter * random()
    }
}
