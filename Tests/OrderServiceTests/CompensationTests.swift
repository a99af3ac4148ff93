import PaymentAPI
import Resilience
import ServiceClient
import TestSupport
import Testing

@testable import OrderService

@Suite("A checkout that must go back, or insist on going forward", .timeLimit(.minutes(5)))
struct CompensationTests {
    // MARK: - Complete refused

    @Test("when the goods are lost after the charge, they are released, then the charge is refunded, each by its id")
    func completeRefused() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.complete, .refuse(.conflict))
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == 503)
            #expect(answer.code == "checkout-unavailable")
            #expect(answer.header("Retry-After") == "1")
            #expect(fixture.shop.operations == [.reserve, .charge, .complete, .release, .refund])
            let orders = try await client.get("/orders")
            let reservationID = try #require(orders.text("orders/0/reservationId"))
            let chargeID = try #require(orders.text("orders/0/chargeId"))
            #expect(fixture.shop.calls[3] == .release(reservationID: reservationID))
            guard case .refund(let refund)? = fixture.shop.calls.last else { return }
            #expect(refund.chargeID == chargeID)
            #expect(fixture.shop.charge(chargeID) == .returned)
            #expect(orders.text("orders/0/status") == "failed")
            #expect(orders.text("orders/0/failure/code") == "reservationLost")
        }
    }

    @Test("the key then executes anew, with new ids and a charge of its own (IK-24)")
    func again() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.complete, .refuse(.conflict))
        try await fixture.run { client in
            #expect(try await client.checkout().status == 503)
            let failed = try await client.get("/orders")
            let answer = try await client.checkout()

            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
            for id in ["orderId", "reservationId", "chargeId"] {
                let failedID = try #require(failed.text("orders/0/\(id)"))
                #expect(answer.text(id) != failedID)
            }
            let chargeID = try #require(answer.text("chargeId"))
            #expect(fixture.shop.unreturnedCharges == [chargeID])
            #expect(fixture.shop.operations.suffix(3) == [.reserve, .charge, .complete])
        }
    }

    // MARK: - Complete unknown or not executed

    @Test(
        "a complete without a definite answer is repeated until it has one: after the charge the way is forward",
        arguments: [
            Reply.commitThenLose(.timedOut), .lose(.garbled), .notExecuted(.unavailable), .notSent(.unreachable),
        ])
    func completeRepeated(_ reply: Reply) async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.complete) { $0 <= 6 ? reply : .answer }
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == 200)
            let expected: [Operation] = [.reserve, .charge] + Array(repeating: .complete, count: 7)
            #expect(fixture.shop.operations == expected)
            #expect(fixture.shop.reservation(try #require(answer.text("reservationId"))) == .completed)
        }
        #expect(fixture.sleeps == OrderFixture.backoff + [.seconds(1), .seconds(1)])
    }

    // MARK: - Release fails for a time

    @Test(
        "while a release fails the client has its answer, the key waits, and the release goes on until it is done"
    )
    func releaseLater() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge, .refuse(.declined))
        fixture.shop.script(.release) { call in
            call <= 3 ? .notSent(.unreachable) : call <= 7 ? .lose(.timedOut) : .answer
        }
        try await fixture.run { client in
            #expect(try await client.checkout().status == 402)
            try await fixture.idle()
            #expect(fixture.shop.operations.count { $0 == .release } == 5)
            let orders = try await client.get("/orders")
            #expect(orders.text("orders/0/status") == "pending")
            #expect(try await client.checkout().status == 409)

            let orderID = try #require(orders.text("orders/0/orderId"))
            try await fixture.recover()
            #expect(try await client.status(ofOrder: orderID) == "failed")
            let reservationID = try #require(orders.text("orders/0/reservationId"))
            #expect(fixture.shop.reservation(reservationID) == .canceled)
            #expect(fixture.shop.operations.count { $0 == .release } == 8)
            #expect(try await client.checkout().status == 200)
        }
        // The client's round waits here; those after it wait in the store.
        #expect(fixture.sleeps == OrderFixture.backoff)
    }

    @Test("nothing is refunded before the release is known to be done, even when it is refused for a time")
    func releaseRefused() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.complete, .refuse(.conflict))
        fixture.shop.script(.release) { call in
            call == 1 ? .refuse(.conflict) : call <= 4 ? .lose(.timedOut) : .wait(gate, then: .answer)
        }
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            #expect(!fixture.shop.operations.contains(.refund))
            #expect(fixture.shop.unreturnedCharges.count == 1)

            gate.open()
            let answer = try await pending
            #expect(answer.status == 503)
            #expect(fixture.shop.operations.suffix(2) == [.release, .refund])
            #expect(fixture.shop.unreturnedCharges.isEmpty)
        }
    }

    // MARK: - Refund fails for a time

    @Test("a refund is repeated under the same id until it is done, and the checkout has not failed before")
    func refundLater() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.complete, .refuse(.conflict))
        fixture.shop.script(.refund) { call in
            switch call {
            case 1...4: .notExecuted(.unavailable)
            case 5: .commitThenLose(.timedOut)
            case 6: .refuse(Refusal(code: "refund-exceeds-charge", detail: "Nothing is left."))
            default: .wait(gate, then: .answer)
            }
        }
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            #expect(try await client.get("/orders").text("orders/0/status") == "pending")

            gate.open()
            let answer = try await pending
            #expect(answer.status == 503)
            #expect(try await client.get("/orders").text("orders/0/status") == "failed")
            let refunds = fixture.shop.calls.filter { $0.operation == .refund }
            #expect(refunds.count == 7)
            #expect(refunds.allSatisfy { $0 == refunds.first })
            #expect(fixture.shop.operations.count { $0 == .release } == 1)
        }
    }

    @Test("a refund that outlasts the deadline is answered 504, and goes on")
    func refundAfterDeadline() async throws {
        let fixture = try OrderFixture()
        let time = fixture.test.time
        let end = time.uptime + .seconds(31)
        fixture.shop.script(.complete, .refuse(.conflict))
        fixture.shop.script(.refund) { _ in time.uptime < end ? .notExecuted(.unavailable) : .answer }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 504)
            #expect(answer.code == "outcome-unknown")
            try await fixture.idle()
            #expect(fixture.shop.unreturnedCharges.count == 1)
            #expect(try await client.get("/orders").text("orders/0/status") == "pending")

            try await fixture.recover()
            #expect(try await client.get("/orders").text("orders/0/status") == "failed")
            #expect(fixture.shop.unreturnedCharges.isEmpty)
        }
    }

    // MARK: - The store

    @Test("without its intent on disk a checkout calls nobody (IK-23)")
    func storeFullAtStart() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store))
        try await fixture.run { client in
            store.failNext()
            let answer = try await client.checkout()
            #expect(answer.status == 503)
            #expect(answer.code == "store-unavailable")
            #expect(fixture.shop.calls.isEmpty)
            #expect(try await client.checkout().status == 200)
        }
    }

    @Test("a step back is not taken before it is stored, however often the store refuses")
    func storeFullInTheMiddle() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store))
        let atCharge = Gate()
        fixture.shop.script(.charge, .wait(atCharge, then: .refuse(.declined)))
        try await fixture.run { client in
            async let pending = client.checkout()
            await atCharge.arrival()
            store.failNext(3)
            atCharge.open()
            let answer = try await pending
            #expect(answer.status == 504)

            // Only then is the store free of failures that a reading would take for itself.
            try await eventually { fixture.sleeps.count == 3 }
            try await eventually { try await client.get("/orders").text("orders/0/status") == "failed" }
            #expect(fixture.shop.operations == [.reserve, .charge, .release])
        }
        #expect(fixture.sleeps == [.seconds(1), .seconds(2), .seconds(4)])
    }

    @Test("a completed order is not answered before it is stored")
    func storeFullAtEnd() async throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = OrderFixture(test, test.environment(on: store))
        let atComplete = Gate()
        fixture.shop.script(.complete, .wait(atComplete, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await atComplete.arrival()
            store.failNext()
            atComplete.open()
            let answer = try await pending
            #expect(answer.code == "outcome-unknown")

            try await eventually { try await client.get("/orders").text("orders/0/status") == "completed" }
            let replay = try await client.checkout()
            #expect(replay.status == 200)
            #expect(replay.isReplayed)
        }
    }
}
