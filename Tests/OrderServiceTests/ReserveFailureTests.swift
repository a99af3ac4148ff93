import Resilience
import ServiceClient
import StockAPI
import TestSupport
import Testing

@testable import OrderService

@Suite("A checkout whose reserve goes wrong", .timeLimit(.minutes(5)))
struct ReserveFailureTests {
    // MARK: - Refused

    @Test(
        "a reserve that is refused ends the checkout with Stock's reason, and nothing else is called",
        arguments: [
            (Refusal.itemNotFound, 404, "item-not-found"), (.insufficientStock, 409, "insufficient-stock"),
            (.conflict, 503, "checkout-unavailable"),
        ])
    func refused(_ refusal: Refusal, status: Int, code: String) async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve, .refuse(refusal))
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == status)
            #expect(answer.code == code)
            #expect(answer.text("detail")?.contains(refusal.detail) == true)
            #expect((answer.header("Retry-After") != nil) == (status == 503))
            #expect(fixture.shop.operations == [.reserve])
            let orders = try await client.get("/orders")
            #expect(orders.text("orders/0/status") == "failed")
            #expect(orders.text("orders/0/failure/code") == refusal.code)
        }
        #expect(fixture.sleeps.isEmpty)
    }

    @Test("an invalid reserve is released before the checkout fails, and its client told where the fault is (HT-02)")
    func invalid() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve, .refuse(.invalidTotal))
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect((answer.status, answer.code) == (422, "validation-failed"))
            #expect(answer.text("detail") == "#/lines makes a total that is too large.")
            #expect(answer.text("errors/0/pointer") == "#/lines")
            #expect(answer.text("errors/0/detail") == "makes a total that is too large")
            #expect(fixture.shop.operations == [.reserve, .release])
        }
    }

    @Test("a reserve whose reply was lost, and is then refused, holds nothing and is not released")
    func refusedAfterUnknown() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve, .lose(.timedOut), .refuse(.insufficientStock))
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 409)
            #expect(fixture.shop.operations == [.reserve, .reserve])
        }
    }

    // MARK: - Retried

    @Test("a reserve is tried five times, after 1, 2, 4 and 8 seconds, with the same id and lines")
    func retried() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(
            .reserve, .notSent(.unreachable), .lose(.timedOut), .notExecuted(.unavailable), .lose(.connectionLost))
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == 200)
            #expect(fixture.shop.operations == [.reserve, .reserve, .reserve, .reserve, .reserve, .charge, .complete])
            let reserves = fixture.shop.calls.prefix(5)
            #expect(reserves.allSatisfy { $0 == reserves.first })
        }
        #expect(fixture.sleeps == OrderFixture.backoff)
    }

    @Test("a reserve whose reply was lost is asked for again, and the goods are set aside once")
    func replyLost() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve, .commitThenLose(.connectionLost))
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 200)
            let id = try #require(answer.text("reservationId"))
            #expect(fixture.shop.reservation(id) == .completed)
            #expect(fixture.shop.operations == [.reserve, .reserve, .charge, .complete])
        }
        #expect(fixture.sleeps == [.seconds(1)])
    }

    @Test("Stock's Retry-After is kept when it is longer than the wait would be")
    func retryAfter() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(
            .reserve, .notExecuted(.unavailable, retryAfter: .seconds(3)),
            .notExecuted(.unavailable, retryAfter: .milliseconds(5)))
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 200)
        }
        #expect(fixture.sleeps == [.seconds(3), .seconds(2)])
    }

    // MARK: - Without an answer

    @Test("a reserve that five attempts could not deliver fails the checkout, and there is nothing to release")
    func notSent() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve) { _ in .notSent(.unreachable) }
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == 503)
            #expect(answer.code == "checkout-unavailable")
            #expect(answer.header("Retry-After") == "1")
            #expect(fixture.shop.operations == [.reserve, .reserve, .reserve, .reserve, .reserve])
            #expect(try await client.get("/orders").text("orders/0/status") == "failed")
        }
        #expect(fixture.sleeps == OrderFixture.backoff)
    }

    @Test(
        "a reserve whose outcome stays unknown is released by its id, and never charged",
        arguments: [
            (CallTrouble.timedOut, 504, "gateway-timeout"), (.inProgress, 504, "gateway-timeout"),
            (.connectionLost, 503, "checkout-unavailable"), (.garbled, 502, "bad-gateway"),
        ])
    func unknown(_ trouble: CallTrouble, status: Int, code: String) async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve) { _ in .commitThenLose(trouble) }
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(answer.status == status)
            #expect(answer.code == code)
            #expect(answer.header("Retry-After") != nil)
            #expect(fixture.shop.operations == [.reserve, .reserve, .reserve, .reserve, .reserve, .release])
            let order = try await client.get("/orders")
            let reservationID = try #require(order.text("orders/0/reservationId"))
            #expect(fixture.shop.calls.last == .release(reservationID: reservationID))
            #expect(fixture.shop.reservation(reservationID) == .canceled)
            #expect(order.text("orders/0/status") == "failed")
        }
        #expect(fixture.sleeps == OrderFixture.backoff)
    }

    @Test(
        "one attempt that may run, or may have run, among those that were not sent is enough for a release",
        arguments: [Reply.commitThenLose(.timedOut), .lose(.connectionLost), .notExecuted(.unavailable)])
    func partlySent(_ reply: Reply) async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve) { $0 == 2 ? reply : .notSent(.unreachable) }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 503)
            #expect(fixture.shop.operations == [.reserve, .reserve, .reserve, .reserve, .reserve, .release])
        }
    }

    @Test("a reserve that Stock did not execute is released, so that a late copy of it sets nothing aside (hazard 3)")
    func lateCopy() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve) { _ in .notExecuted(.unavailable) }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 503)
            #expect(fixture.shop.operations == [.reserve, .reserve, .reserve, .reserve, .reserve, .release])
        }
        guard case .reserve(let command)? = fixture.shop.calls.first, let context = fixture.shop.contexts.first else {
            Issue.record("\(fixture.shop.calls)")
            return
        }
        fixture.shop.script(.reserve)
        await #expect(throws: CallFailure.self) { try await fixture.shop.reserve(command, context) }
        #expect(fixture.shop.reservation(command.reservationID) == .canceled)
    }

    @Test("the key of a checkout that failed for want of Stock executes anew, with new ids (IK-19)")
    func again() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve) { $0 <= 5 ? .notSent(.unreachable) : .answer }
        try await fixture.run { client in
            #expect(try await client.checkout().status == 503)
            let failedID = try #require(try await client.get("/orders").text("orders/0/reservationId"))

            let answer = try await client.checkout()
            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
            #expect(answer.text("reservationId") != failedID)
            #expect(try await client.get("/orders").count("orders") == 2)
        }
    }

    // MARK: - Too late

    @Test("with too little time left for a charge, none is begun: the goods are released")
    func tooLate() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let answer = try await client.checkout(headers: ["X-Request-Timeout-Ms": "1999"])

            #expect(answer.status == 504)
            #expect(answer.code == "gateway-timeout")
            #expect(fixture.shop.operations == [.reserve, .release])
            let order = try await client.get("/orders")
            #expect(order.text("orders/0/failure/code") == "deadline")
            #expect(try await client.checkout(headers: ["X-Request-Timeout-Ms": "2000"]).status == 200)
        }
    }

    @Test("a retry that would outlast the deadline is not waited for")
    func noTimeForRetry() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve) { _ in .notSent(.unreachable) }
        try await fixture.run { client in
            let answer = try await client.checkout(headers: ["X-Request-Timeout-Ms": "4000"])
            #expect(answer.status == 503)
        }
        #expect(fixture.sleeps == [.seconds(1), .seconds(2)])
        #expect(fixture.shop.operations == [.reserve, .reserve, .reserve])
    }
}
