import ServiceKit
import TestSupport
import Testing

@testable import MockProvider

@Suite("Payments at the mock provider")
struct PaymentRouteTests {
    @Test("every route is described, and nothing else is")
    func documents() async throws {
        let fixture = try Fixture()
        #expect(try await fixture.service.faultsOfDocuments(in: fixture.parts.environment) == [])
    }

    @Test("a payment is taken once under its reference, and answered the same again")
    func takesOnce() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            let first = try await client.pay("a")
            #expect(first.status == 200)
            #expect(first.text("status") == "succeeded")
            #expect(first.integer("amount/amount") == 2000)
            #expect(first.integer("refunded/amount") == 0)
            #expect(try await client.pay("a").body == first.body)
            #expect(try await client.payment("a").body == first.body)
            #expect(try await client.get("/stripe/v1/payments").count("payments") == 1)
        }
    }

    @Test("the same reference with anything else in its command is refused, and is another at another provider")
    func otherCommand() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            _ = try await client.pay("a")
            for other in [
                try await client.pay("a", 2001), try await client.pay("a", kind: "payout"),
                try await client.pay("a", token: "tok_visa"),
            ] {
                #expect(other.status == 422)
                #expect(other.code == "idempotency-key-reused")
            }
            #expect(try await client.pay("a", 2001, provider: "paypal").status == 200)
        }
    }

    @Test("the key must be there and be the reference, and a command must be whole")
    func badCommands() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            let other = try await client.pay("a", key: "b")
            #expect(other.code == "validation-failed" && other.text("errors/0/pointer") == "#/reference")
            #expect(try await client.post("/stripe/v1/payments", "{}").code == "idempotency-key-missing")
            #expect(try await client.pay("a", 0).code == "validation-failed")
            #expect(try await client.payment("a").code == "not-found")
            #expect(try await client.get("/visa/v1/payments/a").code == "not-found")
        }
    }

    @Test("a decline is final: the same reference is declined again, also when asked about")
    func declines() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            for _ in 1...2 {
                let answer = try await client.pay("a", token: "tok_insufficient_funds")
                #expect(answer.status == 402 && answer.code == "payment-declined")
                #expect(answer.text("declineCode") == "insufficient_funds")
            }
            let payment = try await client.payment("a")
            #expect(payment.status == 200 && payment.text("status") == "declined")
            #expect(payment.text("declineCode") == "insufficient_funds")
            #expect(try await client.get("/audit/movements").count("entries") == 0)
        }
    }

    @Test("a reference that was canceled first takes no money when its payment comes late")
    func tombstone() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            for _ in 1...2 {
                let answer = try await client.cancel("a")
                #expect(answer.status == 200 && answer.text("status") == "canceled")
            }
            let late = try await client.pay("a")
            #expect(late.status == 409 && late.code == "payment-canceled")
            #expect(try await client.payment("a").text("status") == "canceled")
            #expect(try await client.get("/stripe/v1/payments").count("payments") == 0)
            #expect(try await client.get("/audit/movements").count("entries") == 0)
        }
    }

    @Test("a cancel that comes too late changes nothing and answers with the payment")
    func lateCancel() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            let taken = try await client.pay("a")
            #expect(try await client.cancel("a").body == taken.body)
            #expect(try await client.cancel("a!").code == "not-found")
        }
    }

    @Test("a pending payment is settled when its time has come, one way or the other")
    func pending() async throws {
        let fixture = try Fixture { $0.settleTime = .seconds(3) }
        try await fixture.run { client async throws in
            #expect(try await client.pay("a", token: "tok_pending").text("status") == "pending")
            #expect(try await client.pay("b", token: "tok_pending_declined").text("status") == "pending")
            #expect(try await client.payment("b").text("declineCode") == nil)
            #expect(try await client.refund("r", of: "a", 1).code == "refund-exceeds-payment")
            fixture.parts.time.advance(by: .milliseconds(2999))
            try await fixture.settle()
            #expect(try await client.payment("a").text("status") == "pending")
            fixture.parts.time.advance(by: .milliseconds(1))
            try await fixture.settle()
            #expect(try await client.payment("a").text("status") == "succeeded")
            #expect(try await client.payment("b").text("status") == "declined")
            #expect(try await client.pay("b", token: "tok_pending_declined").status == 402)
            let moved = try await client.get("/audit/movements")
            #expect(moved.count("entries") == 1)
            #expect(moved.integer("entries/0/amount/amount") == 2000)
        }
    }

    @Test("more references than are remembered are turned away, and those that are known still answer")
    func full() async throws {
        let fixture = try Fixture { $0.maximumReferences = 2 }
        try await fixture.run { client async throws in
            _ = try await client.pay("a")
            _ = try await client.cancel("b")
            #expect(try await client.pay("c").code == "overloaded")
            #expect(try await client.cancel("c").code == "overloaded")
            #expect(try await client.pay("a").status == 200)
        }
    }

    @Test("the list goes on where the last page ended")
    func pages() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            for number in 1...5 { _ = try await client.pay("p\(number)") }
            _ = try await client.pay("other", provider: "paypal")
            var found: [String?] = []
            var cursor: String?
            repeat {
                let page = try await client.get(
                    "/stripe/v1/payments?limit=2" + (cursor.map { "&cursor=\($0)" } ?? ""))
                found += (0..<(page.count("payments") ?? 0)).map { page.text("payments/\($0)/reference") }
                cursor = page.text("nextCursor")
            } while cursor != nil
            #expect(found == ["p1", "p2", "p3", "p4", "p5"])
            #expect(try await client.get("/stripe/v1/payments?cursor=x").code == "invalid-parameter")
        }
    }

    // MARK: Refunds

    @Test("refunds are made once each, and never above the payment")
    func refunds() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            _ = try await client.pay("a")
            let first = try await client.refund("r1", of: "a", 1500)
            #expect(first.status == 200 && first.text("status") == "succeeded")
            #expect(try await client.refund("r1", of: "a", 1500).body == first.body)
            #expect(try await client.get("/stripe/v1/refunds/r1").body == first.body)
            #expect(try await client.refund("r1", of: "a", 1400).code == "idempotency-key-reused")
            #expect(try await client.payment("a").text("status") == "succeeded")
            let tooMuch = try await client.refund("r2", of: "a", 501)
            #expect(tooMuch.status == 422 && tooMuch.code == "refund-exceeds-payment")
            #expect(try await client.get("/stripe/v1/refunds/r2").code == "not-found")
            #expect(try await client.refund("r2", of: "a", 500).status == 200)
            #expect(try await client.payment("a").text("status") == "refunded")
            #expect(try await client.pay("a").text("status") == "refunded")
        }
    }

    @Test("what was never taken, declined or is of another currency cannot be given back")
    func badRefunds() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            _ = try await client.pay("a")
            _ = try await client.pay("b", token: "tok_declined")
            _ = try await client.cancel("c")
            #expect(try await client.refund("r", of: "z", 1).code == "not-found")
            #expect(try await client.refund("r", of: "c", 1).code == "not-found")
            #expect(try await client.refund("r", of: "b", 1).code == "refund-exceeds-payment")
            let other = try await client.refund("r", of: "a", 1, currency: "EUR")
            #expect(other.text("errors/0/pointer") == "#/amount/currency")
        }
    }

    @Test("the books have every movement once, with the sign that it has for us")
    func movements() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            _ = try await client.pay("in", 2000)
            _ = try await client.pay("in", 2000)
            _ = try await client.pay("out", 700, kind: "payout")
            _ = try await client.refund("r1", of: "in", 300)
            _ = try await client.refund("r1", of: "in", 300)
            _ = try await client.refund("r2", of: "out", 50)
            let books = try await client.get("/audit/movements")
            let amounts = (0..<(books.count("entries") ?? 0)).map { books.integer("entries/\($0)/amount/amount") }
            #expect(amounts == [2000, -700, -300, 50])
            #expect(books.text("entries/2/kind") == "refund" && books.text("entries/2/provider") == "stripe")
            let rest = try await client.get("/audit/movements?limit=2&cursor=1")
            #expect(rest.integer("entries/0/number") == 2 && rest.text("nextCursor") == "3")
        }
    }

    // MARK: Faults

    @Test("a payment whose answer is lost was taken, and the next asking is answered at once")
    func lostAnswer() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            #expect(try await client.pay("a", token: "tok_timeout_after_commit").status == 200)
            #expect(fixture.parts.sleeper.sleeps == [.seconds(5)])
            #expect(try await client.pay("a", token: "tok_timeout_after_commit").status == 200)
            #expect(fixture.parts.sleeper.sleeps == [.seconds(5)])
            #expect(try await client.pay("b", token: "tok_error_after_commit").status == 500)
            #expect(try await client.payment("b").text("status") == "succeeded")
            #expect(try await client.pay("b", token: "tok_error_after_commit").status == 200)
            #expect(try await client.get("/audit/movements").count("entries") == 2)
        }
    }

    @Test("what is turned away took nothing, and says when to come back")
    func turnedAway() async throws {
        let fixture = try Fixture { $0.retryAfterSeconds = 7 }
        try await fixture.run { client async throws in
            let throttled = try await client.pay("a", token: "tok_rate_limited")
            #expect(throttled.status == 429 && throttled.code == "too-many-requests")
            #expect(throttled.header("Retry-After") == "7")
            #expect(try await client.payment("a").code == "not-found")
            #expect(try await client.pay("a", token: "tok_rate_limited").status == 200)
            #expect(try await client.pay("b", token: "tok_error_once").status == 500)
            #expect(try await client.payment("b").code == "not-found")
            #expect(try await client.pay("b", token: "tok_error_once").status == 200)
        }
    }

    @Test("rates fail every route but the books")
    func rates() async throws {
        let fixture = try Fixture { $0.behaviour.errorRate = 1 }
        try await fixture.run { client async throws in
            #expect(try await client.pay("a").status == 500)
            #expect(try await client.payment("a").status == 500)
            #expect(try await client.cancel("a").status == 500)
            #expect(try await client.refund("r", of: "a", 1).status == 500)
            #expect(try await client.get("/stripe/v1/refunds/r").status == 500)
            #expect(try await client.get("/stripe/v1/payments").status == 200)
            #expect(try await client.get("/audit/movements").status == 200)
        }
    }
}
