import Storage
import Synchronization
import TestSupport
import Testing

@Suite("SQLite store: state beside the database")
struct SQLiteStoreUndoTests {
    private let stores = NoteStores()

    @Test("a body that throws has its undo called, newest first")
    func undoOnThrow() async throws {
        let store = try stores.open()
        let calls = Mutex<[String]>([])
        await #expect(throws: BodyError.self) {
            try await store.transaction { transaction in
                calls.withLock { $0.append("+1") }
                transaction.onRollback { calls.withLock { $0.append("-1") } }
                calls.withLock { $0.append("+2") }
                transaction.onRollback { calls.withLock { $0.append("-2") } }
                throw BodyError()
            }
        }
        // The store may run a body again by itself; each run is taken back in full.
        let once = ["+1", "+2", "-2", "-1"]
        let seen = calls.withLock { $0 }
        #expect(seen == once || seen == once + once)
    }

    @Test("a body that commits does not have its undo called")
    func noUndoOnSuccess() async throws {
        let store = try stores.open()
        let undone = Atomic(0)
        try await store.transaction { transaction in
            transaction.onRollback { undone.add(1, ordering: .relaxed) }
            try transaction.insert("one")
        }
        #expect(undone.load(ordering: .relaxed) == 0)
        // Nor later, when another one fails.
        await #expect(throws: BodyError.self) { try await store.transaction { _ in throw BodyError() } }
        #expect(undone.load(ordering: .relaxed) == 0)
    }

    @Test("in a group the effects of the bodies that commit happen once, before their callers go on, and no others")
    func effects() async throws {
        let store = try stores.open()
        let done = Mutex<[Int]>([])
        let seen = await arrivingTogether(on: stores.loop, count: 40) { index in
            try? await store.transaction { transaction in
                transaction.onCommit { done.withLock { $0.append(index) } }
                if index % 3 == 1 { throw BodyError(number: index) }
            }
            return done.withLock { $0.contains(index) }
        }
        #expect(seen == (0..<40).map { $0 % 3 != 1 })
        #expect(done.withLock { $0 } == (0..<40).filter { $0 % 3 != 1 })
    }

    @Test("a commit that fails has none of the effects")
    func noEffectOfFailedCommit() async throws {
        let store = try stores.open()
        let done = Atomic(0)
        await #expect(throws: StoreError.self) {
            try await store.transaction { transaction in
                transaction.onCommit { done.add(1, ordering: .relaxed) }
                try transaction.run("INSERT INTO marks (note) VALUES (99)", [])
            }
        }
        #expect(done.load(ordering: .relaxed) == 0)
    }

    @Test("a commit that fails has the undo of its bodies called")
    func undoOnFailedCommit() async throws {
        let store = try stores.open()
        let balance = Atomic(0)
        let error = try await #require(throws: StoreError.self) {
            try await store.transaction { transaction in
                balance.add(1, ordering: .relaxed)
                transaction.onRollback { balance.subtract(1, ordering: .relaxed) }
                // The note does not exist, which is looked at when the transaction ends.
                try transaction.run("INSERT INTO marks (note) VALUES (99)", [])
            }
        }
        guard case .constraint = error else {
            Issue.record("\(error) is not a constraint")
            return
        }
        #expect(balance.load(ordering: .relaxed) == 0)
        let marks = try await store.transaction { try $0.first("SELECT count(*) FROM marks", []) { $0.integer(0) } }
        #expect(marks == 0)
    }

    @Test("in a group state beside the database follows each body's own fate")
    func undoInGroup() async throws {
        let store = try stores.open()
        let kept = Mutex<Set<Int>>([])
        _ = await arrivingTogether(on: stores.loop, count: 40) { index in
            try? await store.transaction { transaction in
                kept.withLock { _ = $0.insert(index) }
                transaction.onRollback { kept.withLock { _ = $0.remove(index) } }
                if index % 3 == 1 { throw BodyError(number: index) }
            }
        }
        #expect(kept.withLock { $0 } == Set((0..<40).filter { $0 % 3 != 1 }))
    }

    @Test("when the disk is full state beside the database is as before for every body of the group")
    func undoOnFullDisk() async throws {
        let directory = try TemporaryDirectory()
        let store = try stores.open(directory.file("a.sqlite"), maximumPages: 30)
        let kept = Mutex<Set<Int>>([])
        _ = await arrivingTogether(on: stores.loop, count: 4) { index in
            try? await store.transaction { transaction in
                kept.withLock { _ = $0.insert(index) }
                transaction.onRollback { kept.withLock { _ = $0.remove(index) } }
                try transaction.insert("note \(index)", data: [UInt8](repeating: 1, count: index == 2 ? 200_000 : 1))
            }
        }
        #expect(kept.withLock { $0 }.isEmpty)
        try store.close()
    }
}
