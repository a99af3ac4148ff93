import SeededRandom
import StockAPI
import Storage
import TestSupport
import Testing

@testable import StockService

@Suite("What always holds in Stock", .timeLimit(.minutes(5)))
struct StockInvariantTests {
    private static let items: [Int64] = [1, 2, 3]

    @Test(
        "after any mix of commands every item adds up: received = available + reserved + completed (INV-5)",
        arguments: [1, 2, 3, 4] as [UInt64])
    func balance(_ seed: UInt64) async throws {
        let fixture = try StockFixture()
        for id in Self.items { try await fixture.stock(id, price: id, onHand: 20) }
        var random = SeededGenerator(seed: seed)
        var statuses: [String: Reservation.Status] = [:]
        for step in 0..<2000 {
            let command = Command(&random)
            let reservation = try await fixture.run(command)
            if let reservation {
                let before = statuses.updateValue(reservation.status, forKey: reservation.id)
                if let before, before != .reserved {
                    #expect(before == reservation.status, "seed \(seed), step \(step), \(command): INV-7")
                }
            }
            if step.isMultiple(of: 50) { try await fixture.expectBalance("seed \(seed), step \(step)") }
        }
        try await fixture.expectBalance("seed \(seed), at the end")

        // The mix must have been one: each final state, and each item moved.
        #expect(Set(statuses.values).isSuperset(of: [.completed, .canceled]))
        #expect(try await fixture.accounts().allSatisfy { $0.completed > 0 })
    }

    @Test("the totals for the operator show the same sums")
    func totals() async throws {
        let fixture = try StockFixture()
        try await fixture.stock(1, onHand: 10)
        try await fixture.run { client in
            _ = try await client.reserve(1, key: "reserved")
            let completed = try #require(try await client.reserve(2, key: "completed").text("reservationId"))
            _ = try await client.complete(completed)
            let released = try #require(try await client.reserve(3, key: "released").text("reservationId"))
            _ = try await client.release(released)
            _ = try await client.release("tombstone")
            _ = try await client.post("/items/1/restock", #"{"quantity":5}"#)

            let totals = try await client.get("/audit/totals")
            #expect(totals.count("items") == 1)
            #expect(totals.integer("items/0/itemId") == 1)
            #expect(totals.integer("items/0/received") == 15)
            #expect(totals.integer("items/0/available") == 12)
            #expect(totals.integer("items/0/reserved") == 1)
            #expect(totals.integer("items/0/completed") == 2)
            #expect(totals.integer("reservations/reserved") == 1)
            #expect(totals.integer("reservations/completed") == 1)
            #expect(totals.integer("reservations/canceled") == 2)
        }
    }

    @Test("items and reservations are read in steps, with a pause after each but the last")
    func totalsInSteps() async throws {
        let fixture = try StockFixture()
        let copies = 2 * StockTotals.stepSize + 500
        try await fixture.test.store.transaction { transaction in
            try transaction.run("DELETE FROM items", [])
            let numbers = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)"
            try transaction.run(
                """
                \(numbers) INSERT INTO items (item_id, name, price, currency, on_hand, reserved, completed, received)
                SELECT n, 'a thing', 100, 'USD', 10, 1, 2, 12 FROM number
                """, [.integer(copies)])
            try transaction.run(
                """
                \(numbers) INSERT INTO reservations (reservation_id, status, lines, created_at, expires_at)
                SELECT 'r' || n, iif(n % 5 = 0, 'reserved', iif(n % 5 = 1, 'canceled', 'completed')), '[]', n, n
                FROM number
                """, [.integer(copies)])
        }
        let pauses = fixture.test.sleeper.sleeps.count
        let totals = try await StockTotals(in: fixture.test.environment)
        #expect(fixture.test.sleeper.sleeps.count - pauses == 4)
        #expect(totals.items.map(\.id) == Array(1...copies))
        #expect(totals.items.allSatisfy { ($0.received, $0.available, $0.reserved, $0.completed) == (12, 9, 1, 2) })
        #expect(
            (totals.reserved, totals.canceled, totals.completed) == (copies / 5, copies / 5, copies - 2 * (copies / 5)))
    }

    @Test("a reservation that ends while the totals are read is told as open: they say that they are not final")
    func totalsWhileAReservationEnds() async throws {
        let fixture = try StockFixture()
        try await fixture.stock(1, onHand: 10)
        _ = try await fixture.reserve("r", [LineRequest(itemID: 1, quantity: 2)]).get()
        let (gated, gate) = (GatedStore(fixture.test.store), Gate())
        gated.holdNext(at: gate)
        async let reading = StockTotals(in: fixture.test.environment(on: gated))
        await gate.arrival()
        _ = try await fixture.complete("r").get()
        gate.open()
        let totals = try await reading
        #expect((totals.reserved, totals.completed) == (1, 1))
    }

    @Test("of more items than an answer has room for, those with the lowest ids are told")
    func totalsOfManyItems() async throws {
        let fixture = try StockFixture()
        try await fixture.test.store.transaction { transaction in
            try transaction.run("DELETE FROM items", [])
            try transaction.run(
                """
                WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
                INSERT INTO items (item_id, name, price, currency, on_hand, received)
                SELECT n, 'a thing', 100, 'USD', 10, 10 FROM number
                """, [.integer(Int64(StockTotals.maximumItems) + 1500)])
        }
        let totals = try await StockTotals(in: fixture.test.environment)
        #expect(totals.items.count == StockTotals.maximumItems)
        #expect(totals.items.last?.id == Int64(StockTotals.maximumItems))
    }

    @Test("the schema itself refuses stock that does not add up")
    func schema() async throws {
        let fixture = try StockFixture()
        try await fixture.stock(1, onHand: 10)
        for change in [
            "reserved = 11", "reserved = -1", "on_hand = 9", "on_hand = 11", "completed = 1", "price = 0",
        ] {
            await #expect(throws: StoreError.self, "\(change)") {
                try await fixture.test.store.transaction { try $0.run("UPDATE items SET \(change)", []) }
            }
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 10, reserved: 0))
    }
}

/// One command of a random mix, on few ids, so that commands meet.
private enum Command: Sendable {
    case reserve(String, [LineRequest])
    case release(String)
    case complete(String)
    case restock(Int64, Int64)
    case sweep(Duration)

    init(_ random: inout SeededGenerator) {
        let id = "r\(Int.random(in: 0..<400, using: &random))"
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<9:
            let items = ([1, 2, 3] as [Int64]).shuffled(using: &random).prefix(Int.random(in: 1...3, using: &random))
            self = .reserve(
                id, items.map { LineRequest(itemID: $0, quantity: Int64.random(in: 1...5, using: &random)) })
        case 9..<12: self = .release(id)
        case 12..<16: self = .complete(id)
        case 16..<19:
            self = .restock(Int64.random(in: 1...3, using: &random), Int64.random(in: 1...4, using: &random))
        default: self = .sweep(.seconds(Int.random(in: 0...300, using: &random)))
        }
    }
}

extension StockFixture {
    /// Runs one command. - Returns: the reservation it brought, if any.
    fileprivate func run(_ command: Command) async throws -> Reservation? {
        switch command {
        case .reserve(let id, let lines): return try await reserve(id, lines).reservation
        case .release(let id): return try await release(id).reservation
        case .complete(let id): return try await complete(id).reservation
        case .restock(let item, let quantity):
            _ = try await catalogue { try $0.restock(item, quantity: quantity) }
        case .sweep(let duration):
            test.time.advance(by: duration)
            try await StockService.sweep(test.environment)
        }
        return nil
    }

    /// Compares each item with itself, and its reserved goods with the reservations that hold them.
    fileprivate func expectBalance(_ comment: Comment) async throws {
        let held = try await test.store.transaction { transaction in
            try transaction.all(
                """
                SELECT json_extract(line.value, '$.itemId'), sum(json_extract(line.value, '$.quantity'))
                FROM reservations, json_each(reservations.lines, '$.lines') AS line
                WHERE status = 'reserved' GROUP BY 1
                """, []
            ) { ($0.integer(0), $0.integer(1)) }
        }
        let heldByItem = Dictionary(uniqueKeysWithValues: held)
        for account in try await accounts() {
            #expect(account.received == account.onHand + account.completed, comment)
            #expect(account.onHand >= account.reserved && account.reserved >= 0, comment)
            #expect(account.reserved == heldByItem[account.itemID] ?? 0, comment)
        }
    }
}
