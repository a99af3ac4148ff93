import PaymentAPI
import ServiceClient
import TestSupport
import Testing

@testable import OrderService

@Suite("A charge that Payment did not execute, and a copy of which may still arrive", .timeLimit(.minutes(5)))
struct ChargeCancelTests {
    @Test("a charge that Payment did not execute is canceled by its id after the release, and then the key is free")
    func notExecuted() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { $0 <= 5 ? .notExecuted(.unavailable) : .answer }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 503)
            #expect(answer.code == "checkout-unavailable")
            let expected: [Operation] = [.reserve, .charge, .charge, .charge, .charge, .charge, .release, .refund]
            #expect(fixture.shop.operations == expected)
            let orders = try await client.get("/orders")
            let chargeID = try #require(orders.text("orders/0/chargeId"))
            #expect(fixture.shop.charge(chargeID) == .canceled)
            #expect(orders.text("orders/0/status") == "failed")

            let again = try await client.checkout()
            #expect(again.status == 200)
            #expect(again.text("chargeId") != chargeID)
        }
        #expect(fixture.sleeps == OrderFixture.backoff)
    }

    @Test(
        "one attempt that Payment did not execute, among those that were not sent, is enough for its id to be canceled")
    func partlyNotExecuted() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { $0 == 2 ? .notExecuted(.unavailable) : .notSent(.unreachable) }
        #expect(try await fixture.checkout().status == 503)
        #expect(fixture.shop.operations.suffix(2) == [.release, .refund])
    }

    @Test("a copy of a charge that was not executed, and arrives before its id is canceled, is given back (hazard 5)")
    func earlyCopy() async throws {
        let fixture = try OrderFixture()
        let atRelease = Gate()
        fixture.shop.script(.charge) { $0 <= 5 ? .notExecuted(.unavailable) : .answer }
        fixture.shop.script(.release, .wait(atRelease, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await atRelease.arrival()
            let (command, context) = try fixture.lastCharge()
            try await fixture.shop.charge(command, context)
            #expect(fixture.shop.unreturnedCharges == [command.chargeID])

            atRelease.open()
            #expect(try await pending.status == 503)
            #expect(fixture.shop.charge(command.chargeID) == .returned)
        }
    }

    @Test("a copy of a charge that was not executed, and arrives after its id was canceled, takes no money (hazard 5)")
    func lateCopy() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { $0 <= 5 ? .notExecuted(.unavailable) : .answer }
        #expect(try await fixture.checkout().status == 503)
        let (command, context) = try fixture.lastCharge()
        await #expect(throws: CallFailure.self) { try await fixture.shop.charge(command, context) }
        #expect(fixture.shop.unreturnedCharges.isEmpty)
    }

    @Test("while the cancel fails the client has its answer, and the order has not failed before the id is canceled")
    func cancelLater() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { _ in .notExecuted(.unavailable) }
        fixture.shop.script(.refund) { $0 <= 7 ? .lose(.timedOut) : .answer }
        try await fixture.run { client in
            #expect(try await client.checkout().status == 503)
            try await fixture.idle()
            let orderID = try await fixture.onlyOrderID()
            #expect(try await fixture.stored(orderID, user: "")?.record.step.name == "canceling")
            #expect(try await client.checkout().status == 409)

            try await fixture.recover()
            #expect(try await client.status(ofOrder: orderID) == "failed")
        }
        let refunds = fixture.shop.calls.filter { $0.operation == .refund }
        #expect(refunds.count == 8)
        #expect(refunds.allSatisfy { $0 == refunds.first })
        #expect(fixture.shop.operations.count { $0 == .release } == 1)
    }
}

extension OrderFixture {
    /// The last charge that was asked for, for a copy of it to arrive.
    fileprivate func lastCharge() throws -> (ChargeCommand, CallContext) {
        for (call, context) in zip(shop.calls, shop.contexts).reversed() {
            if case .charge(let command) = call { return (command, context) }
        }
        throw CallFailure.notSent(.unreachable)
    }
}
