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

    @Test("a step that fails stops the store from opening and leaves nothing of itself")
    func failing() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sqlite")
        let broken = Migration("second", "INSERT INTO items (id) VALUES (2); INSERT INTO items (id) VALUES (1);")
        await #expect(throws: StoreError.self) { try await items(path, [Self.first, broken]) }
        #expect(try await items(path, [Self.first]) == [1])
        #expect(try await items(path, [Self.first, Self.second]) == [1, 2])
    }
}
