import Resilience
import TestSupport
import Testing

@Suite("Circuit breaker")
struct CircuitBreakerTests {
    private let time = ManualTime()

    private func breaker(
        failureRate: Double = 0.5, minimumCalls: Int = 10, consecutiveFailures: Int = .max, probes: Int = 1
    ) -> CircuitBreaker {
        CircuitBreaker(
            CircuitBreaker.Settings(
                failureRate: failureRate, minimumCalls: minimumCalls, window: .seconds(10),
                consecutiveFailures: consecutiveFailures, openFor: .seconds(5), probes: probes),
            time: time)
    }

    /// One that opens at three failures in a row, and is open.
    private func openBreaker(probes: Int = 1) throws -> CircuitBreaker {
        let breaker = breaker(minimumCalls: .max, consecutiveFailures: 3, probes: probes)
        for _ in 0..<3 { try breaker.call(.failure) }
        try #require(breaker.current == .open)
        return breaker
    }

    private func halfOpenBreaker(probes: Int = 1) throws -> CircuitBreaker {
        let breaker = try openBreaker(probes: probes)
        time.advance(by: .seconds(5))
        try #require(breaker.current == .halfOpen)
        return breaker
    }

    // MARK: - Closed

    @Test("a new breaker is closed and lets every call pass")
    func closed() throws {
        let breaker = breaker()
        #expect(breaker.current == .closed)
        #expect(breaker.openFor == nil)
        for _ in 0..<100 { try breaker.call(.success) }
        #expect(breaker.current == .closed)
    }

    @Test("it opens at the share of failures, exactly when the window has the minimum of calls")
    func failureRate() throws {
        let breaker = breaker()
        for _ in 0..<4 { try breaker.call(.success) }
        for _ in 0..<5 {
            try breaker.call(.failure)
            #expect(breaker.current == .closed)
        }
        try breaker.call(.failure)
        #expect(breaker.current == .open)
    }

    @Test("below the share of failures it stays closed, however many calls there are")
    func belowRate() throws {
        let breaker = breaker()
        for _ in 0..<1000 {
            for result in [CircuitBreaker.Result.success, .success, .failure] { try breaker.call(result) }
        }
        #expect(breaker.current == .closed)
    }

    @Test("calls are counted for the length of the window, and then fall out")
    func window() throws {
        let breaker = breaker()
        for _ in 0..<9 { try breaker.call(.failure) }
        time.advance(by: .milliseconds(9_999))
        // Still ten in the window, had this one failed too.
        try breaker.call(.success)
        #expect(breaker.current == .closed)
        time.advance(by: .milliseconds(1))
        for _ in 0..<8 {
            try breaker.call(.failure)
            #expect(breaker.current == .closed)
        }
        try breaker.call(.failure)
        #expect(breaker.current == .open)
    }

    @Test("failures just within the window count together")
    func withinWindow() throws {
        let breaker = breaker()
        for _ in 0..<9 { try breaker.call(.failure) }
        time.advance(by: .milliseconds(9_999))
        try breaker.call(.failure)
        #expect(breaker.current == .open)
    }

    @Test("a slice that comes round again after a long pause begins empty")
    func longPause() throws {
        let breaker = breaker()
        for _ in 0..<9 { try breaker.call(.failure) }
        // The same place in the ring, many windows later.
        time.advance(by: .seconds(1000))
        try breaker.call(.failure)
        #expect(breaker.current == .closed)
    }

    @Test("it opens after so many failures in a row, whatever the share, and a success begins the row anew")
    func consecutiveFailures() throws {
        let breaker = breaker(minimumCalls: .max, consecutiveFailures: 3)
        for _ in 0..<10 {
            for result in [CircuitBreaker.Result.failure, .failure, .nothing, .success] { try breaker.call(result) }
        }
        #expect(breaker.current == .closed)
        for _ in 0..<2 { try breaker.call(.failure) }
        #expect(breaker.current == .closed)
        time.advance(by: .seconds(60))
        try breaker.call(.failure)
        #expect(breaker.current == .open)
    }

    @Test("what says nothing of the service is not counted")
    func nothing() throws {
        let breaker = breaker(minimumCalls: 2, consecutiveFailures: 2)
        for _ in 0..<10 { try breaker.call(.nothing) }
        try breaker.call(.failure)
        #expect(breaker.current == .closed)
    }

    // MARK: - Open

    @Test("an open breaker lets nothing pass and tells how long it stays open")
    func open() throws {
        let breaker = try openBreaker()
        #expect(breaker.admit() == nil)
        #expect(breaker.openFor == .seconds(5))
        time.advance(by: .milliseconds(4_999))
        #expect(breaker.admit() == nil)
        #expect(breaker.openFor == .milliseconds(1))
        time.advance(by: .milliseconds(1))
        #expect(breaker.openFor == nil)
        #expect(breaker.current == .halfOpen)
    }

    @Test("results of calls that had to be made do not move the end of an open breaker")
    func resultsWhileOpen() throws {
        let breaker = try openBreaker()
        time.advance(by: .seconds(3))
        breaker.record(.failure, of: breaker.pass())
        breaker.record(.success, of: breaker.pass())
        #expect(breaker.current == .open)
        #expect(breaker.openFor == .seconds(2))
    }

    // MARK: - Half open

    @Test("a half-open breaker lets only its probes pass", arguments: [1, 3])
    func probes(_ count: Int) throws {
        let breaker = try halfOpenBreaker(probes: count)
        for _ in 0..<count { #expect(breaker.admit() != nil) }
        #expect(breaker.admit() == nil)
        #expect(breaker.openFor == nil)
        time.advance(by: .seconds(1000))
        #expect(breaker.admit() == nil)
    }

    @Test("a probe that succeeds closes it, with nothing counted from before")
    func probeSucceeds() throws {
        let breaker = try halfOpenBreaker()
        try breaker.call(.success)
        #expect(breaker.current == .closed)
        for _ in 0..<2 { try breaker.call(.failure) }
        #expect(breaker.current == .closed)
    }

    @Test("a probe that fails opens it again, for the whole time")
    func probeFails() throws {
        let breaker = try halfOpenBreaker()
        time.advance(by: .seconds(2))
        try breaker.call(.failure)
        #expect(breaker.current == .open)
        #expect(breaker.openFor == .seconds(5))
    }

    @Test("the first result decides, and what comes later from other probes is not counted")
    func firstResult() throws {
        let breaker = try halfOpenBreaker(probes: 4)
        let passages = try (0..<4).map { _ in try #require(breaker.admit()) }
        breaker.record(.success, of: passages[0])
        #expect(breaker.current == .closed)
        for passage in passages[1...] { breaker.record(.failure, of: passage) }
        #expect(breaker.current == .closed)

        for _ in 0..<2 { try breaker.call(.failure) }
        #expect(breaker.current == .closed)
        try breaker.call(.failure)
        #expect(breaker.current == .open)
    }

    @Test("a probe that says nothing gives its place back, once")
    func probeSaysNothing() throws {
        let breaker = try halfOpenBreaker()
        try breaker.call(.nothing)
        #expect(breaker.current == .halfOpen)
        let probe = breaker.admit()
        #expect(probe != nil)
        #expect(breaker.admit() == nil)
        // One that had to be made took no place.
        breaker.record(.nothing, of: breaker.pass())
        #expect(breaker.admit() == nil)
    }

    // MARK: - Results from before

    @Test("a call that began before it opened decides nothing when it is half open, or closed again")
    func lateResults() throws {
        let breaker = breaker(minimumCalls: .max, consecutiveFailures: 3)
        let early = try (0..<4).map { _ in try #require(breaker.admit()) }
        for _ in 0..<3 { try breaker.call(.failure) }
        time.advance(by: .seconds(5))
        try #require(breaker.current == .halfOpen)
        breaker.record(.success, of: early[0])
        #expect(breaker.current == .halfOpen)
        breaker.record(.failure, of: early[1])
        #expect(breaker.current == .halfOpen)
        // Nor does it give back a place that it did not take.
        #expect(breaker.admit() != nil)
        breaker.record(.nothing, of: early[2])
        #expect(breaker.admit() == nil)
        breaker.record(.failure, of: early[3])
        #expect(breaker.current == .halfOpen)
    }

    @Test("a probe from before it opened again does not close it")
    func lateProbe() throws {
        let breaker = try halfOpenBreaker(probes: 2)
        let (first, second) = (try #require(breaker.admit()), try #require(breaker.admit()))
        breaker.record(.failure, of: first)
        breaker.record(.success, of: second)
        #expect(breaker.current == .open)
        time.advance(by: .seconds(5))
        breaker.record(.success, of: second)
        #expect(breaker.current == .halfOpen)
    }

    // MARK: - Calls that have to be made

    @Test("a call that has to be made always passes")
    func pass() throws {
        let breaker = try openBreaker()
        _ = breaker.pass()
        time.advance(by: .seconds(5))
        _ = breaker.admit()
        #expect(breaker.admit() == nil)
        _ = breaker.pass()
    }

    @Test("its result counts: failures open the breaker, and in a half-open one it decides")
    func passCounts() throws {
        let breaker = breaker(minimumCalls: .max, consecutiveFailures: 3)
        for _ in 0..<3 { breaker.record(.failure, of: breaker.pass()) }
        #expect(breaker.current == .open)
        time.advance(by: .seconds(5))
        breaker.record(.failure, of: breaker.pass())
        #expect(breaker.current == .open)
        time.advance(by: .seconds(5))
        breaker.record(.success, of: breaker.pass())
        #expect(breaker.current == .closed)
    }

    // MARK: - Many at once

    @Test(
        "commands that shared a call count as the one call that it was, in a row and in the share",
        arguments: [1, 2, 3, 7, 10, 128])
    func sharedCalls(_ commands: Int) {
        for breaker in [breaker(minimumCalls: .max, consecutiveFailures: 3), breaker(failureRate: 1, minimumCalls: 3)] {
            func call() {
                for _ in 0..<commands { breaker.record(.failure, of: breaker.pass(), sharedBy: commands) }
            }
            for _ in 0..<2 {
                call()
                #expect(breaker.current == .closed)
            }
            call()
            #expect(breaker.current == .open)
        }
    }

    @Test("one command of a call that was answered ends a row of failures")
    func sharedSuccess() {
        let breaker = breaker(minimumCalls: .max, consecutiveFailures: 2)
        for _ in 0..<50 {
            for _ in 0..<9 { breaker.record(.failure, of: breaker.pass(), sharedBy: 10) }
            breaker.record(.success, of: breaker.pass(), sharedBy: 10)
        }
        #expect(breaker.current == .closed)
    }

    @Test("of many tasks at once none is lost: the share is exact at the last call of the minimum")
    func concurrentCounts() async throws {
        let calls = 1000
        let breaker = breaker(failureRate: 1, minimumCalls: calls)
        await withTaskGroup { group in
            for _ in 1..<calls { group.addTask { breaker.record(.failure, of: breaker.pass()) } }
        }
        #expect(breaker.current == .closed)
        try breaker.call(.failure)
        #expect(breaker.current == .open)
    }

    @Test("of many tasks at once only as many probes pass as are allowed")
    func concurrentProbes() async throws {
        let breaker = try halfOpenBreaker(probes: 3)
        let passed = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<200 { group.addTask { breaker.admit() != nil } }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(passed == 3)
    }
}

extension CircuitBreaker {
    /// One call that is let pass.
    fileprivate func call(_ result: Result) throws {
        record(result, of: try #require(admit()))
    }
}
