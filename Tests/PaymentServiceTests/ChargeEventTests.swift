import TestSupport
import Testing

@testable import PaymentService

@Suite("The trail of a charge", .timeLimit(.minutes(5)))
struct ChargeEventTests {
    private func types(_ client: RouteClient, _ charge: String, user: String? = nil) async throws -> [String] {
        let answer = try await client.get("/charges/\(charge)/events", user: user)
        return (0..<(answer.count("events") ?? 0)).compactMap { answer.text("events/\($0)/type") }
    }

    @Test("a charge that is answered at once has one event, and each refund another")
    func instant() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", "20.00", key: "k")
            _ = try await client.refund("c", "5.00", key: "r1")
            _ = try await client.refund("c", key: "r2")
            let answer = try await client.get("/charges/c/events")
            #expect(answer.status == 200)
            #expect(answer.names() == ["events", "nextCursor"])
            #expect(answer.text("events/0/type") == "succeeded")
            #expect(answer.integer("events/0/sequence") == 1)
            #expect(answer.integer("events/0/amount/amount") == 2000)
            #expect(answer.text("events/1/type") == "refunded")
            #expect(answer.integer("events/1/amount/amount") == 500)
            #expect(answer.text("events/1/refundId") != nil)
            #expect(answer.integer("events/2/amount/amount") == 1500)
            #expect(answer.count("events") == 3)
        }
    }

    @Test("every step of a charge whose provider hesitates is there, in order")
    func hesitant() async throws {
        let provider = ScriptedProvider()
        provider.scriptCharges(.answer(.unavailable), .answer(.unknown), .answer(.approved))
        provider.scriptRefunds(.answer(.unavailable), .answer(.unknown), .answer(.approved))
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            #expect(try await client.charge(id: "c", key: "k").status == 503)
            #expect(try await client.charge(id: "c", key: "k").status == 504)
            #expect(try await client.charge(id: "c", key: "k").status == 200)
            #expect(try await client.refund("c", key: "r1").status == 503)
            #expect(try await client.refund("c", key: "r2").status == 504)
            try await fixture.settleOpen()
            #expect(
                try await types(client, "c") == [
                    "pending", "dropped", "pending", "succeeded", "refund_pending", "refund_dropped", "refund_pending",
                    "refunded",
                ])
        }
    }

    @Test("a declined charge says why, and a canceled one that it was")
    func refused() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k", method: "test_declined")
            let answer = try await client.get("/charges/c/events")
            #expect(answer.text("events/0/type") == "failed")
            #expect(answer.text("events/0/declineCode") == "card_declined")
            _ = try await client.refund("late", key: "r", orCancel: true)
            #expect(try await types(client, "late") == ["canceled"])
        }
    }

    @Test("a replay and a refusal add nothing")
    func replay() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            for _ in 0..<3 { _ = try await client.charge(id: "c", key: "k") }
            for _ in 0..<3 { _ = try await client.refund("c", key: "r") }
            #expect(try await client.refund("c", "1.00", key: "r2").status == 409)
            #expect(try await types(client, "c") == ["succeeded", "refunded"])
        }
    }

    @Test("what was dropped keeps its currency, and stays unseen by whoever uses the id next (INV-15)")
    func reused() async throws {
        let provider = ScriptedProvider()
        provider.scriptCharges(.answer(.unavailable), .answer(.unavailable), .answer(.unavailable), .answer(.approved))
        try await PaymentFixture(provider).run { client in
            let yen = #"{"amount":2000,"currency":"JPY"}"#
            #expect(try await client.charge(yen, key: "a", user: "ann", more: #","chargeId":"c""#).status == 503)
            #expect(try await client.charge(id: "c", "7.00", key: "b", user: "bob").status == 503)
            #expect(try await client.charge(id: "c", "1.00", key: "c", user: "ann").status == 503)
            #expect(try await client.charge(id: "c", "3.00", key: "d", user: "ann").status == 200)
            let answer = try await client.get("/charges/c/events", user: "ann")
            let seen = (0..<(answer.count("events") ?? 0)).map { number in
                [
                    answer.text("events/\(number)/type"), answer.number("events/\(number)/amount/amount"),
                    answer.text("events/\(number)/amount/currency"),
                ].compactMap(\.self).joined(separator: " ")
            }
            #expect(
                seen == [
                    "pending 2000 JPY", "dropped", "pending 100 USD", "dropped", "pending 300 USD", "succeeded 300 USD",
                ])
            let page = try await client.get("/charges/c/events?limit=2", user: "ann")
            #expect(page.count("events") == 2)
            let next = try #require(page.text("nextCursor"))
            let second = try await client.get("/charges/c/events?limit=2&cursor=\(next)", user: "ann")
            #expect(second.integer("events/0/amount/amount") == 100)
            #expect(try await client.get("/charges/c/events", user: "bob").code == "charge-not-found")
        }
    }

    @Test("pages follow one another")
    func pages() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", "20.00", key: "k")
            for number in 1...4 { _ = try await client.refund("c", "1.00", key: "r\(number)") }
            var sequences: [Int64] = []
            var cursor: String?
            repeat {
                let page = try await client.get("/charges/c/events?limit=2" + (cursor.map { "&cursor=\($0)" } ?? ""))
                sequences += (0..<(page.count("events") ?? 0)).compactMap { page.integer("events/\($0)/sequence") }
                cursor = page.text("nextCursor")
            } while cursor != nil
            #expect(sequences == [1, 2, 3, 4, 5])
            #expect(try await client.get("/charges/c/events?cursor=x").status == 400)
        }
    }

    @Test("another user's trail reads as that of a charge that does not exist (INV-15)")
    func foreign() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k", user: "ann")
            #expect(try await types(client, "c", user: "ann") == ["succeeded"])
            #expect(try await client.get("/charges/c/events", user: "bob").code == "charge-not-found")
            #expect(try await client.get("/charges/none/events", user: "bob").code == "charge-not-found")
        }
    }
}
