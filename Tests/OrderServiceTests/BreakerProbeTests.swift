import Resilience
import Synchronization
import TestSupport
import Testing

@testable import OrderService

@Suite("The probe of a service that Order has stopped calling")
struct BreakerProbeTests {
    private let time = ManualTime()
    private let breaker: CircuitBreaker

    init() {
        breaker = CircuitBreaker(CircuitBreaker.Settings(consecutiveFailures: 1, openFor: .seconds(1)), time: time)
    }

    private func fail() { breaker.record(.failure, of: breaker.pass()) }

    /// Looks so often, five seconds apart. - Returns: how often the service was asked.
    private func look(_ times: Int, isReady: Bool, between: () -> Void = {}) async -> Int {
        let asked = Asked()
        let probe = BreakerProbe(breaker) {
            asked.count.withLock { $0 += 1 }
            return isReady
        }
        for _ in 0..<times {
            await probe.look()
            time.advance(by: BreakerProbe.interval)
            between()
        }
        return asked.count.withLock { $0 }
    }

    private final class Asked: Sendable {
        let count = Mutex(0)
    }

    @Test("closes the breaker of a service that is well again, without any call")
    func heals() async {
        fail()
        time.advance(by: .seconds(2))
        #expect(breaker.current == .halfOpen)
        #expect(await look(5, isReady: true) == 1)
        #expect(breaker.current == .closed)
    }

    @Test("of a service that is still away, the breaker opens again and does not close")
    func stillAway() async {
        fail()
        time.advance(by: .seconds(2))
        #expect(await look(10, isReady: false) == 9)
        #expect(breaker.current != .closed)
    }

    @Test("does nothing while the breaker is closed, or while calls go by and probe it themselves")
    func traffic() async {
        #expect(await look(5, isReady: true) == 0)
        fail()
        #expect(await look(5, isReady: true, between: { fail() }) == 0)
        #expect(breaker.current == .open)
    }

    @Test("takes no call's place: one that comes while the service is being asked is let through")
    func takesNoPlace() async {
        fail()
        time.advance(by: .seconds(2))
        let breaker = breaker
        let admitted = Asked()
        let probe = BreakerProbe(breaker) {
            if breaker.admit() != nil { admitted.count.withLock { $0 += 1 } }
            return true
        }
        await probe.look()
        await probe.look()
        #expect(admitted.count.withLock { $0 } == 1)
    }
}
