import Money
import ServiceKit
import StockAPI
import StrictJSON
import TestSupport
import Testing

@testable import StockService

@Suite("Items", .timeLimit(.minutes(5)))
struct ItemTests {
    private let fixture: StockFixture

    init() throws { fixture = try StockFixture() }

    private static let book = #"{"name":"book","price":12.50,"onHand":7}"#

    // MARK: - Creating and re-pricing

    @Test("a new item is created with its stock, and shown as the contract says")
    func create() async throws {
        try await fixture.run { client in
            let answer = try await client.put("/items/5", Self.book)
            #expect(answer.status == 201)
            #expect(answer.names() == ["itemId", "name", "price", "onHand", "reserved", "available"])
            #expect(answer.integer("itemId") == 5)
            #expect(answer.text("name") == "book")
            #expect(answer.integer("price/amount") == 1250)
            #expect(answer.text("price/currency") == "USD")
            #expect(answer.integer("onHand") == 7)
            #expect(answer.integer("reserved") == 0)
            #expect(answer.integer("available") == 7)
            #expect(try await client.get("/items/5").body == answer.body)
        }
    }

    @Test("a new item without onHand has none")
    func createEmpty() async throws {
        try await fixture.run { client in
            let answer = try await client.put("/items/5", #"{"name":"x","price":{"amount":3,"currency":"JPY"}}"#)
            #expect(answer.status == 201)
            #expect(answer.integer("onHand") == 0)
            #expect(answer.text("price/currency") == "JPY")
        }
    }

    @Test("an item that exists is renamed and re-priced, and keeps its stock")
    func reprice() async throws {
        try await fixture.run { client in
            _ = try await client.put("/items/5", Self.book)
            for body in [#"{"name":"tome","price":20}"#, #"{"name":"tome","price":20,"onHand":7}"#] {
                let answer = try await client.put("/items/5", body)
                #expect(answer.status == 200)
                #expect(answer.text("name") == "tome")
                #expect(answer.integer("price/amount") == 2000)
                #expect(answer.integer("onHand") == 7)
            }
        }
    }

    @Test("another onHand for an item that exists is refused, and changes nothing")
    func onHand() async throws {
        try await fixture.run { client in
            let created = try await client.put("/items/5", Self.book)
            for onHand in [0, 6, 8] {
                let refused = try await client.put("/items/5", #"{"name":"tome","price":20,"onHand":\#(onHand)}"#)
                #expect(refused.status == 422)
                #expect(refused.text("errors/0/pointer") == "#/onHand")
            }
            #expect(try await client.get("/items/5").body == created.body)
        }
    }

    @Test("available is what is on hand and not reserved")
    func available() async throws {
        try await fixture.stock(1, onHand: 10)
        try await fixture.run { client in
            _ = try await client.reserve(3, key: "a")
            let completed = try #require(try await client.reserve(2, key: "b").text("reservationId"))
            _ = try await client.complete(completed)
            let item = try await client.get("/items/1")
            #expect(item.integer("onHand") == 8)
            #expect(item.integer("reserved") == 3)
            #expect(item.integer("available") == 5)
        }
    }

    @Test(
        "an item that cannot be is refused, and not created",
        arguments: [
            (#"{"price":1}"#, "#/name"), (#"{"name":"","price":1}"#, "#/name"), (#"{"name":"x"}"#, "#/price"),
            (#"{"name":"x","price":0}"#, "#/price"), (#"{"name":"x","price":-1}"#, "#/price"),
            (#"{"name":"x","price":1.005}"#, "#/price"), (#"{"name":"x","price":"1"}"#, "#/price"),
            (#"{"name":"x","price":{"amount":1,"currency":"usd"}}"#, "#/price/currency"),
            (#"{"name":"x","price":{"amount":1.5,"currency":"USD"}}"#, "#/price/amount"),
            (#"{"name":"x","price":1,"onHand":-1}"#, "#/onHand"),
            (#"{"name":"x","price":1,"onHand":1000000000000001}"#, "#/onHand"),
            (#"{"name":"x","price":1,"reserved":0}"#, "#/reserved"),
        ])
    func invalid(_ body: String, pointer: String) async throws {
        try await fixture.run { client in
            let answer = try await client.put("/items/5", body)
            #expect(answer.status == 422)
            #expect(answer.text("errors/0/pointer") == pointer)
            #expect(try await client.get("/items/5").status == 404)
        }
    }

    @Test(
        "ids are whole numbers from 1 to 2147483647, in one spelling", arguments: ["0", "-1", "01", "x", "2147483648"])
    func badID(_ id: String) async throws {
        try await fixture.run { client in
            for answer in [try await client.get("/items/\(id)"), try await client.put("/items/\(id)", Self.book)] {
                #expect(answer.status == 404)
                #expect(answer.code == "item-not-found")
            }
            #expect(try await client.put("/items/2147483647", Self.book).status == 201)
        }
    }

    // MARK: - Restocking

    @Test("a restock with a key adds once, and replays its answer")
    func restockOnce() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let first = try await client.post("/items/1/restock", #"{"quantity":3}"#, key: "k")
            #expect(first.status == 200)
            #expect(first.integer("onHand") == 8)
            _ = try await client.post("/items/1/restock", #"{"quantity":1}"#, key: "other")
            let second = try await client.post("/items/1/restock", #"{"quantity":3}"#, key: "k")
            #expect(second.isReplayed)
            #expect(second.body == first.body)
            #expect(try await client.post("/items/1/restock", #"{"quantity":4}"#, key: "k").status == 422)
            #expect(try await client.get("/items/1").integer("onHand") == 9)
        }
        #expect(
            try await fixture.accounts() == [Account(itemID: 1, received: 9, onHand: 9, reserved: 0, completed: 0)])
    }

    @Test("a restock of another item under the same key is another command")
    func restockOther() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.stock(2, onHand: 5)
        try await fixture.run { client in
            _ = try await client.post("/items/1/restock", #"{"quantity":3}"#, key: "k")
            let other = try await client.post("/items/2/restock", #"{"quantity":3}"#, key: "k")
            #expect(other.code == "idempotency-key-reused")
            #expect(try await client.get("/items/2").integer("onHand") == 5)
        }
    }

    @Test("a restock without a key adds each time")
    func restockEachTime() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            for _ in 0..<2 { _ = try await client.post("/items/1/restock", #"{"quantity":3}"#) }
            #expect(try await client.get("/items/1").integer("onHand") == 11)
        }
    }

    @Test("a restock of an item that does not exist, or with a quantity that cannot be, is refused")
    func restockRefused() async throws {
        try await fixture.stock(1, onHand: Catalogue.maximumOnHand - 1)
        try await fixture.run { client in
            for key in ["k", nil] {
                #expect(
                    try await client.post("/items/9/restock", #"{"quantity":1}"#, key: key).code == "item-not-found")
                let tooMuch = try await client.post("/items/1/restock", #"{"quantity":2}"#, key: key.map { $0 + "2" })
                #expect(tooMuch.status == 422)
                #expect(tooMuch.text("errors/0/pointer") == "#/quantity")
                #expect(try await client.post("/items/1/restock", #"{"quantity":0}"#, key: key).status == 422)
            }
            #expect(try await client.post("/items/1/restock", #"{"quantity":1}"#, key: "k2").status == 200)
        }
    }

    // MARK: - Lists

    @Test("a list is paged by id, without gaps and without repetitions")
    func pages() async throws {
        for id in [3, 1, 9, 4, 7] as [Int64] { try await fixture.stock(id, onHand: 1) }
        try await fixture.run { client in
            var listed: [[Int64]] = []
            var cursor: String? = ""
            while let after = cursor {
                let page = try await client.get("/items?limit=2" + (after.isEmpty ? "" : "&cursor=\(after)"))
                listed.append((0..<(page.count("items") ?? 0)).compactMap { page.integer("items/\($0)/itemId") })
                cursor = page.text("nextCursor")
            }
            #expect(listed == [[1, 3], [4, 7], [9]])
            #expect(try await client.get("/items").count("items") == 5)
            #expect(try await client.get("/items?limit=5").value("nextCursor") == .null)
        }
    }

    @Test("a page that cannot be is refused", arguments: ["limit=0", "limit=101", "limit=x", "cursor=x", "page=1"])
    func badPage(_ query: String) async throws {
        try await fixture.run { client in
            let answer = try await client.get("/items?\(query)")
            #expect(answer.status == 400)
            #expect(answer.code == "invalid-parameter")
        }
    }

    // MARK: - The first item

    @Test("a fresh store has the sample item; a store that has any item is never seeded again (hazard 23)")
    func seed() async throws {
        let settings = Settings(flags: [:], environment: ["STOCK_INITIAL_QUANTITY": "42"])
        let environment = fixture.test.environment
        _ = try await StockService.definition.build(settings, environment)
        let sample = Item(
            id: 1, name: "sample item", price: Money(minorUnits: 1000, currency: .usd), onHand: 42, reserved: 0)
        #expect(try await fixture.catalogue { try $0.item(1) } == sample)

        _ = try await fixture.reserve("r", [LineRequest(itemID: 1, quantity: 40)])
        _ = try await fixture.complete("r")
        _ = try await StockService.definition.build(settings, environment)
        #expect(try await fixture.levels(1) == Levels(onHand: 2, reserved: 0))
    }

    @Test("without a setting the sample item has a hundred, and other items keep it away")
    func seedDefault() async throws {
        let settings = Settings(flags: [:], environment: [:])
        let environment = fixture.test.environment
        try await fixture.stock(7, onHand: 1)
        _ = try await StockService.definition.build(settings, environment)
        #expect(try await fixture.levels(1) == nil)

        let fresh = try StockFixture()
        _ = try await StockService.definition.build(settings, fresh.test.environment)
        #expect(try await fresh.levels(1) == Levels(onHand: 100, reserved: 0))
    }
}
