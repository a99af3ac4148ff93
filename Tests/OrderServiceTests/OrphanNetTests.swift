import ServiceKit
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

@Suite("Sagas that nobody drives although they are this process's", .timeLimit(.minutes(5)))
struct OrphanNetTests {
    private static let warning = "unfinished orders of this process had no driver and are taken up again"

    private let fixture: OrderFixture

    init() throws { fixture = try OrderFixture(maximumInFlight: 1) }

    private var time: ManualTime { fixture.test.time }
    private var lease: Duration { fixture.parts.configuration.leaseDuration }

    /// An order as it stands when a process has stored it or taken it and then lost its driver.
    private func orphan() async throws -> LeftOrder {
        try await fixture.leave(.charging(.sample), in: fixture.parts.log)
    }

    /// Turns of the net and of all else that takes sagas up.
    private func turns(_ count: Int, each wait: Duration) async throws {
        for _ in 0..<count {
            time.advance(by: wait)
            try await fixture.parts.orphanNet.takeUp()
            try await fixture.parts.recovery.makeWaitingDue()
            await fixture.parts.recovery.takeUpDue()
        }
    }

    private func warnings(_ message: String) -> Int { fixture.test.log.lines.count { $0.contains(message) } }

    // MARK: - Without a driver

    @Test("one without a driver is taken up again when it has been silent for a lease after its lease, with a warning")
    func undriven() async throws {
        let left = try await orphan()
        try await turns(1, each: lease)
        try await turns(1, each: lease - .milliseconds(1))
        #expect(fixture.shop.calls.isEmpty)
        #expect(try await fixture.row(left.plan.orderID).owner == fixture.parts.log.owner)

        try await turns(1, each: .milliseconds(1))
        #expect(try await fixture.status(of: left) == .completed)
        #expect(try await fixture.row(left.plan.orderID).epoch == 2)
        let lines = try fixture.test.log.events(Self.warning)
        #expect(lines.map { $0["order_ids"] } == [.string(left.plan.orderID)])
        #expect(lines.map { $0["level"] } == [.string("warning")])
        #expect(lines.map { $0["count"] } == [.number("1")])
    }

    @Test("without the net it hangs until the next start")
    func withoutNet() async throws {
        let left = try await orphan()
        for _ in 0..<100 {
            time.advance(by: lease)
            try await fixture.parts.recovery.renewLeases()
            try await fixture.parts.recovery.makeWaitingDue()
            await fixture.parts.recovery.takeUpDue()
        }
        #expect(fixture.shop.calls.isEmpty)
        #expect(try await fixture.status(of: left) == .pending)
    }

    @Test("a clock that jumps neither hides one nor makes one (hazard 37)")
    func clockJumps() async throws {
        let left = try await orphan()
        time.jump(by: .seconds(86_400))
        try await turns(1, each: .zero)
        #expect(fixture.shop.calls.isEmpty)
        time.jump(by: .seconds(-200_000))
        try await turns(2, each: lease)
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("however many there are, a page is taken up in each turn, and a line in the log names a few of them")
    func many() async throws {
        let count = Recovery.pageSize + 5
        for _ in 0..<count { _ = try await orphan() }
        try await turns(4, each: lease)
        let totals = try await fixture.run { try await $0.get("/audit/totals") }
        #expect(totals.integer("orders/completed") == Int64(count))
        let lines = try fixture.test.log.events(Self.warning)
        #expect(lines.map { $0["count"] } == [.number("200"), .number("5")])
    }

    @Test("when the store fails, the next turn finds the same")
    func storeFails() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store))
        let left = try await fixture.leave(.charging(.sample), in: fixture.parts.log)
        test.time.advance(by: lease)
        try await fixture.parts.orphanNet.takeUp()
        test.time.advance(by: lease)
        // The search comes through, the putting down does not.
        store.failNext(1, after: 1)
        await #expect(throws: (any Error).self) { try await fixture.parts.orphanNet.takeUp() }
        try await fixture.parts.orphanNet.takeUp()
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.status(of: left) == .completed)
    }

    // MARK: - With a driver

    @Test("one that is driven is left alone, also when its lease is renewed late")
    func driven() async throws {
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            let before = try await fixture.row(try await fixture.onlyOrderID())
            // In the second turn an order without a driver would be taken up.
            try await turns(2, each: lease)
            try await turns(1, each: .seconds(5))
            #expect(try await fixture.row(try await fixture.onlyOrderID()) == before)
            gate.open()
            #expect(try await pending.status == 200)
        }
        #expect(warnings("taken up again") == 0)
        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
    }

    @Test("another process's is none of this net's business")
    func others() async throws {
        let left = try await fixture.leave(.charging(.sample))
        for _ in 0..<5 {
            time.advance(by: lease)
            try await fixture.parts.orphanNet.takeUp()
        }
        #expect(try await fixture.row(left.plan.orderID).owner != "")
        #expect(warnings("taken up again") == 0)
    }

    @Test("one whose driver hangs is taken up again, its place among the few is free, and the driver is fenced")
    func stuck() async throws {
        let left = try await fixture.leave(.charging(.sample))
        let gate = Gate()
        fixture.shop.script(.charge, .wait(gate, then: .answer))
        try await fixture.parts.recovery.disownAll()
        async let turn: Void = fixture.parts.recovery.takeUpDue()
        await gate.arrival()

        try await fixture.parts.orphanNet.takeUp()
        time.advance(by: fixture.parts.configuration.longestDrive - .milliseconds(1))
        try await fixture.parts.orphanNet.takeUp()
        #expect(warnings("made no headway") == 0)
        time.advance(by: .milliseconds(1))
        try await fixture.parts.orphanNet.takeUp()
        #expect(warnings("made no headway") == 1)
        // Its place is free, so the same turn goes on, and takes it up again.
        await turn
        #expect(try await fixture.status(of: left) == .completed)
        let ended = try await fixture.row(left.plan.orderID)
        #expect(ended.epoch == 3)

        gate.open()
        try await eventually { warnings("somebody else has taken this saga over, or has ended it") == 1 }
        #expect(try await fixture.row(left.plan.orderID) == ended)
        #expect(fixture.shop.unreturnedCharges == [left.plan.chargeID])
    }

    @Test("a client's checkout whose driver hangs gives its place back as well")
    func stuckCheckout() async throws {
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout(key: "hangs")
            await gate.arrival()
            #expect(try await client.checkout(key: "other").code == "overloaded")
            try await turns(2, each: fixture.parts.configuration.longestDrive)
            #expect(fixture.parts.runner.leases.isEmpty)
            #expect(try await client.checkout(key: "other").status == 200)
            #expect(try await client.checkout(key: "hangs").status == 200)
            gate.open()
            #expect(try await pending.status == 200)
        }
        #expect(fixture.shop.unreturnedCharges.count == 2)
    }
}
