import Foundation
import NIOPosix
import TestSupport
import Testing

@testable import Storage

@Suite("Copies of stores")
struct StoreCopyTests {
    private let directory: TemporaryDirectory
    private let tables = [Migration("notes", "CREATE TABLE notes (text TEXT NOT NULL) STRICT")]

    init() throws { directory = try TemporaryDirectory() }

    private func open(_ name: String, _ migrations: [Migration]? = nil) throws -> SQLiteStore {
        try SQLiteStore(
            path: directory.file(name), migrations: migrations ?? tables,
            loop: MultiThreadedEventLoopGroup.singleton.any())
    }

    private func write(_ text: String, to store: SQLiteStore) async throws {
        _ = try await store.transaction { try $0.run("INSERT INTO notes VALUES (?)", [.text(text)]) }
    }

    private func notes(in name: String) async throws -> [String] {
        let store = try open(name)
        defer { try? store.close() }
        return try await store.transaction { try $0.all("SELECT text FROM notes", []) { $0.text(0) } }
    }

    private func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: directory.file(name)) }

    private func copyFile(_ from: String, to: String) throws {
        try FileManager.default.copyItem(atPath: directory.file(from), toPath: directory.file(to))
    }

    private func restore(_ copy: StoreCopy) throws -> String? {
        let lock = try lock()
        try copy.stage(besideStoreOf: lock)
        return try StoreCopy.replaceStore(heldBy: lock, keepingOldAs: "today")
    }

    private func lock() throws -> DataDirectoryLock {
        try DataDirectoryLock(directory: directory.path, service: "stock", isToBeReplaced: true)
    }

    @Test("a store that is in use is copied with all that it has answered, and goes on")
    func running() async throws {
        let store = try open("stock.sqlite")
        try await write("before", to: store)
        let copy = try StoreCopy(of: directory.file("stock.sqlite"), to: directory.file("copy"), tables)
        #expect(copy.steps == 1 && copy.bytes > 0)
        try await write("after", to: store)
        #expect(try await notes(in: "copy") == ["before"])
        #expect(!exists("copy.partial"))
        try store.close()
        #expect(try await notes(in: "stock.sqlite") == ["before", "after"])
    }

    @Test("a store that is missing, empty or another's is no backup, and leaves no file")
    func noStore() throws {
        func refused(_ name: String) -> StoreCopyError? {
            #expect(throws: StoreCopyError.self) {
                try StoreCopy(of: directory.file(name), to: directory.file("copy"), tables)
            }
        }
        #expect(refused("missing") == .unreadable(path: directory.file("missing"), "No such file or directory"))
        #expect(!exists("missing"))
        try directory.write("", to: "nothing")
        #expect(refused("nothing") == .unreadable(path: directory.file("nothing"), "it is empty"))
        try directory.write("no database at all", to: "text")
        guard case .unreadable = refused("text") else {
            Issue.record("text is no database")
            return
        }
        // As sqlite3 makes one of any name.
        try open("bare", []).close()
        try open("another", [Migration("others", "CREATE TABLE others (number INTEGER)")]).close()
        for name in ["bare", "another"] {
            guard case .foreign(let reason)? = refused(name) else {
                Issue.record("\(name) is no store")
                return
            }
            #expect(reason.contains(directory.file(name)))
        }
        #expect(!exists("copy") && !exists("copy.partial"))
    }

    @Test("nothing is written over, and what an interrupted copy has left is")
    func existing() throws {
        try open("stock.sqlite").close()
        try directory.write("an earlier backup", to: "copy")
        #expect(throws: StoreCopyError.exists(path: directory.file("copy"))) {
            try StoreCopy(of: directory.file("stock.sqlite"), to: directory.file("copy"), tables)
        }
        try directory.write("half of one", to: "other.partial")
        _ = try StoreCopy(of: directory.file("stock.sqlite"), to: directory.file("other"), tables)
        #expect(exists("other") && !exists("other.partial"))
    }

    @Test("a copy that is damaged is told from one that is not")
    func damaged() async throws {
        let store = try open("stock.sqlite")
        for number in 0..<500 { try await write("note \(number) \(String(repeating: "-", count: 200))", to: store) }
        try store.close()
        _ = try StoreCopy(of: directory.file("stock.sqlite"), to: directory.file("copy"), tables)
        let file = try FileHandle(forWritingTo: URL(filePath: directory.file("copy")))
        try file.seek(toOffset: 3 * 4096)
        try file.write(contentsOf: Data(repeating: 0xFF, count: 4096))
        try file.close()
        #expect(throws: StoreCopyError.self) { try StoreCopy(checking: directory.file("copy"), tables) }
    }

    @Test(
        "a file beside which its log lies is no copy: a part of the store would be left behind; a copy of both is one")
    func withLog() async throws {
        let store = try open("stock.sqlite")
        try await write("in the log", to: store)
        try copyFile("stock.sqlite", to: "cold.sqlite")
        try copyFile("stock.sqlite-wal", to: "cold.sqlite-wal")
        try store.close()
        #expect(throws: StoreCopyError.hasLog(path: directory.file("cold.sqlite"))) {
            try StoreCopy(checking: directory.file("cold.sqlite"), tables)
        }
        _ = try StoreCopy(of: directory.file("cold.sqlite"), to: directory.file("copy"), tables)
        #expect(try await notes(in: "copy") == ["in the log"])
    }

    @Test(
        "a copy takes the place of a store, whose files are kept with its log, and the next start takes it for its own")
    func restored() async throws {
        let first = try open("stock.sqlite")
        try await write("backed up", to: first)
        let copy = try StoreCopy(of: directory.file("stock.sqlite"), to: directory.file("copy"), tables)
        try await write("later", to: first)
        // As after kill -9: the log has not been moved into the database.
        try copyFile("stock.sqlite-wal", to: "log")
        try copyFile("stock.sqlite", to: "database")
        try first.close()
        for (from, to) in [("log", "stock.sqlite-wal"), ("database", "stock.sqlite")] {
            try? FileManager.default.removeItem(atPath: directory.file(to))
            try copyFile(from, to: to)
        }

        let old = try restore(copy)
        #expect(old == directory.file("stock.sqlite.before-today"))
        #expect(!exists("stock.sqlite-wal") && !exists("stock.sqlite-shm") && !exists("stock.sqlite.restoring"))
        #expect(try await notes(in: "stock.sqlite.before-today") == ["backed up", "later"])
        let next = try DataDirectoryLock(directory: directory.path, service: "stock")
        #expect(next.storeIsExpected && next.isInPlace)
        #expect(try await notes(in: "stock.sqlite") == ["backed up"])
    }

    @Test("a copy takes the place of a store that is gone, with its log left behind")
    func afterLoss() async throws {
        try open("stock.sqlite").close()
        let copy = try StoreCopy(of: directory.file("stock.sqlite"), to: directory.file("copy"), tables)
        try lock().noteStore()
        try FileManager.default.removeItem(atPath: directory.file("stock.sqlite"))
        try directory.write("a log", to: "stock.sqlite-wal")
        #expect(throws: DataDirectoryError.self) {
            try DataDirectoryLock(directory: directory.path, service: "stock")
        }
        #expect(try restore(copy) == nil)
        #expect(exists("stock.sqlite.before-today-wal") && !exists("stock.sqlite.before-today"))
        #expect(throws: Never.self) { _ = try DataDirectoryLock(directory: directory.path, service: "stock") }
        #expect(try await notes(in: "stock.sqlite") == [])
    }

    @Test(
        "a restore that ends before it has put the copy in place leaves no directory that a service would begin anew in"
    )
    func interrupted() throws {
        _ = try lock()
        #expect(throws: DataDirectoryError.self) {
            try DataDirectoryLock(directory: directory.path, service: "stock")
        }
    }

    @Test("what an earlier restore has kept is not written over")
    func keptTwice() async throws {
        try open("stock.sqlite").close()
        let copy = try StoreCopy(of: directory.file("stock.sqlite"), to: directory.file("copy"), tables)
        #expect(try restore(copy) != nil)
        #expect(throws: StoreCopyError.exists(path: directory.file("stock.sqlite.before-today"))) { try restore(copy) }
        #expect(try await notes(in: "stock.sqlite") == [])
    }

    @Test("the store of a service that runs is not replaced")
    func locked() throws {
        let running = try DataDirectoryLock(directory: directory.path, service: "stock")
        #expect(throws: DataDirectoryError.self) { try lock() }
        withExtendedLifetime(running) {}
    }
}
