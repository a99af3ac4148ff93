import Resilience
import ServiceKit
import TestSupport
import Testing

@testable import OrderService

/// Two processes on one store: the first is at work on an order, the second looks for dead owners.
@Suite("Keeping a lease, and taking over from the dead", .timeLimit(.minutes(5)))
struct LeaseRenewalTests {
    private let test: TestEnvironment
    private let first: OrderFixture
    private let second: OrderFixture
    private let gate = Gate()

    init() throws {
        test = try TestEnvironment(migrations: OrderSchema.migrations)
        first = OrderFixture(test, test.environment, maximumInFlight: 1)
        second = OrderFixture(test, test.environment, shop: first.shop)
        first.shop.script(.reserve, .wait(gate, then: .answer))
    }

    /// One turn of the second process.
    private func lookAround() async throws {
        try await second.parts.recovery.makeWaitingDue()
        await second.parts.recovery.takeUpDue()
    }

    @Test("a saga is renewed from the second turn on in which it is under way: most end before")
    func renewal() async throws {
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            let orderID = try await first.onlyOrderID()
            for beat in [0, 1, 2] as [Int64] {
                try await first.parts.recovery.renewLeases()
                #expect(try await first.row(orderID).beat == beat)
                test.time.advance(by: .seconds(3))
            }
            gate.open()
            #expect(try await pending.status == 200)
            try await first.idle()
            let ended = try await first.row(orderID)
            try await first.parts.recovery.renewLeases()
            #expect(try await first.row(orderID) == ended)
        }
    }

    @Test("an owner that lives is not robbed, not even by a clock that jumps forward or back (hazard 37)")
    func living() async throws {
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            for jump in [0, 86_400, -1_000_000, 0, 0] {
                test.time.jump(by: .seconds(jump))
                for _ in 0..<5 {
                    try await first.parts.recovery.renewLeases()
                    try await lookAround()
                    test.time.advance(by: .milliseconds(3_333))
                }
            }
            let row = try await first.row(try await first.onlyOrderID())
            #expect(row.owner == first.parts.log.owner)
            #expect(row.epoch == 1)
            #expect(first.shop.operations == [.reserve])
            gate.open()
            _ = try await pending
        }
    }

    @Test(
        "an owner is dead when it has been silent for a lease since its lease ran out, and then its saga is taken over")
    func dead() async throws {
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            let orderID = try await first.onlyOrderID()
            func turn(after wait: Duration) async throws -> Int64 {
                test.time.advance(by: wait)
                try await lookAround()
                return try await first.row(orderID).epoch
            }
            #expect(try await turn(after: .milliseconds(9_999)) == 1)
            #expect(try await turn(after: .milliseconds(1)) == 1)
            #expect(try await turn(after: .milliseconds(9_999)) == 1)
            #expect(try await turn(after: .milliseconds(1)) == 2)
            #expect(try await first.row(orderID).status == "completed")

            // Its owner lives after all. Its next renewal tells it, and its place is free.
            #expect(first.parts.runner.leases == [SagaLog.firstLease(orderID)])
            for _ in 0..<2 { try await first.parts.recovery.renewLeases() }
            #expect(first.parts.runner.leases.isEmpty)
            gate.open()
            #expect(try await pending.status == 200)
        }
        #expect(first.shop.unreturnedCharges.count == 1)
    }

    @Test("when the store fails, a renewal is tried again in the next turn")
    func storeFails() async throws {
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store), shop: first.shop)
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            let orderID = try await fixture.onlyOrderID()
            try await fixture.parts.recovery.renewLeases()
            store.failNext()
            await #expect(throws: (any Error).self) { try await fixture.parts.recovery.renewLeases() }
            try await fixture.parts.recovery.renewLeases()
            #expect(try await fixture.row(orderID).beat == 1)
            gate.open()
            #expect(try await pending.status == 200)
        }
    }

    @Test("a process takes up, watches and renews by itself, a lease three times in its length")
    func background() {
        let lease = first.parts.configuration.leaseDuration
        let tasks = first.service.background.compactMap { $0 as? PeriodicTask }
        #expect(tasks.map(\.name) == ["lease renewal", "recovery", "waiting sagas", "orphaned sagas"])
        #expect(tasks.map(\.interval) == [lease / 3, .milliseconds(500), .milliseconds(500), lease])
        // A saga that takes long does not keep the others from being taken up.
        #expect(tasks.map(\.overlaps) == [false, true, false, false])
    }
}
