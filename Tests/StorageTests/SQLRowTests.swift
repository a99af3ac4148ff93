import NIOPosix
import Storage
import Testing

@Suite("SQL row")
struct SQLRowTests {
    private struct MapError: Error {}

    private let store: SQLiteStore

    init() throws {
        store = try SQLiteStore(
            path: nil,
            migrations: [
                Migration(
                    "values",
                    "CREATE TABLE samples (id INTEGER PRIMARY KEY, number INTEGER, text TEXT, data BLOB) STRICT;")
            ],
            loop: MultiThreadedEventLoopGroup.singleton.any())
    }

    /// Writes one value and reads it back.
    private func roundTrip<T: Sendable>(
        _ column: String, _ value: SQLValue, _ read: @escaping @Sendable (any SQLRow) -> T
    ) async throws -> T {
        let result = try await store.transaction { transaction in
            try transaction.run("INSERT OR REPLACE INTO samples (id, \(column)) VALUES (1, ?)", [value])
            return try transaction.first("SELECT \(column) FROM samples WHERE id = 1", [], read)
        }
        return try #require(result)
    }

    @Test("whole numbers come back", arguments: [0, 1, -1, 1 << 53 + 1, .max, .min] as [Int64])
    func integer(number: Int64) async throws {
        #expect(try await roundTrip("number", .integer(number)) { $0.integer(0) } == number)
        #expect(try await roundTrip("number", .integer(number)) { $0.optionalInteger(0) } == number)
    }

    @Test("texts come back, the empty one as a text", arguments: ["", "plain", "é😀\u{301}", "a\r\nb\t\"'", " "])
    func text(text: String) async throws {
        let read = try await roundTrip("text", .text(text)) { $0.text(0) }
        #expect(Array(read.utf8) == Array(text.utf8))
        #expect(try await roundTrip("text", .text(text)) { $0.optionalText(0) } == text)
    }

    @Test("bytes come back", arguments: [[], [0], [0, 1, 255], [UInt8](repeating: 7, count: 100_000)] as [[UInt8]])
    func blob(bytes: [UInt8]) async throws {
        #expect(try await roundTrip("data", .blob(bytes)) { $0.blob(0) } == bytes)
    }

    @Test("an empty text and empty bytes are not NULL")
    func emptyIsNotNull() async throws {
        let types = try await store.transaction { transaction in
            try transaction.run("INSERT INTO samples (text, data) VALUES (?, ?)", ["", .blob([])])
            return try transaction.first("SELECT typeof(text), typeof(data) FROM samples", []) {
                [$0.text(0), $0.text(1)]
            }
        }
        #expect(types == ["text", "blob"])
    }

    @Test("NULL is nil, and empty bytes")
    func null() async throws {
        #expect(try await roundTrip("number", nil) { $0.optionalInteger(0) } == nil)
        #expect(try await roundTrip("text", .null) { $0.optionalText(0) } == nil)
        #expect(try await roundTrip("data", .null) { $0.blob(0) } == [])
    }

    @Test("columns count from 0, in the order of the query")
    func columns() async throws {
        let read = try await store.transaction { transaction in
            try transaction.first("SELECT 1, 'two', NULL, x'03'", []) { row in
                "\(row.integer(0)) \(row.text(1)) \(row.optionalText(2) ?? "nil") \(row.blob(3))"
            }
        }
        #expect(read == "1 two nil [3]")
    }

    @Test("a query without rows has no first row and an empty list")
    func noRows() async throws {
        let (first, all) = try await store.transaction { transaction in
            (
                try transaction.first("SELECT id FROM samples", []) { $0.integer(0) },
                try transaction.all("SELECT id FROM samples LIMIT 10", []) { $0.integer(0) }
            )
        }
        #expect(first == nil)
        #expect(all.isEmpty)
    }

    @Test("all rows come in the order of the query, the first is the first of them, and a statement can be used again")
    func rows() async throws {
        let (changed, first, lists) = try await store.transaction { transaction in
            for id in [3, 1, 2] as [Int64] {
                try transaction.run(
                    "INSERT INTO samples (id, number) VALUES (?, ?)", [.integer(id), .integer(id * 10)])
            }
            let query = "SELECT number FROM samples WHERE id >= ? ORDER BY id DESC LIMIT 10"
            return (
                try transaction.run("UPDATE samples SET text = 'x' WHERE id > ?", [1]),
                try transaction.first(query, [1]) { $0.integer(0) },
                try [1, 2, 9].map { id in try transaction.all(query, [.integer(id)]) { $0.integer(0) } }
            )
        }
        #expect(changed == 2)
        #expect(first == 30)
        #expect(lists == [[30, 20, 10], [30, 20], []])
    }

    @Test("while a statement returns rows others run, each with the values that it was given", arguments: [1, 30_000])
    func nested(length: Int) async throws {
        let found = try await store.transaction { transaction in
            for id in [1, 2, 3] as [Int64] {
                try transaction.run("INSERT INTO samples (id, number) VALUES (?, ?)", [.integer(id), .integer(id)])
            }
            let outer = String(repeating: "o", count: length)
            return try transaction.all(
                "SELECT id, ?1 FROM samples WHERE ?1 = ?2", [.text(outer), .text(outer)]
            ) { row in
                let inner = String(repeating: "\(row.integer(0))", count: length)
                let read = try transaction.first("SELECT ?, ?", [.text(inner), .blob(Array(inner.utf8))]) { row in
                    row.text(0) == inner && row.blob(1).elementsEqual(inner.utf8)
                }
                return read == true && row.text(1) == outer
            }
        }
        #expect(found == [true, true, true])
    }

    @Test("more and longer values than there is memory kept for come back as well")
    func manyValues() async throws {
        let values = (0..<40).map { SQLValue.text(String(repeating: "\($0 % 10)", count: 1_000 * $0)) }
        let isThere = try await store.transaction { transaction in
            try transaction.first("SELECT " + Array(repeating: "?", count: 40).joined(separator: ", "), values) { row in
                (0..<40).map { values[$0] == .text(row.text($0)) }
            }
        }
        #expect(isThere == Array(repeating: true, count: 40))
    }

    @Test("a statement tells how many rows it changed")
    func changes() async throws {
        let counts = try await store.transaction { transaction in
            [
                try transaction.run("INSERT INTO samples (id) VALUES (1), (2), (3)", []),
                try transaction.run("UPDATE samples SET number = 1 WHERE id = 99", []),
                try transaction.run("INSERT INTO samples (id) VALUES (1) ON CONFLICT DO NOTHING", []),
                try transaction.run("DELETE FROM samples", []),
            ]
        }
        #expect(counts == [3, 0, 0, 3])
    }

    @Test("a statement that writes and returns rows writes all of them even if one is read")
    func returning() async throws {
        let (first, count) = try await store.transaction { transaction in
            (
                try transaction.first("INSERT INTO samples (id) VALUES (7), (8) RETURNING id", []) { $0.integer(0) },
                try transaction.first("SELECT count(*) FROM samples", []) { $0.integer(0) }
            )
        }
        #expect(first == 7)
        #expect(count == 2)
    }

    @Test("an error of the mapping is the body's error")
    func mappingThrows() async throws {
        await #expect(throws: MapError.self) {
            try await store.transaction { transaction in
                try transaction.run("INSERT INTO samples (id) VALUES (1)", [])
                _ = try transaction.all("SELECT id FROM samples LIMIT 10", []) { _ in throw MapError() }
            }
        }
        await #expect(throws: MapError.self) {
            try await store.transaction { transaction in
                try transaction.run("INSERT INTO samples (id) VALUES (1)", [])
                _ = try transaction.first("SELECT id FROM samples", []) { _ in throw MapError() }
            }
        }
        let count = try await store.transaction { try $0.first("SELECT count(*) FROM samples", []) { $0.integer(0) } }
        #expect(count == 0)
    }

    @Test("a value of another type than its column is refused by the schema")
    func strict() async throws {
        let error = try await #require(throws: StoreError.self) {
            try await store.transaction { try $0.run("INSERT INTO samples (number) VALUES (?)", ["text"]) }
        }
        guard case .constraint = error else {
            Issue.record("\(error) is not a constraint")
            return
        }
    }
}
