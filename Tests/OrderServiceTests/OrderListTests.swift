import Money
import ServiceClient
import ServiceKit
import StockAPI
import Storage
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

    @Test("an order that only a newer version can read hides none of the others, on whatever page it is")
    func unreadable() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            var made: [String] = []
            for number in 0..<5 {
                made.append(
                    try #require(try await client.checkout(key: "key-\(number)", user: "ada").text("orderId")))
                fixture.test.time.advance(by: .seconds(1))
            }
            try await fixture.test.store.transaction { [made] transaction in
                for id in [made[0], made[3]] {
                    _ = try transaction.run(
                        "UPDATE orders SET saga = '{\"version\":99}' WHERE order_id = ?", [.text(id)])
                }
            }
            var (listed, cursor) = ([String](), "")
            for _ in 0..<5 {
                let page = try await client.get("/orders?limit=2\(cursor)", user: "ada")
                #expect(page.status == 200)
                let count = page.count("orders") ?? 0
                listed += (0..<count).compactMap { page.text("orders/\($0)/orderId") }
                guard let next = page.text("nextCursor") else { break }
                cursor = "&cursor=\(next)"
            }
            #expect(listed == [made[4], made[2], made[1]])
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
        let empty = try await OrderTotals(in: fixture.environment)
        #expect((empty.pending, empty.completed, empty.failed) == (0, 0, 0))
        #expect(empty.worth.isEmpty)
        for code in ["JPY", "EUR", "USD", "EUR"] {
            let total = Money(minorUnits: 1500, currency: try #require(Currency(code: code)))
            try await fixture.leave(.completed(ReservedGoods(total: total, lines: ReservedGoods.sample.lines)))
        }
        try await fixture.leave(.charging(.sample))
        let totals = try await OrderTotals(in: fixture.environment)
        #expect((totals.pending, totals.completed, totals.failed) == (1, 4, 0))
        #expect(totals.worth == ["EUR": 3000, "JPY": 1500, "USD": 1500])
    }

    @Test("what orders are worth together may be more than one of them could be")
    func totalsBeyondOneOrder() async throws {
        let fixture = try OrderFixture()
        for _ in 0..<3 {
            let total = Money(minorUnits: Int64.max, currency: try #require(Currency(code: "USD")))
            try await fixture.leave(.completed(ReservedGoods(total: total, lines: ReservedGoods.sample.lines)))
        }
        #expect(try await OrderTotals(in: fixture.environment).worth == ["USD": 3 * Int128(Int64.max)])
        try await fixture.run { client in
            let totals = try await client.get("/audit/totals")
            #expect(totals.number("completedTotals/0/amount") == String(3 * Int128(Int64.max)))
        }
    }

    @Test("orders are added up in steps, with a pause after each but the last")
    func totalsInSteps() async throws {
        let fixture = try OrderFixture()
        try await fixture.leave(.completed(.sample))
        let copies = 2 * OrderTotals.stepSize + 500
        _ = try await fixture.environment.store.transaction { transaction in
            try transaction.run(
                """
                WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
                INSERT INTO orders (order_id, user_id, status, operation_key, attempt, saga, total, currency, created_at,
                    updated_at, owner, epoch, due_at)
                SELECT order_id || n, user_id, iif(n % 3 = 0, 'failed', status), operation_key || n, attempt, saga,
                    iif(n % 3 = 0, NULL, total), iif(n % 3 = 0, NULL, currency), created_at, updated_at, owner, epoch, due_at
                FROM orders, number
                """, [.integer(copies)])
        }
        let pauses = fixture.sleeps.count
        let totals = try await OrderTotals(in: fixture.environment)
        #expect(fixture.sleeps.count - pauses == 2)
        #expect((totals.pending, totals.completed, totals.failed) == (0, 1 + copies - copies / 3, copies / 3))
        let each = Int128(ReservedGoods.sample.total.minorUnits)
        #expect(totals.worth == ["USD": each * Int128(totals.completed)])
    }

    @Test("an order that ends while the totals are added up is told as pending: they say that they are not final")
    func totalsWhileAnOrderEnds() async throws {
        let fixture = try OrderFixture()
        let left = try await fixture.leave(.charging(.sample))
        let (gated, gate) = (GatedStore(fixture.environment.store), Gate())
        gated.holdNext(at: gate)
        async let reading = OrderTotals(in: fixture.test.environment(on: gated))
        await gate.arrival()
        _ = try await fixture.environment.store.transaction { transaction in
            try transaction.run(
                "UPDATE orders SET status = 'completed', total = 2000, currency = 'USD' WHERE order_id = ?",
                [.text(left.plan.orderID)])
        }
        gate.open()
        let totals = try await reading
        #expect((totals.pending, totals.completed) == (1, 1))
        #expect(totals.worth == ["USD": 2000])
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
