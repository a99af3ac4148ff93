import Money
import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import StrictJSON
import TestSupport
import Testing

@testable import MockProvider

@Suite("Webhooks of the mock provider")
struct WebhookDeliveryTests {
    @Test("each change is told once, signed, to the address of its provider")
    func tells() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in
            _ = try await client.pay("a")
            _ = try await client.pay("a")
            _ = try await client.pay("b", token: "tok_declined", provider: "paypal")
            _ = try await client.cancel("c")
            _ = try await client.cancel("a")
            _ = try await client.refund("r", of: "a", 1)
        }
        try await fixture.deliver()
        try await fixture.deliver()
        #expect(
            try fixture.receiver.types.sorted() == [
                "payment.canceled", "payment.declined", "payment.succeeded", "refund.succeeded",
            ])
        let verifier = WebhookSignature(
            [try #require(WebhookSecret(Fixture.secret))], time: fixture.parts.time)
        for request in fixture.receiver.requests {
            try verifier.verify(
                id: request.values("webhook-id").first, timestamp: request.values("webhook-timestamp").first,
                signature: request.values("webhook-signature").first, body: request.body)
        }
        #expect(Set(fixture.receiver.requests.flatMap { $0.values("webhook-id") }).count == 4)
        let declined = try #require(fixture.receiver.requests.first { $0.url.hasSuffix("/paypal") })
        let event = try WebhookEvent(json: try JSONParser.parse(declined.body))
        #expect(event.reference == "b" && event.declineCode == "card_declined")
        #expect(event.amount?.minorUnits == 2000)
    }

    @Test("a pending payment is told of when it is settled")
    func pending() async throws {
        let fixture = try Fixture()
        try await fixture.run { client async throws in _ = try await client.pay("a", token: "tok_pending") }
        try await fixture.deliver()
        #expect(fixture.receiver.requests.isEmpty)
        fixture.parts.time.advance(by: .seconds(1))
        try await fixture.settle()
        try await fixture.deliver()
        #expect(try fixture.receiver.types == ["payment.succeeded"])
    }

    @Test("a message that is not taken is sent again with the same id after growing waits, until it is taken")
    func retries() async throws {
        let fixture = try Fixture()
        fixture.receiver.answer(500, 0, 404, 204)
        try await fixture.run { client async throws in _ = try await client.pay("a") }
        for wait in [1, 2, 4] {
            try await fixture.deliver()
            let sent = fixture.receiver.requests.count
            fixture.parts.time.advance(by: .milliseconds(wait * 1000 - 1))
            try await fixture.deliver()
            #expect(fixture.receiver.requests.count == sent, "sent again before \(wait) s")
            fixture.parts.time.advance(by: .milliseconds(1))
        }
        try await fixture.deliver()
        fixture.parts.time.advance(by: .seconds(3600))
        try await fixture.deliver()
        let requests = fixture.receiver.requests
        #expect(requests.count == 4)
        #expect(Set(requests.flatMap { $0.values("webhook-id") }).count == 1)
        #expect(Set(requests.flatMap { $0.values("webhook-timestamp") }).count == 4)
    }

    @Test("after its last attempt a message is given up, which is logged")
    func givesUp() async throws {
        let fixture = try Fixture { $0.deliveries = BackoffSchedule(maximumAttempts: 3) }
        fixture.receiver.answer(500, 500, 503, 204)
        try await fixture.run { client async throws in _ = try await client.pay("a") }
        for _ in 1...5 {
            try await fixture.deliver()
            fixture.parts.time.advance(by: .seconds(3600))
        }
        #expect(fixture.receiver.requests.count == 3)
        let events = try fixture.parts.log.events("a webhook was given up after its last attempt")
        #expect(events.count == 1)
        #expect(events.first?["error"] == .string("it answered 503"))
    }

    @Test("of more messages than may wait the rest is dropped, which is logged, and the payment stands")
    func bound() async throws {
        let fixture = try Fixture { $0.maximumQueued = 2 }
        try await fixture.run { client async throws in
            for reference in ["a", "b", "c"] { #expect(try await client.pay(reference).status == 200) }
            #expect(try await client.payment("c").status == 200)
        }
        try await fixture.deliver()
        #expect(fixture.receiver.requests.count == 2)
        #expect(try fixture.parts.log.events("a webhook was dropped, since too many wait").count == 1)
    }

    @Test("a doubled message comes twice with one id")
    func duplicates() async throws {
        let fixture = try Fixture { $0.behaviour.duplicateRate = 1 }
        try await fixture.run { client async throws in _ = try await client.pay("a") }
        for _ in 1...3 { try await fixture.deliver() }
        #expect(fixture.receiver.requests.count == 2)
        #expect(Set(fixture.receiver.requests.flatMap { $0.values("webhook-id") }).count == 1)
    }

    @Test("a message that is held back is overtaken by a later one")
    func reordering() async throws {
        // Only some are held back, or none would be overtaken.
        let fixture = try Fixture { $0.behaviour.reorderRate = 0.5 }
        let count = 16
        try await fixture.run { client async throws in
            for number in 1...count { _ = try await client.pay("p\(number)") }
        }
        try await fixture.deliver()
        let first = fixture.receiver.requests.count
        #expect(first > 0 && first < count)
        fixture.parts.time.advance(by: .seconds(1))
        try await fixture.deliver()
        #expect(fixture.receiver.requests.count == count)
    }

    @Test("without a secret nothing is sent and nothing waits")
    func noTarget() async throws {
        let fixture = try Fixture { $0.targets = [:] }
        try await fixture.run { client async throws in _ = try await client.pay("a") }
        try await fixture.deliver()
        #expect(fixture.receiver.requests.isEmpty)
    }
}
