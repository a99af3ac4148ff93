import ProviderAPI
import ServiceKit
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("What operators see and do of payments through providers", .timeLimit(.minutes(5)))
struct PaymentDeskTests {
    private static let command = #"{"operator":"ann","reason":"the bank called"}"#

    private func operate(
        _ fixture: PaymentFixture, _ body: @escaping @Sendable (RouteClient) async throws -> RouteResponse
    ) async throws -> RouteResponse {
        try await fixture.service.testOperators(in: fixture.environment, body)
    }

    @Test("an open payment is listed and shown with how far it is, and is asked about when an operator says so")
    func settle() async throws {
        let other = ProviderReply.contradicted("charge of 1 USD instead of charge of 100 USD")
        let gateway = ScriptedGateway(other, .throttled(after: .seconds(500)))
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("bob", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "1", key: "k", user: "bob").text("paymentId"))
            try await fixture.work()
            let list = try await operate(fixture) { try await $0.get("/payments") }
            #expect(list.count("payments") == 1 && list.text("payments/0/paymentId") == id)
            #expect(list.text("payments/0/userId") == "bob" && list.text("payments/0/phase") == "send")
            #expect(list.value("payments/0/mayBeTaken") == .bool(true))
            let asked = try await operate(fixture) { try await $0.post("/payments/\(id)/settle", Self.command) }
            #expect(asked.status == 200 && asked.text("actions/0/operator") == "ann")
            let lines = try fixture.test.log.events("an operator has acted")
            #expect(lines.count == 1 && lines.first?["payment_id"] == .string(id))
            try await fixture.work()
            #expect(gateway.calls.count == 2, "at once")
            // It has asked to be left alone.
            let refused = try await operate(fixture) { try await $0.post("/payments/\(id)/settle", Self.command) }
            #expect(refused.code == "payment-state-conflict")
            #expect(refused.text("detail")?.hasPrefix("stripe is left alone until 2026-01-01T00:08:20") == true)
            let actions = try await operate(fixture) { try await $0.get("/payments/\(id)") }
            #expect(actions.count("actions") == 1, "nothing was done")
            fixture.test.time.advance(by: .seconds(501))
            try await fixture.work()
            let shown = try await operate(fixture) { try await $0.get("/payments/\(id)") }
            #expect(shown.text("status") == "succeeded" && shown.text("events/0/type") == "created")
            let again = try await operate(fixture) { try await $0.post("/payments/\(id)/settle", Self.command) }
            #expect(again.code == "payment-state-conflict")
            #expect(try await operate(fixture) { try await $0.get("/payments") }.count("payments") == 0)
            let ended = try await operate(fixture) { try await $0.get("/payments?state=succeeded&user=bob") }
            #expect(ended.text("payments/0/paymentId") == id)
        }
    }

    @Test("the last events of a payment are shown, where there are more than are shown")
    func lastEvents() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(.refused(code: "limit", detail: "over it")))
        try await fixture.run { client in
            let account = try await client.openWallet("bob", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "1", key: "k", user: "bob").text("paymentId"))
            try await fixture.work()
            try await fixture.records { records in
                for _ in 0..<PaymentDesk.eventLimit {
                    _ = try records.contradict(id, at: .stripe, isRefund: false, now: fixture.test.time.now)
                }
            }
            let shown = try await operate(fixture) { try await $0.get("/payments/\(id)") }
            let count = try #require(shown.count("events"))
            #expect(count == PaymentDesk.eventLimit)
            #expect(shown.integer("events/0/sequence") ?? 0 > 1)
            #expect(
                shown.integer("events/\(count - 1)/sequence") == Int64(count)
                    + (shown.integer("events/0/sequence") ?? 0) - 1)
            #expect(shown.text("events/\(count - 1)/type") == "contradicted")
        }
    }

    @Test("a provider's own words are for operators and the log, and its code for the customer")
    func words() async throws {
        let gateway = ScriptedGateway(.refused(code: "limit", detail: "your card 4242 is over its limit"))
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("bob", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "1", key: "k", user: "bob").text("paymentId"))
            try await fixture.work()
            let payment = try await client.get("/payments/\(id)", user: "bob")
            #expect(payment.text("status") == "failed" && payment.text("lastError") == "refused: limit")
            let events = try await client.get("/payments/\(id)/events", user: "bob")
            #expect(events.text("events/2/reason") == "refused: limit")
            for answer in [payment, events] { #expect(!String(decoding: answer.body, as: UTF8.self).contains("4242")) }
            let shown = try await operate(fixture) { try await $0.get("/payments/\(id)") }
            #expect(shown.text("lastDetail") == "your card 4242 is over its limit")
            let line = try #require(try fixture.test.log.events("a payment has failed").first)
            #expect(line["detail"] == .string("your card 4242 is over its limit"))
        }
    }

    @Test("pages follow one another, open ones by age and others newest first")
    func pages() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        try await fixture.run { client in
            let account = try await client.openWallet("bob", "0")
            for number in 0..<5 {
                _ = try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "bob")
                fixture.test.time.advance(by: .seconds(1))
            }
            for state in ["open", "succeeded"] {
                var seen: [String] = []
                var cursor: String?
                repeat {
                    let query = "?state=\(state)&limit=2" + (cursor.map { "&cursor=\($0)" } ?? "")
                    let page = try await operate(fixture) { try await $0.get("/payments\(query)") }
                    seen += (0..<(page.count("payments") ?? 0)).compactMap { page.text("payments/\($0)/paymentId") }
                    cursor = page.text("nextCursor")
                } while cursor != nil
                #expect(seen.count == 5 && seen == (state == "open" ? seen.sorted() : seen.sorted(by: >)))
                let old = try await operate(fixture) { try await $0.get("/payments?state=\(state)&olderThan=3") }
                #expect(old.count("payments") == 3)
                try await fixture.work()
            }
        }
    }

    @Test("who and why are asked for, and what is not there is not found")
    func refusals() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        let unknown = try await operate(fixture) { try await $0.post("/payments/none/settle", Self.command) }
        #expect(unknown.code == "payment-not-found")
        let nobody = try await operate(fixture) { try await $0.post("/payments/none/settle", "{}") }
        #expect(nobody.code == "validation-failed")
        let state = try await operate(fixture) { try await $0.get("/payments?state=new") }
        #expect(state.status == 400)
    }
}
