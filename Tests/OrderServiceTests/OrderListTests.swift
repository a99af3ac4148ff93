import Money
import ServiceClient
import StockAPI
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

@Suite("The orders that a user sees", .timeLimit(.minutes(5)))
struct OrderListTests {
    @Test("another user's order is not found, nor is one that does not exist (hazard 69)")
    func foreignOrder() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let id = try #require(try await client.checkout(user: "ada").text("orderId"))

            #expect(try await client.status(ofOrder: id, user: "ada") == "completed")
            for user in ["bob", nil] {
                let answer = try await client.get("/orders/\(id)", user: user)
                #expect(answer.status == 404)
                #expect(answer.code == "order-not-found")
            }
            #expect(try await client.get("/orders/none", user: "ada").status == 404)
        }
    }

    @Test("a list has the caller's orders only, without their history")
    func ownOrders() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let mine = try await client.checkout(user: "ada").text("orderId")
            _ = try await client.checkout(user: "bob")
            let list = try await client.get("/orders", user: "ada")

            #expect(list.count("orders") == 1)
            #expect(list.text("orders/0/orderId") == mine)
            #expect(list.value("orders/0/history") == nil)
            #expect(list.value("nextCursor") == .null)
            #expect(try await client.get("/orders", user: "eve").count("orders") == 0)
        }
    }

    @Test("pages come newest first, without gaps and without repetitions")
    func pages() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            var made: [String] = []
            for number in 1...5 {
                made.append(try #require(try await client.checkout(key: "key-\(number)").text("orderId")))
                fixture.test.time.advance(by: .seconds(1))
            }
            var listed: [[String]] = []
            var cursor: String? = ""
            while let after = cursor {
                let page = try await client.get("/orders?limit=2" + (after.isEmpty ? "" : "&cursor=\(after)"))
                #expect(page.status == 200)
                listed.append((0..<(page.count("orders") ?? 0)).compactMap { page.text("orders/\($0)/orderId") })
                cursor = page.text("nextCursor")
            }
            #expect(listed.map(\.count) == [2, 2, 1])
            #expect(listed.flatMap { $0 } == made.reversed())
        }
    }

    @Test("a full last page has no cursor")
    func fullLastPage() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            _ = try await client.checkout(key: "key-1")
            _ = try await client.checkout(key: "key-2")
            let page = try await client.get("/orders?limit=2")
            #expect(page.count("orders") == 2)
            #expect(page.value("nextCursor") == .null)
        }
    }

    @Test(
        "a page that cannot be is refused",
        arguments: ["limit=0", "limit=101", "limit=two", "limit=", "cursor=", "cursor=yesterday", "page=2"])
    func badPage(_ query: String) async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let answer = try await client.get("/orders?\(query)")
            #expect(answer.status == 400)
            #expect(answer.code == "invalid-parameter")
        }
    }

    @Test("each currency of completed orders has a total of its own, and without orders there is none")
    func totalsByCurrency() async throws {
        let fixture = try OrderFixture()
        let empty = try await fixture.parts.log.totals()
        #expect(empty.orders == ["pending": 0, "completed": 0, "failed": 0])
        #expect(empty.completed.isEmpty)
        for code in ["JPY", "EUR", "USD", "EUR"] {
            let total = Money(minorUnits: 1500, currency: try #require(Currency(code: code)))
            try await fixture.leave(.completed(ReservedGoods(total: total, lines: ReservedGoods.sample.lines)))
        }
        try await fixture.leave(.charging(.sample))
        let totals = try await fixture.parts.log.totals()
        #expect(totals.orders == ["pending": 1, "completed": 4, "failed": 0])
        #expect(totals.completed.map { "\($0.currency) \($0.amount)" } == ["EUR 3000", "JPY 1500", "USD 1500"])
    }

    @Test("the totals count orders by status and add up what is completed")
    func totals() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.charge) { call in
            switch call {
            case 2: .refuse(.declined)
            case 4: .wait(gate, then: .answer)
            default: .answer
            }
        }
        try await fixture.run { client in
            _ = try await client.checkout(#"{"itemId":1,"quantity":2}"#, key: "1")
            _ = try await client.checkout(key: "2")
            _ = try await client.checkout(#"{"itemId":1,"quantity":5}"#, key: "3", user: "ada")
            async let pending = client.checkout(key: "4")
            await gate.arrival()

            let totals = try await client.get("/audit/totals")
            #expect(totals.integer("orders/pending") == 1)
            #expect(totals.integer("orders/completed") == 2)
            #expect(totals.integer("orders/failed") == 1)
            #expect(totals.count("completedTotals") == 1)
            #expect(totals.text("completedTotals/0/currency") == "USD")
            #expect(totals.integer("completedTotals/0/amount") == 7000)
            gate.open()
            _ = try await pending
        }
    }
}
