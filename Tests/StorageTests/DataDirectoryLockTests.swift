import Foundation
import Storage
import TestSupport
import Testing

@Suite("Data directory lock")
struct DataDirectoryLockTests {
    @Test("a second lock is refused and names the process that holds the first (hazard 51)")
    func refused() throws {
        let directory = try TemporaryDirectory()
        let first = try DataDirectoryLock(directory: directory.path, service: "stock")
        let expected = DataDirectoryError.locked(
            path: directory.file("stock.lock"), holder: "process \(ProcessInfo.processInfo.processIdentifier)")
        #expect(throws: expected) { try DataDirectoryLock(directory: directory.path, service: "stock") }
        #expect(throws: expected) { try DataDirectoryLock(directory: directory.path, service: "stock") }
        withExtendedLifetime(first) {}
    }

    @Test("the lock is given back when its holder goes")
    func released() throws {
        let directory = try TemporaryDirectory()
        var lock: DataDirectoryLock? = try DataDirectoryLock(directory: directory.path, service: "stock")
        #expect(throws: DataDirectoryError.self) { try DataDirectoryLock(directory: directory.path, service: "stock") }
        withExtendedLifetime(lock) {}
        lock = nil
        #expect(throws: Never.self) { try DataDirectoryLock(directory: directory.path, service: "stock") }
    }

    @Test("a lock file that was removed lets nobody in: the database is locked as well (hazard 51)")
    func lockFileRemoved() throws {
        let directory = try TemporaryDirectory()
        let first = try DataDirectoryLock(directory: directory.path, service: "stock")
        try FileManager.default.removeItem(atPath: directory.file("stock.lock"))
        for _ in 0..<2 {
            #expect(
                throws: DataDirectoryError.locked(
                    path: directory.file("stock.sqlite"), holder: "a process whose lock file was removed")
            ) { try DataDirectoryLock(directory: directory.path, service: "stock") }
        }
        #expect(first.isInPlace)
    }

    @Test("a database that was removed or replaced is not in place any more")
    func replaced() throws {
        let directory = try TemporaryDirectory()
        let lock = try DataDirectoryLock(directory: directory.path, service: "stock")
        #expect(lock.databasePath == directory.file("stock.sqlite"))
        try directory.write("a commit", to: "stock.sqlite")
        try directory.write("a backup", to: "backup")
        #expect(lock.isInPlace)
        try FileManager.default.removeItem(atPath: lock.databasePath)
        #expect(!lock.isInPlace)
        try FileManager.default.moveItem(atPath: directory.file("backup"), toPath: lock.databasePath)
        #expect(!lock.isInPlace)
    }

    @Test("a log that was removed from beside its database, or replaced, is not in place any more")
    func logReplaced() throws {
        let directory = try TemporaryDirectory()
        let lock = try DataDirectoryLock(directory: directory.path, service: "stock")
        let log = "\(lock.databasePath)-wal"
        // SQLite makes it with the first transaction.
        #expect(lock.isInPlace)
        try directory.write("commits", to: "stock.sqlite-wal")
        for _ in 0..<2 { #expect(lock.isInPlace) }
        try FileManager.default.removeItem(atPath: log)
        #expect(!lock.isInPlace)
        try directory.write("commits", to: "stock.sqlite-wal")
        #expect(!lock.isInPlace)
    }

    @Test("a store that was made and is gone, or empty, is not replaced in silence")
    func storeGone() throws {
        let directory = try TemporaryDirectory()
        let (path, lockFile) = (directory.file("stock.sqlite"), directory.file("stock.lock"))
        func lock() throws -> DataDirectoryLock { try DataDirectoryLock(directory: directory.path, service: "stock") }
        // A start that did not come as far as making a store is no reason.
        for _ in 0..<2 { #expect(throws: Never.self) { _ = try lock() } }
        try lock().noteStore()
        let gone = DataDirectoryError.storeGone(path: path, lock: lockFile)
        #expect(throws: gone) { try lock() }
        try FileManager.default.removeItem(atPath: path)
        for _ in 0..<2 {
            #expect(throws: gone) { try lock() }
            #expect(!FileManager.default.fileExists(atPath: path))
        }
        // It is put back, and the next starts remember that it is there.
        try directory.write("a backup", to: "stock.sqlite")
        for _ in 0..<2 { #expect(throws: Never.self) { _ = try lock() } }
        try FileManager.default.removeItem(atPath: path)
        #expect(throws: gone) { try lock() }
        // Somebody means it.
        try FileManager.default.removeItem(atPath: lockFile)
        #expect(throws: Never.self) { _ = try lock() }
    }

    @Test("where a store must exist, nothing is made when there is none")
    func storeMissing() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("mount")
        func lock() throws -> DataDirectoryLock {
            try DataDirectoryLock(directory: path, service: "stock", mustExist: true)
        }
        let missing = DataDirectoryError.storeMissing(path: "\(path)/stock.sqlite")
        #expect(throws: missing) { try lock() }
        #expect(!FileManager.default.fileExists(atPath: path))
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try directory.write("", to: "mount/stock.sqlite")
        #expect(throws: missing) { try lock() }
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["stock.sqlite"])
        try directory.write("a store", to: "mount/stock.sqlite")
        #expect(try lock().storeIsExpected)
        #expect(try !DataDirectoryLock(directory: directory.path, service: "other").storeIsExpected)
    }

    @Test("a backup beside the log of the store that it replaces is refused: the log would be entered into it")
    func logOfAnother() throws {
        let directory = try TemporaryDirectory()
        let (path, lockFile) = (directory.file("stock.sqlite"), directory.file("stock.lock"))
        func lock() throws -> DataDirectoryLock { try DataDirectoryLock(directory: directory.path, service: "stock") }
        #expect(!DataDirectoryLock.hasStore(in: directory.path, of: "stock"))
        try lock().noteStore()
        #expect(DataDirectoryLock.hasStore(in: directory.path, of: "stock"))
        try directory.write("a store", to: "stock.sqlite")
        try directory.write("its log", to: "stock.sqlite-wal")
        // After a crash the log is the store's own.
        #expect(throws: Never.self) { _ = try lock() }
        try directory.write("a backup", to: "backup")
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.moveItem(atPath: directory.file("backup"), toPath: path)
        for _ in 0..<2 {
            #expect(throws: DataDirectoryError.logOfAnother(path: path, lock: lockFile)) { try lock() }
        }
        try FileManager.default.removeItem(atPath: "\(path)-wal")
        try lock().noteFile()
        // From now on it is this one that a log belongs to.
        try directory.write("its log", to: "stock.sqlite-wal")
        #expect(throws: Never.self) { _ = try lock() }
    }

    @Test("a backup that was given the inode of the store that it replaces is refused as well")
    func inodeUsedAgain() throws {
        let directory = try TemporaryDirectory()
        let (path, lockFile) = (directory.file("stock.sqlite"), directory.file("stock.lock"))
        func lock() throws -> DataDirectoryLock { try DataDirectoryLock(directory: directory.path, service: "stock") }
        func inode() throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int
        }
        try directory.write("a store", to: "stock.sqlite")
        try lock().noteStore()
        let before = try inode()
        try directory.write("its log", to: "stock.sqlite-wal")
        // Most file systems do it at once, some never.
        for _ in 0..<100 {
            try FileManager.default.removeItem(atPath: path)
            try directory.write("a backup", to: "stock.sqlite")
            if try inode() == before { break }
        }
        #expect(throws: DataDirectoryError.logOfAnother(path: path, lock: lockFile)) { try lock() }
        // A version before noted the inode alone: then nobody can tell.
        let noted = try #require(try inode())
        try directory.write("process 1\nfile \(noted)\nits store was made\n", to: "stock.lock")
        #expect(throws: Never.self) { _ = try lock() }
    }

    @Test(
        "what was put in the store's place and refused there is not taken for it: the store's own files are as welcome as before"
    )
    func refusedMeanwhile() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("stock.sqlite")
        func lock() throws -> DataDirectoryLock { try DataDirectoryLock(directory: directory.path, service: "stock") }
        try directory.write("a store", to: "stock.sqlite")
        try lock().noteStore()
        try FileManager.default.moveItem(atPath: path, toPath: directory.file("elsewhere"))
        try directory.write("something else", to: "stock.sqlite")
        // It is opened, and found to be something else.
        _ = try lock()
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.moveItem(atPath: directory.file("elsewhere"), toPath: path)
        try directory.write("its log", to: "stock.sqlite-wal")
        #expect(throws: Never.self) { _ = try lock() }
    }

    @Test("who asks for a lock that is taken is told by whom, and the store's mark is not mistaken for that")
    func holderWithMark() throws {
        let directory = try TemporaryDirectory()
        let first = try DataDirectoryLock(directory: directory.path, service: "stock")
        try first.noteStore()
        let expected = DataDirectoryError.locked(
            path: directory.file("stock.lock"), holder: "process \(ProcessInfo.processInfo.processIdentifier)")
        #expect(throws: expected) { try DataDirectoryLock(directory: directory.path, service: "stock") }
        withExtendedLifetime(first) {}
    }

    @Test("services with other names share a directory")
    func otherService() throws {
        let directory = try TemporaryDirectory()
        let stock = try DataDirectoryLock(directory: directory.path, service: "stock")
        let order = try DataDirectoryLock(directory: directory.path, service: "order")
        withExtendedLifetime((stock, order)) {}
    }

    @Test("a directory that is missing is made, with those above it")
    func makesDirectory() throws {
        let directory = try TemporaryDirectory()
        let lock = try DataDirectoryLock(directory: directory.file("a/b/c"), service: "stock")
        #expect(FileManager.default.fileExists(atPath: directory.file("a/b/c/stock.lock")))
        withExtendedLifetime(lock) {}
    }

    @Test("a lock left behind by a process that is gone, whatever it says, does not stop the next one")
    func leftBehind() throws {
        let directory = try TemporaryDirectory()
        try directory.write("process 4194304, and more text than the next one will write\n", to: "stock.lock")
        let lock = try DataDirectoryLock(directory: directory.path, service: "stock")
        let text = try String(contentsOfFile: directory.file("stock.lock"), encoding: .utf8)
        #expect(text == "process \(ProcessInfo.processInfo.processIdentifier)\n")
        withExtendedLifetime(lock) {}
    }

    @Test("a file where the directory should be makes the path unusable", arguments: ["file", "file/below"])
    func unusable(name: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write("", to: "file")
        let error = try #require(throws: DataDirectoryError.self) {
            try DataDirectoryLock(directory: directory.file(name), service: "stock")
        }
        guard case .unusable(let path, let reason) = error else {
            Issue.record("\(error) is another kind of error")
            return
        }
        #expect(path.hasPrefix(directory.path))
        #expect(reason == "Not a directory")
        #expect(error.description == "\(path) cannot be used: Not a directory")
    }

    @Test("a lock that cannot be taken says who has it")
    func description() {
        let error = DataDirectoryError.locked(path: "/var/stock.lock", holder: "process 7")
        #expect(error.description == "/var/stock.lock is locked by process 7")
    }
}
