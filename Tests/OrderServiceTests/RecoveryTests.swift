import Correlation
import Idempotency
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

@Suite("Orders that an earlier process left unfinished", .timeLimit(.minutes(1)))
struct RecoveryTests {
    private static let goods = FakeShop.goods([LineRequest(itemID: 1, quantity: 2)])
    private static let failure = Failure(.declined)

    // MARK: - Every step that may be found

    @Test("an order before its first call is carried out, under the ids it was stored with, and its key replays it")
    func reserving() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.reserving)
        try await fixture.recover()

        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
        #expect(fixture.shop.reservation(left.plan.reservationID) == .completed)
        #expect(fixture.shop.charge(left.plan.chargeID) == .taken)
        try await fixture.run { client in
            let replay = try await client.checkout(key: left.order.key, user: left.plan.user)
            #expect(replay.status == 200)
            #expect(replay.isReplayed)
            #expect(replay.text("orderId") == left.plan.orderID)
            #expect(replay.text("chargeId") == left.plan.chargeID)
        }
    }

    @Test("an order whose charge was made already is not charged again, and goes forward (hazard 15)")
    func chargedBefore() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.reserving)
        fixture.shop.arrange(reservation: left.plan.reservationID, .reserved)
        fixture.shop.arrange(charge: left.plan.chargeID, .taken)
        try await fixture.recover()

        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
        #expect(fixture.shop.unreturnedCharges == [left.plan.chargeID])
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("an order that was completed, but not stored as such, is found completed")
    func completedBefore() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.reserving)
        fixture.shop.arrange(reservation: left.plan.reservationID, .completed)
        fixture.shop.arrange(charge: left.plan.chargeID, .taken)
        try await fixture.recover()
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("an order whose reservation is gone may have been charged: the charge is refunded, or canceled for good")
    func reservationGone() async throws {
        for chargeBefore in [FakeShop.ChargeState.taken, nil] {
            let fixture = try OrderFixture()
            let left = try await fixture.leave(.reserving)
            fixture.shop.arrange(reservation: left.plan.reservationID, .canceled)
            if let chargeBefore { fixture.shop.arrange(charge: left.plan.chargeID, chargeBefore) }
            try await fixture.recover()

            #expect(fixture.shop.operations == [.reserve, .refund])
            #expect(fixture.shop.charge(left.plan.chargeID) == (chargeBefore == nil ? .canceled : .returned))
            #expect(try await fixture.status(of: left) == .failed)
        }
    }

    @Test("an order that was charging, or completing, goes forward from there")
    func forward() async throws {
        for (step, operations) in [
            (Saga.Step.charging(Self.goods), [Operation.charge, .complete]), (.completing(Self.goods), [.complete]),
        ] {
            let fixture = try OrderFixture()
            let left = try await fixture.leave(step)
            fixture.shop.arrange(reservation: left.plan.reservationID, .reserved)
            fixture.shop.arrange(charge: left.plan.chargeID, .taken)
            try await fixture.recover()

            #expect(fixture.shop.operations == operations)
            #expect(fixture.shop.reservation(left.plan.reservationID) == .completed)
            #expect(try await fixture.status(of: left) == .completed)
        }
    }

    @Test("a charge that an earlier process may have made is not given up because this one cannot reach Payment")
    func chargeNotExecuted() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.charging(Self.goods))
        fixture.shop.arrange(reservation: left.plan.reservationID, .reserved)
        fixture.shop.script(.charge) { $0 <= 6 ? .notExecuted(.unreachable) : .answer }
        try await fixture.recover()

        #expect(!fixture.shop.operations.contains(.release))
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("an order that is unknown to a Stock which cannot be reached is asked about until Stock answers")
    func reserveUnknown() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.reserving)
        fixture.shop.script(.reserve) { call in
            call <= 5 ? .notExecuted(.unreachable) : call <= 7 ? .lose(.timedOut) : .answer
        }
        try await fixture.recover()

        #expect(!fixture.shop.operations.contains(.release))
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("an order that was going back goes on going back, and no further than it was decided")
    func backward() async throws {
        let steps: [(Saga.Step, [Operation])] = [
            (.releasing(Self.failure, thenRefund: false), [.release]),
            (.releasing(.reservationLost, thenRefund: true), [.release, .refund]),
            (.refunding(.reservationLost), [.refund]),
        ]
        for (step, operations) in steps {
            let fixture = try OrderFixture()
            let left = try await fixture.leave(step)
            fixture.shop.arrange(reservation: left.plan.reservationID, .reserved)
            if operations.contains(.refund) { fixture.shop.arrange(charge: left.plan.chargeID, .taken) }
            try await fixture.recover()

            #expect(fixture.shop.operations == operations)
            #expect(fixture.shop.unreturnedCharges.isEmpty)
            #expect(try await fixture.status(of: left) == .failed)
            try await fixture.run { client in
                let again = try await client.checkout(key: left.order.key, user: left.plan.user)
                #expect(again.status == 200)
                #expect(!again.isReplayed)
                #expect(again.text("orderId") != left.plan.orderID)
            }
        }
    }

    @Test("until it is taken up, the key of an unfinished order is in progress, and bound to its command")
    func keyBefore() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.reserving)
        try await fixture.run { client in
            #expect(try await client.checkout(key: left.order.key, user: left.plan.user).status == 409)
            let other = try await client.checkout(
                #"{"itemId":9,"quantity":2}"#, key: left.order.key, user: left.plan.user)
            #expect(other.status == 422)
        }
        #expect(fixture.shop.calls.isEmpty)
    }

    @Test("an order that has ended is not taken up")
    func ended() async throws {
        let fixture = try OrderFixture()
        _ = try await fixture.leave(
            .completed(Self.goods), response: StoredResponse(status: 200, body: Array("{}".utf8)))
        _ = try await fixture.leave(.failed(Self.failure))
        try await fixture.recover()
        #expect(fixture.shop.calls.isEmpty)
    }

    // MARK: - Many

    @Test("every order is taken up, when there are more of them than a page has, and only so many at once")
    func pages() async throws {
        let fixture = try OrderFixture(maximumInFlight: 1000)
        let count = Recovery.pageSize + 5
        for _ in 0..<count { _ = try await fixture.leave(.reserving) }
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

    @Test("every order is taken up, when fewer may be under way than are left")
    func placesShort() async throws {
        let fixture = try OrderFixture(maximumInFlight: 3)
        for _ in 0..<10 { _ = try await fixture.leave(.reserving) }
        try await fixture.recover()
        let totals = try await fixture.run { try await $0.get("/audit/totals") }
        #expect(totals.integer("orders/completed") == 10)
    }

    @Test("an order that cannot be read is left as it is and does not keep the others from being taken up (hazard 22)")
    func unreadable() async throws {
        let fixture = try OrderFixture(maximumSleeps: 100)
        let first = try await fixture.leave(.reserving)
        let second = try await fixture.leave(.reserving)
        let changed = try await fixture.environment.store.transaction { transaction in
            try transaction.run(
                #"UPDATE orders SET saga = replace(saga, '"version":1', '"version":2') WHERE order_id = ?"#,
                [.text(first.plan.orderID)])
        }
        try #require(changed == 1)
        try await fixture.recover()

        #expect(try await fixture.status(of: second) == .completed)
        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
        #expect(fixture.test.log.lines.contains { $0.contains(first.plan.orderID) && $0.contains("critical") })
    }

    @Test("while the store cannot be read, recovery waits and tries again")
    func storeFails() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store))
        let left = try await fixture.leave(.reserving)
        store.failNext(2)
        try await fixture.recover()
        #expect(try await fixture.status(of: left) == .completed)
        #expect(fixture.sleeps == [.seconds(1), .seconds(1)])
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
            try await fixture.recover()
            #expect(fixture.shop.operations == [.reserve])
            gate.open()
            #expect(try await pending.status == 200)
        }
        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
    }

    @Test("an order that ends between its reading and its being taken up is left alone")
    func endedMeanwhile() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store), maximumInFlight: 1)
        let atCharge = Gate()
        let afterReading = Gate()
        fixture.shop.script(.charge) { call in
            let failing = Reply.notExecuted(.unreachable)
            return call == 1 ? .wait(atCharge, then: failing) : failing
        }
        try await fixture.run { client in
            async let pending = client.checkout()
            await atCharge.arrival()
            store.holdNext(at: afterReading)
            async let recovered: Void = fixture.recover()
            await afterReading.arrival()

            atCharge.open()
            #expect(try await pending.status == 503)
            // The place is given back just after the answer. A command that its key refuses shows that it is free.
            try await eventually { try await client.checkout(#"{"itemId":9,"quantity":1}"#).status == 422 }
            let calls = fixture.shop.calls.count
            fixture.shop.script(.charge)
            afterReading.open()
            try await recovered
            #expect(fixture.shop.calls.count == calls)
        }
    }

    @Test("a process that was frozen at its charge, and wakes after another has ended its order, changes nothing (18)")
    func frozen() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let first = OrderFixture(test, test.environment)
        let second = OrderFixture(test, test.environment, shop: first.shop)
        let gate = Gate()
        first.shop.script(.charge, .wait(gate, then: .answer))
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            try await second.recover()
            let ended = try await client.checkout()
            #expect(ended.status == 200)
            #expect(ended.isReplayed)

            gate.open()
            let late = try await pending
            #expect(late.status == 200)
            #expect(late.body == ended.body)
            #expect(try await client.checkout().body == ended.body)
            #expect(try await client.get("/orders").count("orders") == 1)
        }
        #expect(first.shop.unreturnedCharges.count == 1)
    }
}

/// An order as an earlier process stored it.
struct LeftOrder: Sendable {
    let order: Order
    var plan: OrderPlan { order.record.plan }
}

extension OrderFixture {
    /// Stores an order of ada's, two of item 1, that stands at a step, as a process would have that ended there.
    fileprivate func leave(_ step: Saga.Step, response: StoredResponse? = nil) async throws -> LeftOrder {
        let identifiers = environment.identifiers
        let plan = OrderPlan(
            orderID: identifiers.next(), reservationID: identifiers.next(), chargeID: identifiers.next(),
            refundID: identifiers.next(), user: "ada", lines: [LineRequest(itemID: 1, quantity: 2)], method: nil)
        let now = environment.time.now
        func order(_ step: Saga.Step) -> Order {
            Order(
                record: SagaRecord(plan: plan, step: step, history: [HistoryEntry(at: now, event: "created")]),
                key: "key-\(plan.orderID)", createdAt: now, updatedAt: now)
        }
        let command = try CheckoutRequest(json: try JSONParser.parse(Self.body.utf8))
        let log = SagaLog(environment)
        let claim = try await log.begin(order(.reserving), fingerprint: command.fingerprint)
        try #require(claim == .started(attempt: 1))
        if step != .reserving { try await log.save(order(step), response: response) }
        return LeftOrder(order: order(step))
    }

    /// Takes up what was left, to its end.
    fileprivate func recover() async throws {
        try await #require(recovery).resumeAll()
    }

    fileprivate func status(of left: LeftOrder) async throws -> Order.Status? {
        try await SagaLog(environment).order(left.plan.orderID, user: left.plan.user)?.status
    }
}
