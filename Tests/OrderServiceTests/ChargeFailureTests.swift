import Resilience
import ServiceClient
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

@Suite("A checkout whose charge goes wrong", .timeLimit(.minutes(5)))
struct ChargeFailureTests {
    // MARK: - Refused

    @Test(
        "a declined charge is answered with its reason, and the goods are released",
        arguments: ["card_declined", "insufficient_funds", "payment_method_not_supported"])
    func declined(_ declineCode: String) async throws {
        let fixture = try OrderFixture()
        let refusal = Refusal(code: "payment-declined", detail: "Declined.", declineCode: declineCode)
        fixture.shop.script(.charge, .refuse(refusal))
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == 402)
            #expect(answer.code == "payment-declined")
            #expect(answer.text("declineCode") == declineCode)
            #expect(answer.header("Retry-After") == nil)
            #expect(fixture.shop.operations == [.reserve, .charge, .release])
            let orders = try await client.get("/orders")
            let reservationID = try #require(orders.text("orders/0/reservationId"))
            #expect(fixture.shop.reservation(reservationID) == .canceled)
            #expect(orders.text("orders/0/status") == "failed")
            #expect(orders.text("orders/0/failure/code") == "payment-declined")
        }
    }

    @Test("the key of a declined checkout executes anew, with new ids (IK-18)")
    func again() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge, .refuse(.declined))
        try await fixture.run { client in
            #expect(try await client.checkout().status == 402)
            let failed = try await client.get("/orders")
            let answer = try await client.checkout()

            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
            for id in ["orderId", "reservationId", "chargeId"] {
                let failedID = try #require(failed.text("orders/0/\(id)"))
                #expect(answer.text(id) != failedID)
            }
            #expect(fixture.shop.operations == [.reserve, .charge, .release, .reserve, .charge, .complete])
        }
    }

    @Test("other money that lies under the charge's id is given back, and the checkout may be tried again (hazard 26)")
    func chargedByOthers() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            let orders = try await client.get("/orders")
            let chargeID = try #require(orders.text("orders/0/chargeId"))
            fixture.shop.arrange(charge: chargeID, .others)
            gate.open()
            let answer = try await pending
            #expect(answer.status == 503)
            #expect(answer.code == "checkout-unavailable")
            #expect(fixture.shop.operations == [.reserve, .charge, .release, .refund])
            #expect(fixture.shop.charge(chargeID) == .returned)
        }
    }

    @Test(
        "however long Payment's reason is, the order can be shown")
    func longReason() async throws {
        let fixture = try OrderFixture()
        let long = String(repeating: "no", count: 1000)
        fixture.shop.script(.charge, .refuse(Refusal(code: "payment-declined", detail: long, declineCode: long)))
        try await fixture.run { client in
            #expect(try await client.checkout().status == 402)
            let orders = try await client.get("/orders")
            #expect(orders.text("orders/0/status") == "failed")
            let orderID = try #require(orders.text("orders/0/orderId"))
            #expect(try await client.get("/orders/\(orderID)").status == 200)
        }
    }

    // MARK: - Not sent

    @Test("a charge that five attempts could not send took no money: the goods are released, and no id is canceled")
    func notSent() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { _ in .notSent(.unreachable) }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 503)
            #expect(answer.code == "checkout-unavailable")
            #expect(fixture.shop.operations == [.reserve, .charge, .charge, .charge, .charge, .charge, .release])
        }
        #expect(fixture.sleeps == OrderFixture.backoff)
    }

    // MARK: - Unknown

    @Test("a charge whose reply was lost is asked for again under the same id, and the checkout completes")
    func replyLost() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge, .commitThenLose(.timedOut))
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == 200)
            #expect(fixture.shop.operations == [.reserve, .charge, .charge, .complete])
            #expect(fixture.shop.calls[1] == fixture.shop.calls[2])
            #expect(fixture.shop.charge(try #require(answer.text("chargeId"))) == .taken)
        }
        #expect(fixture.sleeps == [.seconds(1)])
    }

    @Test(
        "a charge that stays unknown is neither released nor refunded before it is known, and its order is pending"
    )
    func unknownRound() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.charge) { $0 <= 5 ? .commitThenLose(.inProgress) : .wait(gate, then: .answer) }
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()

            #expect(fixture.shop.operations == [.reserve, .charge, .charge, .charge, .charge, .charge, .charge])
            #expect(fixture.sleeps == OrderFixture.backoff + [.seconds(1)])
            let orders = try await client.get("/orders")
            #expect(orders.text("orders/0/status") == "pending")
            #expect(orders.number("orders/0/totalFee") == "20.00")

            gate.open()
            let answer = try await pending
            #expect(answer.status == 200)
            #expect(fixture.shop.operations.last == .complete)
            let charges = fixture.shop.calls.filter { $0.operation == .charge }
            #expect(charges.allSatisfy { $0 == charges.first })
        }
    }

    @Test("that nothing is taken under the charge's id, Payment says of an attempt without an answer as well")
    func providerUnavailableAfterUnknown() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { $0 == 1 ? .lose(.timedOut) : .notExecuted(.providerUnavailable) }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 503)
            #expect(answer.header("Retry-After") != nil)
            let expected = [.reserve] + Array(repeating: Operation.charge, count: 5) + [.release, .refund]
            #expect(fixture.shop.operations == expected)
            let orders = try await client.get("/orders")
            #expect(orders.text("orders/0/status") == "failed")
        }
    }

    @Test("a round that did not run, after one that is unknown, does not make the charge undone; a refusal then does")
    func declinedAfterUnknown() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { call in
            switch call {
            case 1...5: .lose(.connectionLost)
            case 6...7: .notExecuted(.unavailable)
            case 8...9: .notSent(.unreachable)
            default: .refuse(.declined)
            }
        }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 402)
            let expected: [Operation] = [.reserve] + Array(repeating: .charge, count: 10) + [.release]
            #expect(fixture.shop.operations == expected)
        }
    }

    @Test("a charge unknown until the deadline is answered 504; the key waits, and then gives the outcome (IK-20)")
    func unknownUntilDeadline() async throws {
        let fixture = try OrderFixture()
        fixture.loseCharges(then: .answer)
        try await fixture.run { client in
            let unknown = try await client.checkout()
            #expect(unknown.status == 504)
            #expect(unknown.code == "outcome-unknown")
            #expect(unknown.header("Retry-After") == "1")
            #expect(unknown.value("retryable") == .bool(true))
            #expect(fixture.sleeps.reduce(.zero, +) == .seconds(30))

            try await fixture.idle()
            let early = try await client.checkout()
            #expect(early.status == 409)
            #expect(early.code == "request-in-progress")

            let orderID = try await fixture.onlyOrderID()
            try await fixture.recover()
            let calls = fixture.shop.calls.count
            let answer = try await client.checkout()
            #expect(answer.status == 200)
            #expect(answer.isReplayed)
            #expect(answer.text("orderId") == orderID)
            #expect(fixture.shop.calls.count == calls)
        }
        #expect(Set(fixture.shop.operations) == [.reserve, .charge, .complete])
        #expect(fixture.shop.unreturnedCharges.count == 1)
    }

    @Test("a charge unknown until the deadline, and then declined, frees the key for another attempt")
    func unknownThenDeclined() async throws {
        let fixture = try OrderFixture()
        fixture.loseCharges(then: .refuse(.declined))
        try await fixture.run { client in
            #expect(try await client.checkout().status == 504)
            try await fixture.idle()
            let orderID = try await fixture.onlyOrderID()
            try await fixture.recover()
            #expect(try await client.status(ofOrder: orderID) == "failed")
            #expect(fixture.shop.operations.suffix(2) == [.charge, .release])
            #expect(fixture.shop.unreturnedCharges.isEmpty)

            fixture.shop.script(.charge)
            let answer = try await client.checkout()
            #expect(answer.status == 200)
            #expect(answer.text("orderId") != orderID)
        }
    }

    @Test("after the deadline the charge is asked about once a round, at once and then after growing pauses")
    func nextRounds() async throws {
        let fixture = try OrderFixture()
        let time = fixture.test.time
        let start = time.uptime
        try await fixture.run { client in
            fixture.loseCharges(then: .lose(.timedOut))
            #expect(try await client.checkout().status == 504)
            try await fixture.idle()
            let orderID = try await fixture.onlyOrderID()
            #expect(try await fixture.row(orderID).dueAt == time.now)
            let rounds = try await fixture.row(orderID).rounds

            var pauses: [Duration] = []
            for round in 1...4 {
                let charges = fixture.shop.operations.count { $0 == .charge }
                await fixture.parts.recovery.takeUpDue()
                // One attempt, with the time of a whole checkout for it, and no waiting here.
                #expect(fixture.shop.operations.count { $0 == .charge } == charges + 1)
                #expect(fixture.shop.contexts.last?.deadline == Deadline(uptime: time.uptime + .seconds(30)))
                let row = try await fixture.row(orderID)
                #expect(row.rounds == rounds + Int64(round))
                let pause = Duration.milliseconds(row.dueAt.milliseconds - time.now.milliseconds)
                pauses.append(pause)
                time.advance(by: pause - .milliseconds(1))
                await fixture.parts.recovery.takeUpDue()
                #expect(fixture.shop.operations.count { $0 == .charge } == charges + 1)
                time.advance(by: .milliseconds(1))
            }
            let expected = (1...4).map { BackoffSchedule(random: { 0 }).delay(afterAttempt: Int(rounds) + $0) }
            #expect(pauses == expected)
            #expect(fixture.sleeps.reduce(.zero, +) == .seconds(30))
        }
        #expect(time.uptime > start + .seconds(30))
    }
}

extension OrderFixture {
    /// No charge within the checkout's time brings an answer; those after it bring this.
    fileprivate func loseCharges(then reply: Reply) {
        let time = test.time
        let end = time.uptime + .seconds(30)
        shop.script(.charge) { _ in time.uptime < end ? .lose(.timedOut) : reply }
    }
}
