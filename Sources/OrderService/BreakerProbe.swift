import Resilience
import Synchronization

/// Asks a service whether it is ready when Order has stopped calling it and no checkout comes by to find out.
///
/// A half-open breaker closes by the next call that goes well. With no checkout there is none, and a service that has been well for
/// hours would still look as if it were in trouble. Where there is traffic, the probe does nothing.
final class BreakerProbe: Sendable {
    /// How often it looks.
    static let interval = Duration.seconds(5)

    private let breaker: CircuitBreaker
    private let isReady: @Sendable () async -> Bool
    private let wasHalfOpen = Mutex(false)

    init(_ breaker: CircuitBreaker, isReady: @escaping @Sendable () async -> Bool) {
        self.breaker = breaker
        self.isReady = isReady
    }

    /// Looks, and asks if the breaker was half open the last time as well.
    func look() async {
        let isHalfOpen = breaker.current == .halfOpen
        let isIdle = wasHalfOpen.withLock { was in
            defer { was = isHalfOpen }
            return was && isHalfOpen
        }
        guard isIdle else { return }
        // Not as the one probe that is admitted: a checkout that comes at this moment is not refused for it.
        let passage = breaker.pass()
        breaker.record(await isReady() ? .success : .failure, of: passage)
    }
}
