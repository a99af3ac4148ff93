import Money
import Resilience
import TestSupport
import Testing

@testable import PaymentService

@Suite("Charges by the simulated provider's methods", .timeLimit(.minutes(5)))
struct SimulatedCardTests {
    @Test("a card, and no method at all, are charged at once")
    func card() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let none = try await client.charge(key: "a")
            #expect(none.status == 200)
            #expect(none.names() == ["chargeId", "status", "amount"])
            #expect(none.text("status") == "succeeded")
            #expect(none.integer("amount/amount") == 2000)
            #expect(none.text("amount/currency") == "USD")

            let card = try await client.charge(method: "card", key: "b")
            #expect(card.status == 200)
            #expect(card.text("chargeId") != none.text("chargeId"))
        }
        #expect(fixture.sleeps.isEmpty)
    }

    @Test(
        "a method that is declined is answered with its reason, each time, and takes nothing",
        arguments: [
            ("test_declined", "card_declined"), ("test_insufficient_funds", "insufficient_funds"),
            ("bitcoin", "payment_method_not_supported"),
        ])
    func declined(_ method: String, _ declineCode: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            for _ in 0..<2 {
                let answer = try await client.charge(method: method)
                #expect(answer.status == 402)
                #expect(answer.code == "payment-declined")
                #expect(answer.text("declineCode") == declineCode)
                #expect(answer.header("Retry-After") == nil)
                #expect(!answer.isReplayed)
            }
            #expect(try await client.get("/audit/totals").count("currencies") == 0)
        }
    }

    @Test("without leave for test methods, each of them is a method that is not supported")
    func notAllowed() async throws {
        let fixture = try PaymentFixture.simulated(allowsTestMethods: false)
        try await fixture.run { client in
            for method in SimulatedCard.TestMethod.allCases {
                let answer = try await client.charge(method: method.rawValue, key: method.rawValue)
                #expect(answer.status == 402)
                #expect(answer.text("declineCode") == "payment_method_not_supported")
            }
            #expect(try await client.charge(method: "card").status == 200)
        }
    }

    @Test("test_slow takes its time, and succeeds")
    func slow() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let answer = try await client.charge(method: "test_slow")
            #expect(answer.status == 200)
            #expect(try await client.charge(method: "test_slow").isReplayed)
        }
        #expect(fixture.sleeps == [SimulatedCard.slowness])
    }

    @Test("test_timeout_after_charge has no answer at first; asked again, it has charged once")
    func timeoutAfterCharge() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let unknown = try await client.charge(method: "test_timeout_after_charge")
            #expect(unknown.status == 504)
            #expect(unknown.code == "outcome-unknown")
            #expect(unknown.header("Retry-After") == "1")

            let answer = try await client.charge(method: "test_timeout_after_charge")
            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
            #expect(try await client.charge(method: "test_timeout_after_charge").isReplayed)
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 2000)
        }
        #expect(fixture.sleeps.count == 1)
    }

    @Test("test_error_then_ok fails at first, and charges when it is tried again")
    func errorThenOK() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            func charge() async throws -> RouteResponse {
                try await client.charge(id: "c", key: "k", method: "test_error_then_ok")
            }
            let failed = try await charge()
            #expect(failed.status == 503)
            #expect(failed.code == "provider-unavailable")
            #expect(failed.header("Retry-After") == "1")
            #expect(try await client.get("/charges/c").status == 404)

            #expect(try await charge().status == 200)
            #expect(try await client.status(ofCharge: "c") == "succeeded")
        }
    }

    @Test("test_error fails whenever it is tried, and charges nothing")
    func error() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            for _ in 0..<3 {
                let answer = try await client.charge(method: "test_error")
                #expect(answer.code == "provider-unavailable")
            }
            #expect(try await client.get("/audit/totals").count("currencies") == 0)
        }
    }

    @Test("test_unknown_then_ok is unknown twice, pending meanwhile, and then succeeds")
    func unknownThenOK() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            func charge() async throws -> RouteResponse {
                try await client.charge(id: "c", key: "k", method: "test_unknown_then_ok")
            }
            for _ in 0..<2 {
                let answer = try await charge()
                #expect(answer.code == "outcome-unknown")
                #expect(try await client.status(ofCharge: "c") == "pending")
            }
            #expect(try await charge().status == 200)
            #expect(try await client.status(ofCharge: "c") == "succeeded")
        }
    }

    @Test("test_refund_fails_once is charged at once; its first refund fails, and the next succeeds")
    func refundFailsOnce() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let id = try #require(try await client.charge(method: "test_refund_fails_once").text("chargeId"))
            let failed = try await client.refund(id)
            #expect(failed.status == 503)
            #expect(failed.code == "provider-unavailable")
            #expect(try await client.status(ofCharge: id) == "succeeded")

            let answer = try await client.refund(id)
            #expect(answer.status == 200)
            #expect(answer.integer("amount/amount") == 2000)
            #expect(try await client.status(ofCharge: id) == "refunded")
        }
    }

    @Test("an id is counted right, however many others were asked about before it")
    func counted() async throws {
        let provider = SimulatedCard(allowsTestMethods: true, sleeper: RecordingSleeper())
        func ask(_ id: String) async -> CardAnswer {
            let amount = Money(minorUnits: 100, currency: .usd)
            return await provider.charge(CardCharge(chargeID: id, amount: amount, method: "test_unknown_then_ok"))
        }
        for number in 0..<(SimulatedCard.maximumRemembered + 10) {
            _ = await ask("c\(number)")
        }
        #expect(await ask("last") == .unknown)
        #expect(await ask("last") == .unknown)
        #expect(await ask("last") == .approved)
    }
}
