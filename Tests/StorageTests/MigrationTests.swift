import NIOPosix
import Storage
import TestSupport
import Testing

@Suite("Migration")
struct MigrationTests {
    private static let first = Migration(
        "first", "CREATE TABLE items (id INTEGER PRIMARY KEY) STRICT; INSERT INTO items (id) VALUES (1);")
    private static let second = Migration("second", "INSERT INTO items (id) VALUES (2);")

    private func items(_ path: String, _ migrations: [Migration]) async throws -> [Int64] {
        let store = try SQLiteStore(
            path: path, migrations: migrations, loop: MultiThreadedEventLoopGroup.singleton.any())
        let items = try await store.transaction { transaction in
            try transaction.all("SELECT id FROM items ORDER BY id LIMIT 100", []) { $0.integer(0) }
        }
        try store.close()
        return items
    }

    @Test("each step runs once in the life of a file, and data stays")
    func once() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sqlite")
        #expect(try await items(path, [Self.first]) == [1])
        #expect(try await items(path, [Self.first]) == [1])
        // A newer program adds a step to an older file.
        #expect(try await items(path, [Self.first, Self.second]) == [1, 2])
        #expect(try await items(path, [Self.first, Self.second]) == [1, 2])
    }

    @Test("the store of something else is refused and not changed; one of a newer version is not")
    func foreign() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sqlite")
        let other = Migration("other", "CREATE TABLE others (id INTEGER PRIMARY KEY) STRICT")
        #expect(try await items(path, [Self.first, Self.second]) == [1, 2])
        #expect(try await items(path, [Self.first]) == [1, 2])
        let error = try await #require(throws: StoreError.self) { try await items(path, [Self.first, other]) }
        guard case .foreign(let reason) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(reason.contains(#""second""#) && reason.contains(#""other""#))
        #expect(try await items(path, [Self.first]) == [1, 2])
        await #expect(throws: StoreError.self) { try await items(path, [Self.first, other]) }
    }

    @Test("a store says which steps it was given at its opening, and which it has from a newer version")
    func change() throws {
        let directory = try TemporaryDirectory()
        func open(_ migrations: [Migration]) throws -> ([String], [String]) {
            let store = try SQLiteStore(
                path: directory.file("a.sqlite"), migrations: migrations,
                loop: MultiThreadedEventLoopGroup.singleton.any())
            defer { try? store.close() }
            return (store.schema.steps, store.schema.unknown)
        }
        #expect(try open([Self.first]) == (["first"], []))
        #expect(try open([Self.first, Self.second]) == (["second"], []))
        #expect(try open([Self.first, Self.second]) == ([], []))
        #expect(try open([Self.first]) == ([], ["second"]))
    }

    @Test("a database without a store in it is refused where there was one, as sqlite3 makes it of any name")
    func empty() throws {
        let directory = try TemporaryDirectory()
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        func open(isExpected: Bool) throws {
            try SQLiteStore(
                path: directory.file("a.sqlite"), migrations: [Self.first], loop: loop, isExpected: isExpected
            ).close()
        }
        try SQLiteStore(path: directory.file("a.sqlite"), migrations: [], loop: loop).close()
        guard case .foreign(let reason)? = #expect(throws: StoreError.self, performing: { try open(isExpected: true) })
        else { return }
        #expect(reason.contains("is empty"))
        try open(isExpected: false)
        try open(isExpected: true)
    }

    @Test("a step that fails stops the store from opening and leaves nothing of itself")
    func failing() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sqlite")
        let broken = Migration("second", "INSERT INTO items (id) VALUES (2); INSERT INTO items (id) VALUES (1);")
        await #expect(throws: StoreError.self) { try await items(path, [Self.first, broken]) }
        #expect(try await items(path, [Self.first]) == [1])
        #expect(try await items(path, [Self.first, Self.second]) == [1, 2])
    }

    @Test("a rule with a list of values becomes comparisons that say the same, without touching what is stored")
    func comparing() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sqlite")
        let table = Migration(
            "first",
            """
            CREATE TABLE items (id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('a', 'b', 'c'))) STRICT;
            INSERT INTO items (id, kind) VALUES (1, 'a');
            """)
        let compared = Migration.comparing("second", ListRule("items", "kind", in: ["a", "b", "c"]))
        #expect(try await items(path, [table]) == [1])

        let store = try SQLiteStore(
            path: path, migrations: [table, compared], loop: MultiThreadedEventLoopGroup.singleton.any())
        // The rule holds from the first statement on, in the connection that changed it.
        await #expect(throws: StoreError.self) {
            try await store.transaction { try $0.run("INSERT INTO items (id, kind) VALUES (2, 'd')", []) }
        }
        for (id, kind) in [(2, "b"), (3, "c")] {
            try await store.transaction {
                _ = try $0.run("INSERT INTO items (id, kind) VALUES (?, ?)", [.integer(Int64(id)), .text(kind)])
            }
        }
        let (schema, integrity) = try await store.transaction { transaction in
            let schema = try transaction.first("SELECT sql FROM sqlite_schema WHERE name = 'items'", []) { $0.text(0) }
            return (schema, try transaction.first("PRAGMA integrity_check", []) { $0.text(0) })
        }
        #expect(schema?.contains("CHECK (kind = 'a' OR kind = 'b' OR kind = 'c')") == true)
        #expect(integrity == "ok")
        try store.close()

        // And after the file was opened anew.
        #expect(try await items(path, [table, compared]) == [1, 2, 3])
        let later = Migration("third", "INSERT INTO items (id, kind) VALUES (4, 'd');")
        await #expect(throws: StoreError.self) { try await items(path, [table, compared, later]) }
    }
}
