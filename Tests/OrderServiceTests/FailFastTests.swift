import Resilience
import ServiceClient
import ServiceKit
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import OrderService

@Suite("Failing fast behind a breaker", .timeLimit(.minutes(5)))
struct FailFastTests {
    /// Opens at the fifth failure in a row: those of one round.
    private static let breaker = CircuitBreaker.Settings(
        minimumCalls: .max, consecutiveFailures: 5, openFor: .milliseconds(2500))

    private let fixture: OrderFixture

    init() throws {
        fixture = try OrderFixture(breaker: Self.breaker)
    }

    private var time: ManualTime { fixture.test.time }

    enum Service: CaseIterable, Sendable { case stock, payment }

    private func breaker(_ service: Service) -> CircuitBreaker {
        switch service {
        case .stock: fixture.parts.caller.stockBreaker
        case .payment: fixture.parts.caller.paymentBreaker
        }
    }

    private func open(_ service: Service) throws {
        for _ in 0..<5 { breaker(service).record(.failure, of: breaker(service).pass()) }
        try #require(breaker(service).current == .open)
    }

    // MARK: - Admission

    @Test(
        "while a breaker is open a checkout is told to come back when it closes; nothing is stored, and its key is free",
        arguments: Service.allCases)
    func refused(_ service: Service) async throws {
        try open(service)
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 503)
            #expect(answer.code == "checkout-unavailable")
            #expect(answer.header("Retry-After") == "3")
            #expect(answer.value("retryable") == .bool(true))
            #expect(fixture.shop.calls.isEmpty)
            #expect(try await client.get("/orders").count("orders") == 0)
            #expect(fixture.parts.runner.leases.isEmpty)

            time.advance(by: .milliseconds(1600))
            #expect(try await client.checkout().header("Retry-After") == "1")
            // The key is bound to no command yet.
            time.advance(by: .milliseconds(900))
            #expect(try await client.checkout(#"{"itemId":1,"quantity":3}"#).status == 200)
            #expect(breaker(service).current == .closed)
        }
    }

    @Test("when both are open, the client is told the longer of the two times")
    func both() async throws {
        try open(.stock)
        time.advance(by: .milliseconds(2000))
        try open(.payment)
        #expect(try await fixture.checkout().header("Retry-After") == "3")
    }

    @Test("a replay, a request in progress and another command under a key are answered as always")
    func known() async throws {
        let gate = Gate()
        fixture.shop.script(.reserve) { $0 == 2 ? .wait(gate, then: .answer) : .answer }
        try await fixture.run { client in
            let first = try await client.checkout()
            async let pending = client.checkout(key: "slow")
            await gate.arrival()
            try open(.stock)
            let replay = try await client.checkout()
            #expect(replay.status == 200)
            #expect(replay.isReplayed)
            #expect(replay.body == first.body)
            #expect(try await client.checkout(key: "slow").status == 409)
            #expect(try await client.checkout(#"{"itemId":1,"quantity":3}"#).status == 422)
            // Of a key that has failed nothing is lost either: it is free, and stays so.
            #expect(try await client.checkout(key: "new").status == 503)
            gate.open()
            #expect(try await pending.status == 200)
        }
    }

    // MARK: - What has begun

    @Test(
        "a reserve that has not left is not sent any more once the breaker is open: nothing is held, and nobody waits")
    func reserve() async throws {
        fixture.shop.script(.reserve) { _ in .notSent(.unreachable) }
        try await fixture.run { client in
            // Its round opens the breaker. The next one finds it half open, and its first failure opens it again.
            #expect(try await client.checkout(key: "first").status == 503)
            time.advance(by: .seconds(3))
            let sleeps = fixture.sleeps.count
            let answer = try await client.checkout(key: "second")
            #expect(answer.status == 503)
            #expect(fixture.shop.calls.count == 6)
            // After the one attempt came its pause, and then it was known to be in vain.
            #expect(fixture.sleeps.count == sleeps + 1)
            #expect(try await client.get("/orders").text("orders/0/failure/code") == "unavailable")
            #expect(try await client.get("/orders").text("orders/0/status") == "failed")
        }
    }

    @Test("a half-open breaker lets one checkout through as a probe, and the others fail at once")
    func halfOpen() async throws {
        try open(.stock)
        time.advance(by: .seconds(3))
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let probe = client.checkout(key: "probe")
            await gate.arrival()
            let other = try await client.checkout(key: "other")
            #expect(other.status == 503)
            #expect(other.code == "checkout-unavailable")
            #expect(fixture.shop.calls.count == 1)
            gate.open()
            #expect(try await probe.status == 200)
            #expect(try await client.checkout(key: "other").status == 200)
        }
    }

    @Test("a first charge is not sent when Payment's breaker has opened: the goods are released, and no id is used")
    func charge() async throws {
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            try open(.payment)
            gate.open()
            let answer = try await pending
            #expect(answer.status == 503)
            #expect(answer.code == "checkout-unavailable")
            #expect(fixture.shop.operations == [.reserve, .release])
            #expect(try await client.get("/orders").text("orders/0/status") == "failed")
        }
        #expect(fixture.sleeps.isEmpty)
    }

    @Test("a charge that was not executed is not repeated when the breaker has opened: its id is canceled")
    func chargeNotExecuted() async throws {
        let payment = fixture.parts.caller.paymentBreaker
        fixture.shop.script(.charge) { _ in
            for _ in 0..<4 { payment.record(.failure, of: payment.pass()) }
            return .notExecuted(.unavailable)
        }
        #expect(try await fixture.checkout().status == 503)
        #expect(fixture.shop.operations == [.reserve, .charge, .release, .refund])
    }

    @Test("a charge that may have run is asked about however open the breaker is (hazard 35)")
    func chargeUnknown() async throws {
        let payment = fixture.parts.caller.paymentBreaker
        fixture.shop.script(.charge) { call in
            for _ in 0..<4 { payment.record(.failure, of: payment.pass()) }
            return call <= 3 ? .commitThenLose(.timedOut) : .answer
        }
        #expect(try await fixture.checkout().status == 200)
        #expect(fixture.shop.operations == [.reserve, .charge, .charge, .charge, .charge, .complete])
        #expect(fixture.sleeps == [.seconds(1), .seconds(2), .seconds(4)])
    }

    @Test("a complete is made however open the breaker is")
    func complete() async throws {
        let gate = Gate()
        fixture.shop.script(.charge, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            try open(.stock)
            gate.open()
            #expect(try await pending.status == 200)
        }
        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
        #expect(fixture.sleeps.isEmpty)
        #expect(breaker(.stock).current == .open)
    }

    @Test("a release, a refund and a cancel are made however open the breakers are (hazard 35)")
    func compensation() async throws {
        for (step, operations) in [
            (Saga.Step.releasing(.sample, then: .refund), [Operation.release, .refund]),
            (.releasing(.sample, then: .cancel), [.release, .refund]), (.canceling(.sample), [.refund]),
        ] {
            let fixture = try OrderFixture(breaker: Self.breaker)
            let left = try await fixture.leave(step)
            for breaker in [fixture.parts.caller.stockBreaker, fixture.parts.caller.paymentBreaker] {
                for _ in 0..<5 { breaker.record(.failure, of: breaker.pass()) }
                try #require(breaker.current == .open)
            }
            // In one turn, in which the clock stands still.
            try await fixture.parts.recovery.disownAll()
            await fixture.parts.recovery.takeUpDue()
            #expect(fixture.shop.operations == operations)
            #expect(try await fixture.status(of: left) == .failed)
        }
    }

    @Test("a saga that was taken up makes all its calls however open the breakers are, and they are not counted out")
    func resumed() async throws {
        for step in [Saga.Step.reserving, .charging(.sample), .completing(.sample)] {
            let left = try await fixture.leave(step)
            try await fixture.parts.recovery.disownAll()
            try open(.stock)
            try open(.payment)
            let calls = fixture.shop.calls.count
            await fixture.parts.recovery.takeUpDue()
            let expected: [Operation] =
                switch step {
                case .reserving: [.reserve, .charge, .complete]
                // What was completing asks for its charge again.
                default: [.charge, .complete]
                }
            #expect(Array(fixture.shop.operations.dropFirst(calls)) == expected)
            #expect(try await fixture.status(of: left) == .completed)
        }
    }

    // MARK: - What counts

    @Test("commands that fail together in one request are one failure of their service")
    func batches() async throws {
        fixture.shop.batchSize.withLock { $0 = 10 }
        fixture.shop.script(.release) { _ in .lose(.timedOut) }
        for _ in 0..<49 { try await fixture.leave(.releasing(.sample, then: .nothing)) }
        try await fixture.parts.recovery.disownAll()
        await fixture.parts.recovery.takeUpDue()
        #expect(fixture.shop.calls.count == 49)
        #expect(breaker(.stock).current == .closed)
        // The last command of the fifth request in a row.
        try await fixture.leave(.releasing(.sample, then: .nothing))
        try await fixture.parts.recovery.disownAll()
        await fixture.parts.recovery.takeUpDue()
        #expect(breaker(.stock).current == .open)
    }

    @Test(
        "an answer closes a half-open breaker whatever it says; silence, a broken line and rubbish open it again",
        arguments: [
            (Reply.answer, CircuitBreaker.State.closed), (.refuse(.insufficientStock), .closed),
            (.lose(.inProgress), .closed), (.notExecuted(.providerUnavailable), .closed), (.lose(.timedOut), .open),
            (.lose(.connectionLost), .open),
            (.lose(.garbled), .open), (.notExecuted(.unavailable), .open), (.notSent(.unreachable), .open),
            (.notSent(.timedOut), .halfOpen), (.notSent(.queueFull), .halfOpen),
        ])
    func counting(_ reply: Reply, _ state: CircuitBreaker.State) async throws {
        try await fixture.leave(.reserving)
        try open(.stock)
        time.advance(by: .seconds(3))
        // It does not come to the next call to Stock.
        fixture.shop.script(.charge) { _ in .lose(.timedOut) }
        fixture.shop.script(.reserve, reply)
        try await fixture.parts.recovery.disownAll()
        await fixture.parts.recovery.takeUpDue()
        #expect(breaker(.stock).current == state)
    }
}
