import Idempotency
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import Storage
import TestSupport
import Testing

@testable import OrderService

@Suite("The turns in which unfinished orders are taken up", .timeLimit(.minutes(5)))
struct RecoveryTurnTests {
    // MARK: - Many

    @Test("every order is taken up, when there are more of them than a page has, and only so many at once (hazard 21)")
    func pages() async throws {
        let fixture = try OrderFixture(maximumInFlight: 1000)
        let count = Recovery.pageSize + 5
        for _ in 0..<count { try await fixture.leave(.reserving) }
        let gate = Gate()
        fixture.shop.script(.reserve) { $0 <= Recovery.maximumConcurrent ? .wait(gate, then: .answer) : .answer }

        async let recovered: Void = fixture.recover()
        await gate.arrival(of: Recovery.maximumConcurrent)
        gate.open()
        try await recovered

        #expect(fixture.shop.operations.count { $0 == .reserve } == count)
        #expect(fixture.shop.mostRunning == Recovery.maximumConcurrent)
        let totals = try await fixture.run { try await $0.get("/audit/totals") }
        #expect(totals.integer("orders/completed") == Int64(count))
        #expect(totals.integer("orders/pending") == 0)
    }

    @Test("a saga that takes long keeps no other from being taken up by the next turn, and turns share their places")
    func besideSlowOne() async throws {
        let fixture = try OrderFixture(maximumInFlight: 1000)
        let gate = Gate()
        let slow = Recovery.maximumConcurrent / 2
        fixture.shop.script(.reserve) { $0 <= slow ? .wait(gate, then: .answer) : .answer }
        for _ in 0..<slow { try await fixture.leave(.reserving) }
        try await fixture.parts.recovery.disownAll()
        async let first: Void = fixture.parts.recovery.takeUpDue()
        await gate.arrival(of: slow)

        let later = Recovery.maximumConcurrent
        for _ in 0..<later { try await fixture.leave(.reserving) }
        try await fixture.parts.recovery.disownAll()
        async let second: Void = fixture.parts.recovery.takeUpDue()
        async let third: Void = fixture.parts.recovery.takeUpDue()
        _ = await (second, third)
        #expect(fixture.shop.operations.count { $0 == .complete } == later)
        gate.open()
        await first
        #expect(fixture.shop.operations.count { $0 == .complete } == slow + later)
        #expect(fixture.shop.mostRunning <= Recovery.maximumConcurrent)
    }

    @Test("every order is taken up, when fewer may be under way than are left")
    func placesShort() async throws {
        let fixture = try OrderFixture(maximumInFlight: 3)
        for _ in 0..<10 { try await fixture.leave(.reserving) }
        try await fixture.recover()
        let totals = try await fixture.run { try await $0.get("/audit/totals") }
        #expect(totals.integer("orders/completed") == 10)
    }

    @Test("orders that are taken up count among those under way, and do not turn a client away once they have ended")
    func places() async throws {
        let fixture = try OrderFixture(maximumInFlight: 1)
        try await fixture.leave(.reserving)
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let recovered: Void = fixture.recover()
            await gate.arrival()
            #expect(try await client.checkout().code == "overloaded")
            gate.open()
            try await recovered
            #expect(try await client.checkout().status == 200)
        }
    }

    // MARK: - What cannot be read

    @Test("an order that cannot be read is set aside and does not keep the others from being taken up (hazard 22)")
    func unreadable() async throws {
        let fixture = try OrderFixture()
        let first = try await fixture.leave(.reserving)
        let second = try await fixture.leave(.reserving)
        let changed = try await fixture.environment.store.transaction { transaction in
            try transaction.run(
                #"UPDATE orders SET saga = replace(saga, '"version":2', '"version":3') WHERE order_id = ?"#,
                [.text(first.plan.orderID)])
        }
        try #require(changed == 1)
        try await fixture.recover()

        #expect(try await fixture.status(of: second) == .completed)
        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
        #expect(fixture.test.log.lines.contains { $0.contains(first.plan.orderID) && $0.contains("critical") })
        // As it was, for the version that can read it: not under another epoch, and due again.
        let row = try await fixture.row(first.plan.orderID)
        #expect(row.status == "pending")
        #expect(row.owner == "")
        #expect(row.epoch == 1)
        #expect(row.parkedFor == "cannot be read by this version")
        #expect(row.dueAt == fixture.test.time.now.advanced(by: fixture.parts.configuration.parkedRetry))

        try await fixture.environment.store.transaction { transaction in
            _ = try transaction.run(
                #"UPDATE orders SET saga = replace(saga, '"version":3', '"version":2') WHERE order_id = ?"#,
                [.text(first.plan.orderID)])
        }
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.status(of: first) == .pending)
        fixture.test.time.advance(by: fixture.parts.configuration.parkedRetry)
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.status(of: first) == .completed)
    }

    @Test("while the store cannot be read, a turn is over with a line in the log, and the next one goes on")
    func storeFails() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store))
        let left = try await fixture.leave(.reserving)
        try await fixture.parts.recovery.disownAll()
        for turn in 1...2 {
            store.failNext()
            await fixture.parts.recovery.takeUpDue()
            #expect(fixture.shop.calls.isEmpty)
            let errors = test.log.lines.count { $0.contains("unfinished orders cannot be read") }
            #expect(errors == turn)
        }
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.status(of: left) == .completed)
        #expect(fixture.sleeps.isEmpty)
    }

    @Test("orders that were taken over before the store failed are driven, because nobody else may drive them now")
    func storeFailsInBetween() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store))
        let first = try await fixture.leave(.reserving)
        test.time.advance(by: .seconds(1))
        let second = try await fixture.leave(.reserving)
        try await fixture.parts.recovery.disownAll()
        // The search and the first order come through, the second one does not.
        store.failNext(1, after: 2)
        await fixture.parts.recovery.takeUpDue()

        #expect(test.log.lines.contains { $0.contains("unfinished orders cannot be read") })
        #expect(try await fixture.status(of: first) == .completed)
        #expect(try await fixture.status(of: second) == .completed)
        #expect(fixture.parts.runner.leases.isEmpty)
    }

    // MARK: - More than one driver

    @Test("an order that this process is at work on is not taken up a second time")
    func admittedHere() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            fixture.test.time.advance(by: .seconds(20))
            try await fixture.recover()
            #expect(fixture.shop.operations == [.reserve])
            gate.open()
            #expect(try await pending.status == 200)
        }
        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
    }

    @Test("an order that ends between its being found and its being taken up is left alone")
    func endedMeanwhile() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let second = OrderFixture(test, test.environment(on: store))
        let first = OrderFixture(test, test.environment, shop: second.shop)
        let atCharge = Gate()
        let afterReading = Gate()
        first.shop.script(.charge, .wait(atCharge, then: .refuse(.declined)))
        try await first.run { client in
            async let pending = client.checkout()
            await atCharge.arrival()
            try await second.parts.recovery.disownAll()
            store.holdNext(at: afterReading)
            async let recovered: Void = second.parts.recovery.takeUpDue()
            await afterReading.arrival()

            atCharge.open()
            #expect(try await pending.status == 402)
            let calls = first.shop.calls.count
            afterReading.open()
            await recovered
            #expect(first.shop.calls.count == calls)
        }
    }
}
