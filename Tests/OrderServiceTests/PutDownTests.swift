import Resilience
import ServiceClient
import TestSupport
import Testing

@testable import OrderService

@Suite("A saga that nobody waits for", .timeLimit(.minutes(5)))
struct PutDownTests {
    @Test("when its client's deadline has passed it is put down, and its place is free for another checkout")
    func placeIsFree() async throws {
        let fixture = try OrderFixture(maximumInFlight: 1)
        fixture.shop.script(.charge) { _ in .lose(.timedOut) }
        try await fixture.run { client in
            #expect(try await client.checkout(key: "first").status == 504)
            try await fixture.idle()
            let orderID = try await fixture.onlyOrderID()
            let row = try await fixture.row(orderID)
            #expect(row.status == "pending")
            #expect(row.owner == "")
            #expect(row.epoch == 1)
            #expect(row.dueAt == fixture.test.time.now)
            #expect(try await fixture.stored(orderID, user: "")?.record.step.name == "charging")

            fixture.shop.script(.charge)
            #expect(try await client.checkout(key: "second").status == 200)
        }
    }

    @Test("when its client has its answer already, it is put down after the round, with the pause that is due")
    func afterTheAnswer() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge, .refuse(.declined))
        fixture.shop.script(.release) { _ in .lose(.timedOut) }
        #expect(try await fixture.checkout().status == 402)
        try await fixture.idle()
        let orderID = try await fixture.onlyOrderID()
        let row = try await fixture.row(orderID)
        #expect(row.owner == "")
        #expect(row.rounds == 1)
        #expect(row.dueAt == fixture.test.time.now.advanced(by: .seconds(1)))
    }

    @Test("its rounds and its pause are stored: another process goes on where the first has stopped")
    func restart() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let first = OrderFixture(test, test.environment)
        first.shop.script(.release) { _ in .lose(.timedOut) }
        let left = try await first.leave(.releasing(.sample, then: .nothing))
        try await first.parts.recovery.disownAll()
        for _ in 0..<3 {
            await first.parts.recovery.takeUpDue()
            let row = try await first.row(left.plan.orderID)
            test.time.advance(by: .milliseconds(row.dueAt.milliseconds - test.time.now.milliseconds))
        }
        #expect(try await first.row(left.plan.orderID).rounds == 3)

        let second = OrderFixture(test, test.environment, shop: first.shop)
        try await second.parts.recovery.disownAll()
        await second.parts.recovery.takeUpDue()
        let row = try await second.row(left.plan.orderID)
        #expect(row.rounds == 4)
        #expect(row.dueAt == test.time.now.advanced(by: .seconds(8)))
        #expect(row.epoch == 5)
        #expect(first.shop.operations == [.release, .release, .release, .release])
    }

    @Test("a step that is taken begins to count its rounds anew")
    func newStep() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.release) { $0 <= 3 ? .lose(.timedOut) : .answer }
        fixture.shop.script(.refund) { _ in .lose(.timedOut) }
        let left = try await fixture.leave(.releasing(.sample, then: .refund))
        try await fixture.parts.recovery.disownAll()
        for _ in 0..<4 {
            await fixture.parts.recovery.takeUpDue()
            fixture.test.time.advance(by: .seconds(30))
        }
        #expect(fixture.shop.operations == [.release, .release, .release, .release, .refund])
        #expect(try await fixture.row(left.plan.orderID).rounds == 1)
        #expect(try await fixture.stored(left.plan.orderID)?.record.step == .refunding(.sample))
    }

    @Test("pauses grow up to the longest wait and stay there, and are apart by chance")
    func pauses() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let shop = FakeShop()
        let parts = OrderService.Parts(
            test.environment, stock: shop, payment: shop,
            configuration: OrderConfiguration(
                backoff: BackoffSchedule(cap: .seconds(5), random: { 0.5 }), parkAfterRounds: 100, breaker: .never))
        let fixture = OrderFixture(test, test.environment, shop: shop)
        shop.script(.refund) { _ in .lose(.timedOut) }
        let left = try await fixture.leave(.refunding(.sample))
        try await parts.recovery.disownAll()
        var pauses: [Duration] = []
        for _ in 0..<6 {
            await parts.recovery.takeUpDue()
            let row = try await fixture.row(left.plan.orderID)
            let pause = Duration.milliseconds(row.dueAt.milliseconds - test.time.now.milliseconds)
            pauses.append(pause)
            test.time.advance(by: pause)
        }
        #expect(pauses == [1.25, 2.25, 4.25, 5.25, 5.25, 5.25].map { .seconds($0) })
        #expect(pauses.allSatisfy { $0 < parts.configuration.longestWait })
    }

    // MARK: - Retry-After

    @Test(
        "the wait that its service asks for is the least that it pauses, up to the longest pause",
        arguments: [(0, 1), (1, 1), (7, 7), (30, 30), (3600, 30)])
    func retryAfter(_ asked: Int, _ pause: Int) async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.release, .notExecuted(.unavailable, retryAfter: .seconds(asked)), .lose(.timedOut))
        let left = try await fixture.leave(.releasing(.sample, then: .nothing))
        try await fixture.parts.recovery.disownAll()
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.row(left.plan.orderID).dueAt == fixture.test.time.now.advanced(by: .seconds(pause)))
        // It holds for the one pause after it: the next answer asks for nothing.
        fixture.test.time.advance(by: .seconds(pause))
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.row(left.plan.orderID).dueAt == fixture.test.time.now.advanced(by: .seconds(2)))
    }

    @Test("also while a client waits, between rounds as within them")
    func retryAfterBetweenRounds() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.complete) { $0 <= 5 ? .notExecuted(.unavailable, retryAfter: .seconds(3)) : .answer }
        #expect(try await fixture.checkout().status == 200)
        #expect(fixture.sleeps == [3, 3, 4, 8, 3].map { .seconds($0) })
    }

    @Test("what is left of that wait at its client's deadline is not forgotten")
    func retryAfterTheDeadline() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.complete) { _ in .notExecuted(.unavailable, retryAfter: .seconds(20)) }
        #expect(try await fixture.checkout().status == 504)
        try await fixture.idle()
        // One wait in the round, and half of the next one up to the deadline.
        #expect(fixture.sleeps == [.seconds(20), .seconds(10)])
        let row = try await fixture.row(try await fixture.onlyOrderID())
        #expect(row.dueAt == fixture.test.time.now.advanced(by: .seconds(10)))
    }

    @Test("an order's history is bounded, and keeps its beginning and its end")
    func history() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.release) { call in
            call > 200 ? .answer : call.isMultiple(of: 2) ? .lose(.timedOut) : .notSent(.unreachable)
        }
        let left = try await fixture.leave(.releasing(.sample, then: .nothing))
        try await fixture.recover(turns: 300)
        let history = try #require(try await fixture.stored(left.plan.orderID)).record.history
        #expect(history.count == SagaDrive.maximumHistory)
        #expect(history.first?.event == "created")
        #expect(history.last?.event == "release succeeded")
        #expect(history.map(\.at.milliseconds) == history.map(\.at.milliseconds).sorted())
    }
}
