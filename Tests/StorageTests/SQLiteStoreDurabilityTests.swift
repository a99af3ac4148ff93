import Storage
import TestSupport
import Testing

@Suite("SQLite store: durability")
struct SQLiteStoreDurabilityTests {
    private let stores = NoteStores()

    @Test("what was committed is there when the file is opened again")
    func durable() async throws {
        let directory = try TemporaryDirectory()
        let first = try stores.open(directory.file("a.sqlite"))
        try await first.transaction { try $0.insert("one") }
        try await first.transaction { try $0.insert("two") }
        try first.close()
        let second = try stores.open(directory.file("a.sqlite"))
        #expect(try await second.bodies() == ["one", "two"])
        try second.close()
    }

    @Test("a transaction that has returned is on the disk, whether or not the store is ever closed (hazard 49)")
    func durableWithoutClose() async throws {
        let directory = try TemporaryDirectory()
        let first = try stores.open(directory.file("a.sqlite"))
        try await first.transaction { try $0.insert("one") }
        // Another connection sees what is committed and nothing else.
        let second = try stores.open(directory.file("a.sqlite"))
        #expect(try await second.bodies() == ["one"])
        try second.close()
        try first.close()
    }

    @Test("a file is kept in WAL with full synchronisation (hazard 49)")
    func pragmas() async throws {
        let directory = try TemporaryDirectory()
        let store = try stores.open(directory.file("a.sqlite"))
        let (journal, synchronous) = try await store.transaction { transaction in
            (
                try transaction.first("PRAGMA journal_mode", []) { $0.text(0) },
                try transaction.first("PRAGMA synchronous", []) { $0.integer(0) }
            )
        }
        #expect(journal == "wal")
        #expect(synchronous == 2)
        try store.close()
    }

    @Test("a store without a path forgets everything and shares nothing")
    func inMemory() async throws {
        let first = try stores.open()
        let second = try stores.open()
        try await first.transaction { try $0.insert("one") }
        #expect(try await first.bodies() == ["one"])
        #expect(try await second.bodies() == [])
    }

    @Test("a file that is no database is reported as fatal damage")
    func notADatabase() throws {
        let directory = try TemporaryDirectory()
        try directory.write(String(repeating: "no database. ", count: 1000), to: "a.sqlite")
        let error = try #require(throws: StoreError.self) { try stores.open(directory.file("a.sqlite")) }
        guard case .fatal = error else {
            Issue.record("\(error) is not fatal")
            return
        }
    }

    @Test("a path that cannot be opened is reported and not fatal")
    func unusablePath() throws {
        let directory = try TemporaryDirectory()
        let error = try #require(throws: StoreError.self) { try stores.open(directory.file("missing/a.sqlite")) }
        guard case .failed = error else {
            Issue.record("\(error) is another kind of error")
            return
        }
    }

    @Test("work after the store was closed is refused")
    func closed() async throws {
        let directory = try TemporaryDirectory()
        let store = try stores.open(directory.file("a.sqlite"))
        try await store.transaction { try $0.insert("one") }
        try store.close()
        await #expect(throws: StoreError.closed) { try await store.transaction { try $0.insert("two") } }
        let reopened = try stores.open(directory.file("a.sqlite"))
        #expect(try await reopened.bodies() == ["one"])
        try reopened.close()
    }
}
