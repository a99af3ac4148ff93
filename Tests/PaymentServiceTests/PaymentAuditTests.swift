import AuditAPI
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("What Payment shows an audit", .timeLimit(.minutes(5)))
struct PaymentAuditTests {
    private func page(_ client: RouteClient, _ query: String = "") async throws -> AuditPage<ChargeEntry> {
        let answer = try await client.get("/audit/charges\(query)")
        try #require(answer.status == 200)
        return try AuditPage(json: try JSONParser.parse(answer.body))
    }

    private func charge(_ client: RouteClient, _ id: String) async throws -> ChargeEntry? {
        try await page(client, "?id=\(id)").entries.first
    }

    @Test("charges of all users in every state, and whether each was asked for under its own id")
    func charges() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.approved), .answer(.declined(.cardDeclined)), .answer(.unknown))
        try await fixture.run { client in
            _ = try await client.charge(
                key: "a", user: "ada", more: #","chargeId":"a","orderId":"o-1""#)
            _ = try await client.charge(id: "b", key: "secret", user: "bob")
            _ = try await client.charge(id: "c", key: "c")
            _ = try await client.refund("d", key: "r", orCancel: true)

            let page = try await page(client)
            #expect(page.readAt == fixture.test.time.now)
            #expect(page.entries.map(\.id) == ["a", "b", "c", "d"])
            #expect(page.entries.map(\.status) == [.succeeded, .failed, .pending, .canceled])
            #expect(page.entries.map(\.user) == ["ada", "bob", "", ""])
            #expect(page.entries.map(\.orderID) == ["o-1", nil, nil, nil])
            #expect(page.entries.map(\.isKeyedByID) == [true, false, true, false])
            #expect(page.entries.first?.amount == Amount(2000, "USD"))
            #expect(page.entries.allSatisfy { $0.refunded == 0 && $0.refundRecords == 0 && $0.refundedUnderKeys == 0 })
            let text = String(decoding: try await client.get("/audit/charges").body, as: UTF8.self)
            #expect(!text.contains("secret"))
        }
    }

    @Test("refunds are added up, and those under the keys that were asked for apart")
    func refunds() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "a", key: "1")
            _ = try await client.charge(id: "b", key: "2")
            for (key, amount) in [("x", "1.00"), ("y", "2.00"), ("z", "4.00")] {
                _ = try await client.refund("a", amount, key: key)
            }
            #expect(try await charge(client, "a")?.refunded == 700)
            #expect(try await charge(client, "a")?.refundRecords == 700)
            #expect(try await charge(client, "a")?.refundedUnderKeys == 0)
            #expect(try await charge(client, "a")?.refundPendingSince == nil)
            #expect(try await charge(client, "a&key=x&key=z&key=none")?.refundedUnderKeys == 500)
            #expect(try await charge(client, "b&key=x")?.refundedUnderKeys == 0)
        }
    }

    @Test("a refund without an answer shows since when")
    func pendingRefund() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptRefunds(.answer(.unknown))
        try await fixture.run { client in
            _ = try await client.charge(id: "a", key: "1")
            fixture.test.time.advance(by: .seconds(5))
            let since = fixture.test.time.now
            _ = try await client.refund("a", "1.00", key: "x")
            fixture.test.time.advance(by: .seconds(5))
            let found = try await charge(client, "a")
            #expect(found?.refundPendingSince == since)
            #expect(found?.refunded == 100)
            try await fixture.settleOpen()
            #expect(try await charge(client, "a")?.refundPendingSince == nil)
        }
    }

    @Test("what is set aside stands beside what the open payments hold, each provider and currency apart (INV-11)")
    func clearing() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        try await fixture.run { client in
            func clearing() async throws -> [ClearingEntry] {
                let answer = try await client.get("/audit/clearing")
                return try AuditPage<ClearingEntry>(json: try JSONParser.parse(answer.body)).entries
            }
            let dollars = try await client.openWallet("ann", "100")
            let euros = try await client.openWallet("ann", "100", currency: "EUR")
            for (account, amount, provider) in [
                (dollars, "10", "stripe"), (dollars, "7", "stripe"), (dollars, "1", "paypal"), (euros, "2", "stripe"),
            ] {
                let made = try await client.pay(
                    "external_payment", from: account, amount, key: "\(account)\(amount)", user: "ann",
                    provider: provider, more: account == euros ? #","currency":"EUR""# : "")
                #expect(made.status == 202)
            }
            let found = try await clearing()
            #expect(
                found.map(\.id) == ["clearing:paypal:USD", "clearing:stripe:EUR", "clearing:stripe:USD"])
            #expect(found.map(\.balance) == [-100, -200, -1700])
            #expect(found.map(\.held) == [100, 200, 1700])

            // Somebody has changed a payment: what it holds is no longer what was set aside for it.
            try await fixture.environment.store.transaction { transaction in
                _ = try transaction.run("UPDATE payments SET held = held - 400 WHERE amount = 1000", [])
            }
            let tampered = try await clearing()
            #expect(tampered.last?.balance == -1700)
            #expect(tampered.last?.held == 1300)
            #expect(tampered.map(\.held) == [100, 200, 1300])
        }
    }

    @Test("pages go on where the last one ended")
    func pages() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            for id in ["c", "a", "b"] { _ = try await client.charge(id: id, key: id) }
            let first = try await page(client, "?limit=2")
            #expect(first.entries.map(\.id) == ["a", "b"])
            #expect(first.nextCursor == "b")
            let second = try await page(client, "?limit=2&cursor=b")
            #expect(second.entries.map(\.id) == ["c"])
            #expect(second.nextCursor == nil)
            #expect(try await client.get("/audit/charges?limit=201").code == "invalid-parameter")
        }
    }
}
