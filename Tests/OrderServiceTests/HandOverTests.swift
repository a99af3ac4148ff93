import Logging
import ServiceKit
import ServiceLifecycle
import TestSupport
import Testing

@testable import OrderService

@Suite("What becomes of sagas when their process stops", .timeLimit(.minutes(5)))
struct HandOverTests {
    private let test: TestEnvironment
    private let first: OrderFixture
    private let second: OrderFixture
    private let gate = Gate()

    init() throws {
        test = try TestEnvironment(migrations: OrderSchema.migrations, maximumSleeps: .max)
        first = OrderFixture(test, test.environment)
        second = OrderFixture(test, test.environment, shop: first.shop)
        first.shop.script(.reserve, .wait(gate, then: .answer))
    }

    @Test("leases are renewed until nobody drives a saga any more: no process takes over from one that is draining")
    func renewedInDrain() async throws {
        let left = try await first.leave(.reserving)
        try await first.parts.recovery.disownAll()
        let services = first.service.background.filter { service in
            ["recovery", "lease renewal"].contains((service as? PeriodicTask)?.name)
        }
        try #require(services.count == 2)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: services, logger: test.environment.logger))
        async let running: Void = group.run()
        await gate.arrival()
        await group.triggerGracefulShutdown()
        let beat = try await first.row(left.plan.orderID).beat
        try await eventually { try await first.row(left.plan.orderID).beat > beat + 5 }
        #expect(try await first.row(left.plan.orderID).owner == first.parts.log.owner)
        gate.open()
        try await running
        // Taken once, by the one process; how far it came depends on how far the sleeper has moved the clock.
        #expect(try await first.row(left.plan.orderID).epoch == 2)
    }

    @Test("what a process still holds at its end is put down, and its successor takes it up at once")
    func handedOver() async throws {
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            try await first.service.handOver()
            let row = try await first.row(try await first.onlyOrderID())
            #expect(row.owner == "")
            #expect(row.dueAt == test.time.now)
            #expect(first.parts.runner.leases.isEmpty)

            await second.parts.recovery.takeUpDue()
            #expect(try await first.row(try await first.onlyOrderID()).status == "completed")
            gate.open()
            #expect(try await pending.status == 200)
        }
        #expect(first.shop.unreturnedCharges.count == 1)
    }

    @Test("what another process has taken over, what has ended, and what was put down is not touched")
    func onlyItsOwn() async throws {
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            let orderID = try await first.onlyOrderID()
            try await second.parts.recovery.disownAll()
            let atCharge = Gate()
            first.shop.script(.charge, .wait(atCharge, then: .answer))
            async let taken: Void = second.parts.recovery.takeUpDue()
            await atCharge.arrival()
            let row = try await first.row(orderID)
            try #require(row.owner == second.parts.log.owner)
            try await first.service.handOver()
            #expect(try await first.row(orderID) == row)
            atCharge.open()
            await taken
            gate.open()
            #expect(try await pending.status == 200)
        }
    }
}
