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

@Suite("Orders that an earlier process left unfinished", .timeLimit(.minutes(5)))
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
            (Saga.Step.charging(Self.goods), [Operation.charge, .complete]),
            (.completing(Self.goods), [.charge, .complete]),
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

    @Test("an order whose charge Payment has lost with the tail of its store is not completed without it (hazard 50)")
    func chargeLost() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.completing(Self.goods))
        fixture.shop.arrange(reservation: left.plan.reservationID, .reserved)
        try await fixture.recover()
        #expect(fixture.shop.charge(left.plan.chargeID) == .taken)
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("an order that was taken up at other prices than it was charged at gives the first charge back (hazard 50)")
    func pricesLost() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.reserving)
        fixture.shop.arrange(charge: left.plan.chargeID, .others)
        try await fixture.recover()
        #expect(fixture.shop.operations == [.reserve, .charge, .release, .refund])
        #expect(fixture.shop.charge(left.plan.chargeID) == .returned)
        #expect(try await fixture.status(of: left) == .failed)
    }

    @Test("a charge that an earlier process may have made is not given up because this one cannot reach Payment")
    func chargeNotExecuted() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.charging(Self.goods))
        fixture.shop.arrange(reservation: left.plan.reservationID, .reserved)
        fixture.shop.script(.charge) {
            $0 <= 3 ? .notExecuted(.unavailable) : $0 <= 6 ? .notSent(.unreachable) : .answer
        }
        try await fixture.recover()

        #expect(!fixture.shop.operations.contains(.release))
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("an order that is unknown to a Stock which cannot be reached is asked about until Stock answers")
    func reserveUnknown() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.reserving)
        fixture.shop.script(.reserve) { call in
            call <= 5 ? .notSent(.unreachable) : call <= 7 ? .lose(.timedOut) : .answer
        }
        try await fixture.recover()

        #expect(!fixture.shop.operations.contains(.release))
        #expect(try await fixture.status(of: left) == .completed)
    }

    @Test("an order that was going back goes on going back, and no further than it was decided")
    func backward() async throws {
        let steps: [(Saga.Step, [Operation])] = [
            (.releasing(Self.failure, then: .nothing), [.release]),
            (.releasing(Self.failure, then: .cancel), [.release, .refund]),
            (.releasing(.reservationLost, then: .refund), [.release, .refund]),
            (.canceling(Self.failure), [.refund]),
            (.refunding(.reservationLost), [.refund]),
        ]
        for (step, operations) in steps {
            let fixture = try OrderFixture()
            let left = try await fixture.leave(step)
            fixture.shop.arrange(reservation: left.plan.reservationID, .reserved)
            let mayBeTaken = operations.contains(.refund)
            if mayBeTaken { fixture.shop.arrange(charge: left.plan.chargeID, .taken) }
            try await fixture.recover()

            #expect(fixture.shop.operations == operations)
            #expect(fixture.shop.charge(left.plan.chargeID) == (mayBeTaken ? .returned : nil))
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
        _ = try await fixture.leave(.completed(Self.goods))
        _ = try await fixture.leave(.failed(Self.failure))
        try await fixture.recover()
        #expect(fixture.shop.calls.isEmpty)
    }
}
