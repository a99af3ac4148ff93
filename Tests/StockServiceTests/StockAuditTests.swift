import AuditAPI
import Resilience
import StockAPI
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import StockService

@Suite("What Stock shows an audit", .timeLimit(.minutes(5)))
struct StockAuditTests {
    private func page<Entry: AuditEntry>(
        _ kind: Entry.Type, _ client: RouteClient, _ query: String = ""
    ) async throws -> AuditPage<Entry> {
        let answer = try await client.get(Entry.path + query)
        try #require(answer.status == 200)
        return try AuditPage(json: try JSONParser.parse(answer.body))
    }

    @Test("reservations in every state, with their goods; a tombstone has none")
    func reservations() async throws {
        let fixture = try StockFixture()
        try await fixture.stock(1, onHand: 10)
        try await fixture.stock(2, price: 5, onHand: 10)
        _ = try await fixture.reserve("a", [LineRequest(itemID: 2, quantity: 3), LineRequest(itemID: 1, quantity: 1)])
        _ = try await fixture.reserve("b", [LineRequest(itemID: 1, quantity: 2)])
        _ = try await fixture.complete("b")
        _ = try await fixture.reserve("refused", [LineRequest(itemID: 1, quantity: 100)])
        _ = try await fixture.release("tombstone")
        try await fixture.run { client in
            let page = try await page(ReservationEntry.self, client)
            #expect(page.readAt == fixture.test.time.now)
            #expect(page.entries.map(\.id) == ["a", "b", "tombstone"])
            #expect(page.entries.map(\.status) == [.reserved, .completed, .canceled])
            let lines = [LineRequest(itemID: 2, quantity: 3), LineRequest(itemID: 1, quantity: 1)]
            #expect(page.entries[0].lines == lines)
            #expect(page.entries[0].total == Amount(1015, "USD"))
            #expect(page.entries[0].expiresAt == fixture.test.time.now.advanced(by: StockFixture.timeToLive))
            #expect(page.entries[2].lines == [])
            #expect(page.entries[2].total == nil)
            #expect(page.entries[2].expiresAt == nil)
        }
    }

    @Test("pages of reservations go on after any id that a client may have made, and ids find them")
    func pages() async throws {
        let fixture = try StockFixture()
        let ids = ["A b", "a&id=c", "a%", "é", "😀"]
        for id in ids { _ = try await fixture.release(id) }
        try await fixture.run { client in
            var listed: [String] = []
            var cursor: String?
            repeat {
                let query = cursor.map { "&cursor=\(Self.escape($0))" } ?? ""
                let page = try await page(ReservationEntry.self, client, "?limit=1\(query)")
                listed += page.entries.map(\.id)
                cursor = page.nextCursor
            } while cursor != nil
            #expect(Set(listed) == Set(ids))
            #expect(listed.count == ids.count)
            let query = "?" + ids.map { "id=\(Self.escape($0))" }.joined(separator: "&")
            #expect(try await page(ReservationEntry.self, client, query).entries.map(\.id) == listed)
        }
    }

    @Test("a reservation whose lines cannot be read is shown without them")
    func unreadable() async throws {
        let fixture = try StockFixture()
        try await fixture.stock(1, onHand: 10)
        _ = try await fixture.reserve("a", [LineRequest(itemID: 1, quantity: 1)])
        _ = try await fixture.reserve("b", [LineRequest(itemID: 1, quantity: 1)])
        for (id, lines) in [("a", "{"), ("b", #"{"lines":[{"itemId":1}]}"#)] {
            _ = try await fixture.test.store.transaction { transaction in
                try transaction.run(
                    "UPDATE reservations SET lines = ? WHERE reservation_id = ?", [.text(lines), .text(id)])
            }
        }
        try await fixture.run { client in
            let found = try await page(ReservationEntry.self, client).entries
            #expect(found.map { $0.lines == nil } == [true, true])
            #expect(found.map(\.status) == [.reserved, .reserved])
        }
    }

    @Test("items show where their goods are, page by page in the order of their numbers")
    func items() async throws {
        let fixture = try StockFixture()
        for id in [Int64(10), 2, 1] { try await fixture.stock(id, onHand: 10 * id) }
        _ = try await fixture.reserve("a", [LineRequest(itemID: 2, quantity: 3)])
        _ = try await fixture.reserve("b", [LineRequest(itemID: 2, quantity: 4)])
        _ = try await fixture.complete("b")
        try await fixture.run { client in
            let first = try await page(ItemEntry.self, client, "?limit=2")
            #expect(first.entries.map(\.itemID) == [1, 2])
            #expect(
                first.entries.last == ItemEntry(itemID: 2, received: 20, available: 13, reserved: 3, completed: 4))
            #expect(first.nextCursor == "2")
            let second = try await page(ItemEntry.self, client, "?limit=2&cursor=2")
            #expect(second.entries.map(\.itemID) == [10])
            #expect(second.nextCursor == nil)
            for query in ["?cursor=x", "?id=1"] {
                #expect(try await client.get("/audit/items\(query)").code == "invalid-parameter")
            }
        }
    }

    private static func escape(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain = (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
            return isPlain
                ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
    }
}
