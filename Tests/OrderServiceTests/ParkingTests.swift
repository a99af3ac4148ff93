import Resilience
import ServiceClient
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import OrderService

@Suite("A saga that does not come to an end", .timeLimit(.minutes(5)))
struct ParkingTests {
    /// Opens at the third failure in a row, and for longer than a parked saga waits.
    private static let breaker = CircuitBreaker.Settings(
        minimumCalls: .max, consecutiveFailures: 3, openFor: .seconds(10))

    private static let command = #"{"operator":"ann","reason":"the provider is back"}"#

    private let fixture: OrderFixture
    private let orderID: String

    /// An order with a refund that fails, tried three times and parked.
    init() async throws {
        fixture = try OrderFixture(parkAfterRounds: 3, breaker: Self.breaker)
        fixture.shop.script(.refund) { _ in .lose(.timedOut) }
        orderID = try await fixture.leave(.refunding(.sample)).plan.orderID
        try await fixture.recover()
    }

    private var refunds: Int { fixture.shop.operations.count { $0 == .refund } }

    private func isParked() async throws -> Bool { try await fixture.row(orderID).parkedFor != nil }

    @Test(
        "is parked after so many rounds, with its reason in the store, the history and the log, and counted (hazard 9)")
    func parked() async throws {
        #expect(refunds == 3)
        let row = try await fixture.row(orderID)
        #expect(row.status == "pending")
        #expect(row.owner == "")
        #expect(row.rounds == 3)
        #expect(row.parkedFor == "refunding: not done in 3 rounds")
        #expect(row.dueAt == fixture.test.time.now.advanced(by: .seconds(60)))
        let order = try #require(try await fixture.stored(orderID))
        #expect(order.record.history.last?.event == "parked: refunding: not done in 3 rounds")
        #expect(
            fixture.test.log.lines.contains { $0.contains("error") && $0.contains("parked") && $0.contains(orderID) })
        let totals = try await fixture.run { try await $0.get("/audit/totals") }
        #expect(totals.integer("orders/parked") == 1)
        #expect(totals.integer("orders/pending") == 1)
    }

    @Test("counts its rounds on when it is taken up at completing, although it asks for its charge again before that")
    func completing() async throws {
        let fixture = try OrderFixture(parkAfterRounds: 3, breaker: Self.breaker)
        fixture.shop.script(.complete) { _ in .lose(.timedOut) }
        let plan = try await fixture.leave(.completing(.sample)).plan
        try await fixture.recover()
        let row = try await fixture.row(plan.orderID)
        #expect(row.rounds == 3)
        #expect(row.parkedFor == "completing: not done in 3 rounds")
        #expect(fixture.shop.operations.count { $0 == .complete } == 3)
    }

    @Test("counts its rounds on at completing, also when its charge has no answer now and then")
    func hiccups() async throws {
        let fixture = try OrderFixture(parkAfterRounds: 6, breaker: Self.breaker)
        let charges = Mutex(0)
        fixture.shop.script(.complete) { _ in .lose(.timedOut) }
        fixture.shop.script(.charge) { _ in
            let count = charges.withLock { count in
                count += 1
                return count
            }
            return count.isMultiple(of: 3) ? .lose(.timedOut) : .answer
        }
        let plan = try await fixture.leave(.completing(.sample)).plan
        try await fixture.recover()
        #expect(try await fixture.row(plan.orderID).parkedFor?.hasSuffix("not done in 6 rounds") == true)
    }

    @Test("counts anew at completing when its charge has gone through at last")
    func chargedAtLast() async throws {
        let fixture = try OrderFixture(parkAfterRounds: 6, breaker: Self.breaker)
        fixture.shop.script(.charge) { $0 <= 5 ? .lose(.timedOut) : .answer }
        fixture.shop.script(.complete) { $0 <= 2 ? .lose(.timedOut) : .answer }
        let left = try await fixture.leave(.charging(.sample))
        try await fixture.recover()
        #expect(try await fixture.status(of: left) == .completed)
        let order = try #require(try await fixture.stored(left.plan.orderID))
        #expect(!order.record.history.contains { $0.event.hasPrefix("parked") })
    }

    @Test("is tried again now and then, for as long as it takes, and is never dropped")
    func triedAgain() async throws {
        for again in 1...100 {
            fixture.test.time.advance(by: .milliseconds(59_999))
            await fixture.parts.recovery.takeUpDue()
            #expect(refunds == 2 + again)
            fixture.test.time.advance(by: .milliseconds(1))
            await fixture.parts.recovery.takeUpDue()
            #expect(refunds == 3 + again)
            #expect(try await isParked())
        }
        fixture.shop.script(.refund)
        fixture.test.time.advance(by: .seconds(60))
        await fixture.parts.recovery.takeUpDue()
        let row = try await fixture.row(orderID)
        #expect(row.status == "failed")
        #expect(row.parkedFor == nil)
        let order = try #require(try await fixture.stored(orderID))
        #expect(order.record.history.last?.event == "refund succeeded")
    }

    @Test("is tried again at once when the operator says so, who is told how it stands each time")
    func operatorsRetry() async throws {
        fixture.shop.script(.refund)
        try await fixture.operate { client in
            // Also when it has become due in between, by another call or by itself.
            for _ in 0..<3 {
                let answer = try await client.post("/sagas/\(orderID)/retry", Self.command)
                #expect(answer.status == 200)
                #expect(answer.text("orderId") == orderID)
                #expect(answer.text("state") == "due")
                fixture.test.time.advance(by: .seconds(61))
            }
            #expect(refunds == 3)
            await fixture.parts.recovery.takeUpDue()
            #expect(refunds == 4)
            #expect(try await fixture.row(orderID).status == "failed")

            let ended = try await client.post("/sagas/\(orderID)/retry", Self.command)
            #expect(ended.status == 409)
            #expect(ended.code == "order-state-conflict")
            #expect(ended.value("retryable") == .bool(false))
            let unknown = try await client.post("/sagas/none/retry", Self.command)
            #expect(unknown.status == 404)
            #expect(unknown.code == "order-not-found")
        }
    }

    @Test("is said to be under way while it is being tried, and a retry changes nothing then")
    func operatorsRetryUnderWay() async throws {
        let gate = Gate()
        fixture.shop.script(.refund) { _ in .wait(gate, then: .answer) }
        fixture.test.time.advance(by: .seconds(60))
        async let turn: Void = fixture.parts.recovery.takeUpDue()
        await gate.arrival()
        let row = try await fixture.row(orderID)
        let answer = try await fixture.operate { try await $0.post("/sagas/\(orderID)/retry", Self.command) }
        #expect(answer.status == 200)
        #expect(answer.text("state") == "under_way")
        #expect(try await fixture.row(orderID) == row)
        gate.open()
        await turn
        #expect(try await fixture.row(orderID).status == "failed")
    }

    @Test("an order that only pauses is tried at once as well when the operator says so")
    func operatorsRetryOfPause() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.release, .lose(.timedOut))
        let left = try await fixture.leave(.releasing(.sample, then: .nothing))
        try await fixture.parts.recovery.disownAll()
        await fixture.parts.recovery.takeUpDue()
        try #require(try await fixture.row(left.plan.orderID).dueAt > fixture.test.time.now)
        let answer = try await fixture.operate { try await $0.post("/sagas/\(left.plan.orderID)/retry", Self.command) }
        #expect(answer.text("state") == "due")
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.status(of: left) == .failed)
    }

    @Test("is tried again when the breaker has closed, and not when it is merely half open")
    func breakerCloses() async throws {
        let (recovery, payment) = (fixture.parts.recovery, fixture.parts.caller.paymentBreaker)
        try #require(payment.current == .open)
        func turn() async throws {
            try await recovery.makeWaitingDue()
            await recovery.takeUpDue()
        }
        try await turn()
        fixture.test.time.advance(by: .seconds(10))
        try #require(payment.current == .halfOpen)
        try await turn()
        #expect(refunds == 3)

        payment.record(.success, of: try #require(payment.admit()))
        try #require(payment.current == .closed)
        fixture.shop.script(.refund)
        try await turn()
        #expect(refunds == 4)
        #expect(try await fixture.row(orderID).status == "failed")
    }

    @Test("when the breaker has closed, all parked sagas are tried again, also when the store fails at first")
    func manyParked() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store), parkAfterRounds: 1, breaker: Self.breaker)
        fixture.shop.script(.refund) { _ in .lose(.timedOut) }
        let count = Recovery.pageSize + 10
        for _ in 0..<count { try await fixture.leave(.refunding(.sample)) }
        try await fixture.recover()
        try await fixture.parts.recovery.makeWaitingDue()
        fixture.shop.script(.refund)
        let payment = fixture.parts.caller.paymentBreaker
        try #require(payment.current == .open)
        test.time.advance(by: .seconds(10))
        payment.record(.success, of: payment.pass())

        // The search for silent owners comes through, the unparking does not.
        store.failNext(1, after: 1)
        await #expect(throws: (any Error).self) { try await fixture.parts.recovery.makeWaitingDue() }
        try await fixture.parts.recovery.makeWaitingDue()
        await fixture.parts.recovery.takeUpDue()
        let totals = try await fixture.run { try await $0.get("/audit/totals") }
        #expect(totals.integer("orders/failed") == Int64(count))
    }

    @Test("without any trouble seen before, parked sagas are not made due")
    func noTrouble() async throws {
        let fixture = try OrderFixture(parkAfterRounds: 1)
        fixture.shop.script(.refund) { _ in .lose(.timedOut) }
        try await fixture.leave(.refunding(.sample))
        try await fixture.recover()
        for _ in 0..<3 {
            try await fixture.parts.recovery.makeWaitingDue()
            await fixture.parts.recovery.takeUpDue()
        }
        #expect(fixture.shop.operations == [.refund])
    }

    @Test("an event that does not belong to its saga's step parks the saga, and does nothing else")
    func strangeEvent() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let shop = FakeShop()
        let parts = OrderService.Parts(
            test.environment, stock: shop, payment: shop, configuration: OrderConfiguration(breaker: .never),
            decide: { _, _ in nil })
        let fixture = OrderFixture(test, test.environment, shop: shop)
        let left = try await fixture.leave(.refunding(.sample))
        try await parts.recovery.disownAll()
        await parts.recovery.takeUpDue()
        #expect(shop.operations == [.refund])
        #expect(try await fixture.row(left.plan.orderID).parkedFor == "an event did not belong to its step")
        #expect(test.log.lines.contains { $0.contains("critical") && $0.contains(left.plan.orderID) })
        #expect(try await fixture.status(of: left) == .pending)
    }
}
