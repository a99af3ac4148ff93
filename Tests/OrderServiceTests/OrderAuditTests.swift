import AuditAPI
import ServiceClient
import StockAPI
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

@Suite("What Order shows an audit", .timeLimit(.minutes(5)))
struct OrderAuditTests {
    private func entries(_ client: RouteClient, _ query: String = "") async throws -> [OrderEntry] {
        try await page(client, query).entries
    }

    private func page(_ client: RouteClient, _ query: String) async throws -> AuditPage<OrderEntry> {
        let answer = try await client.get("/audit/orders\(query)")
        try #require(answer.status == 200)
        return try AuditPage(json: try JSONParser.parse(answer.body))
    }

    @Test("orders of all users, with their ids, goods and totals, and with no key")
    func orders() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge, .answer, .refuse(.declined))
        try await fixture.run { client in
            let completed = try await client.checkout(key: "secret-1", user: "ada")
            fixture.test.time.advance(by: .seconds(1))
            _ = try await client.checkout(key: "secret-2", user: "bob")

            let found = try await entries(client)
            #expect(found.map(\.status) == [.completed, .failed])
            #expect(found.map(\.user) == ["ada", "bob"])
            let order = try #require(found.first)
            #expect(order.id == completed.text("orderId"))
            #expect(order.total == Amount(2000, "USD"))
            #expect(order.record?.status == .completed)
            #expect(order.record?.reservationID == completed.text("reservationId"))
            #expect(order.record?.chargeID == completed.text("chargeId"))
            #expect(order.record?.lines == [LineRequest(itemID: 1, quantity: 2)])
            #expect(order.record?.total == order.total)
            #expect(found.last?.record?.total == nil)
            #expect(found.last?.total == nil)

            let text = String(decoding: try await client.get("/audit/orders").body, as: UTF8.self)
            #expect(!text.contains("secret"))
        }
    }

    @Test("orders of one key have one digest, and so have those of one command; others have others")
    func digests() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge, .refuse(.declined))
        try await fixture.run { client in
            for (body, key, user) in [
                (OrderFixture.body, "k", "ada"), (OrderFixture.body, "k", "ada"), (OrderFixture.body, "k", "bob"),
                (OrderFixture.body, "l", "ada"), (#"{"itemId":1,"quantity":3}"#, "m", "ada"),
                (#"{"itemId":1,"quantity":2,"method":"card"}"#, "n", "ada"),
            ] {
                _ = try await client.checkout(body, key: key, user: user)
                fixture.test.time.advance(by: .seconds(1))
            }
            let found = try await entries(client)
            #expect(found.count == 6)
            #expect(found[0].key == found[1].key)
            #expect(Set(found.map(\.key)).count == 5)
            #expect(Set(found.prefix(4).map(\.command)).count == 1)
            #expect(Set(found.map(\.command)).count == 3)
            #expect(found.allSatisfy { $0.key.count == 32 })
        }
    }

    @Test("an order whose refusal binds no key has no command that its key would be for (IK-17)")
    func unboundCommand() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve, .refuse(Refusal(code: "validation-failed", detail: "makes too large a total")))
        try await fixture.run { client in
            #expect(try await client.checkout(key: "k").status == 422)
            fixture.test.time.advance(by: .seconds(1))
            #expect(try await client.checkout(#"{"itemId":1,"quantity":1}"#, key: "k").status == 200)
            let found = try await entries(client)
            #expect(found.map(\.status) == [.failed, .completed])
            #expect(found[0].key == found[1].key)
            #expect(found[0].command == nil && found[1].command != nil)
        }
    }

    @Test("pages go on where the last one ended, and orders are found by their ids")
    func pages() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            for number in 1...5 { _ = try await client.checkout(key: "\(number)") }
            var listed: [String] = []
            var cursor: String?
            repeat {
                let page = try await page(client, "?limit=2" + (cursor.map { "&cursor=\($0)" } ?? ""))
                listed += page.entries.map(\.id)
                cursor = page.nextCursor
            } while cursor != nil
            #expect(listed.count == 5)
            #expect(listed == listed.sorted())
            let asked = try await entries(client, "?id=\(listed[3])&id=none&id=\(listed[1])")
            #expect(asked.map(\.id) == [listed[1], listed[3]])
            #expect(try await client.get("/audit/orders?limit=0").code == "invalid-parameter")
        }
    }

    @Test("an order that cannot be read is shown without its saga, and keeps no other from being shown")
    func unreadable() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let id = try #require(try await client.checkout(key: "1").text("orderId"))
            fixture.test.time.advance(by: .seconds(1))
            _ = try await client.checkout(key: "2")
            _ = try await fixture.test.store.transaction { transaction in
                try transaction.run("UPDATE orders SET saga = '{' WHERE order_id = ?", [.text(id)])
            }
            let found = try await entries(client)
            #expect(found.map { $0.record == nil } == [true, false])
            #expect(found.first?.command == nil)
            #expect(found.first?.status == .completed)
        }
    }

    @Test("a pending order shows the step it stands at")
    func pending() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.charge, .commitThenLose(.timedOut), .wait(gate, then: .answer))
        try await fixture.run { client in
            async let answer = client.checkout()
            await gate.arrival()
            let order = try #require(try await entries(client).first)
            #expect(order.status == .pending)
            #expect(order.record?.status == .pending)
            #expect(order.total == nil)
            gate.open()
            _ = try await answer
        }
    }
}
