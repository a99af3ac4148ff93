import Foundation
import GRDBSQLite
import TestSupport
import Testing

@testable import Storage

@Suite("SQLite store: failures")
struct SQLiteStoreFailureTests {
    private let stores = NoteStores()

    /// A result code of SQLite's own, and what the system said.
    private static let commitFailures: [(code: Int32, system: Int32, label: String)] = [
        (SQLITE_FULL, 0, "full"), (SQLITE_IOERR | 3 << 8, ENOSPC, "full"), (SQLITE_IOERR | 3 << 8, EDQUOT, "full"),
        (SQLITE_IOERR | 19 << 8, 0, "uncertain"), (SQLITE_IOERR | 21 << 8, ENOSPC, "uncertain"),
        (SQLITE_IOERR | 4 << 8, ENOSPC, "fatal"), (SQLITE_IOERR | 4 << 8, EDQUOT, "fatal"),
        (SQLITE_IOERR | 4 << 8, EIO, "fatal"), (SQLITE_IOERR | 3 << 8, EIO, "fatal"), (SQLITE_BUSY, 0, "failed"),
    ]

    @Test(
        "a commit is undone only if it is not in the log: not when the log's index, or the synchronisation, found no room (hazard 52)",
        arguments: commitFailures)
    func commit(_ code: Int32, _ system: Int32, _ label: String) {
        let error = StoreError(ofCommit: code, message: "no", systemError: system)
        let found =
            switch error {
            case .full: "full"
            case .uncertain: "uncertain"
            case .fatal(_, let isDamaged): isDamaged ? "damaged" : "fatal"
            default: "failed"
            }
        #expect(found == label)
        #expect(error.leavesDoubt == (label == "uncertain" || label == "fatal"))
    }

    @Test("a constraint of the schema is reported as such and undoes the body")
    func constraint() async throws {
        let store = try stores.open()
        try await store.transaction { try $0.insert("one") }
        let error = try await #require(throws: StoreError.self) {
            try await store.transaction { transaction in
                try transaction.insert("two")
                try transaction.insert("one")
            }
        }
        guard case .constraint(let message) = error else {
            Issue.record("\(error) is not a constraint")
            return
        }
        #expect(message.contains("notes.body"))
        #expect(try await store.bodies() == ["one"])
    }

    @Test("a body may go on after a constraint has refused one of its statements")
    func constraintCaught() async throws {
        let store = try stores.open()
        try await store.transaction { try $0.insert("one") }
        try await store.transaction { transaction in
            try transaction.insert("two")
            do {
                try transaction.insert("one")
                Issue.record("the constraint did not hold")
            } catch StoreError.constraint {
                try transaction.insert("three")
            }
        }
        #expect(try await store.bodies() == ["one", "two", "three"])
    }

    @Test("a body whose constraint fails does not touch those it was committed together with")
    func constraintInGroup() async throws {
        let store = try stores.open()
        let inserted = await arrivingTogether(on: stores.loop, count: 20) { index in
            (try? await store.transaction { try $0.insert("note \(index / 2)") }) != nil
        }
        #expect(inserted == (0..<20).map { $0.isMultiple(of: 2) })
        #expect(try await store.bodies() == (0..<10).map { "note \($0)" })
    }

    @Test("a statement that is no SQL fails, and the store is usable afterwards")
    func badStatement() async throws {
        let store = try stores.open()
        let error = try await #require(throws: StoreError.self) {
            try await store.transaction { transaction in
                try transaction.insert("undone")
                try transaction.run("INSERT INTO nowhere VALUES (1)", [])
            }
        }
        guard case .failed = error else {
            Issue.record("\(error) is another kind of error")
            return
        }
        try await store.transaction { try $0.insert("one") }
        #expect(try await store.bodies() == ["one"])
    }

    @Test("a full disk is reported and nothing is written; what fits is written later (hazard 52)")
    func full() async throws {
        let directory = try TemporaryDirectory()
        let store = try stores.open(directory.file("a.sqlite"), maximumPages: 30)
        try await store.transaction { try $0.insert("before") }
        await #expect(throws: StoreError.full) {
            try await store.transaction { transaction in
                try transaction.insert("small, but in the same body")
                try transaction.insert("large", data: [UInt8](repeating: 1, count: 40 * 4096))
            }
        }
        #expect(try await store.bodies() == ["before"])
        try await store.transaction { try $0.insert("after") }
        #expect(try await store.bodies() == ["before", "after"])
        try store.close()
        let reopened = try stores.open(directory.file("a.sqlite"))
        #expect(try await reopened.bodies() == ["before", "after"])
        try reopened.close()
    }

    @Test("a body that fails for a reason of its own does not touch those it was committed together with")
    func badStatementInGroup() async throws {
        let store = try stores.open()
        let succeeded = await arrivingTogether(on: stores.loop, count: 3) { index in
            let done: Void? = try? await store.transaction { transaction in
                try transaction.insert("note \(index)")
                if index == 1 { try transaction.run("INSERT INTO nowhere VALUES (1)", []) }
            }
            return done != nil
        }
        #expect(succeeded == [true, false, true])
        #expect(try await store.bodies() == ["note 0", "note 2"])
    }

    @Test("a body that makes nothing of a full disk cannot let others write outside their transaction")
    func fullSwallowed() async throws {
        let directory = try TemporaryDirectory()
        let store = try stores.open(directory.file("a.sqlite"), maximumPages: 30)
        let errors = await arrivingTogether(on: stores.loop, count: 3) { index -> StoreError? in
            do {
                try await store.transaction { transaction in
                    let size = index == 1 ? 200_000 : 1
                    try? transaction.insert("note \(index)", data: [UInt8](repeating: 1, count: size))
                }
                return nil
            } catch {
                return error as? StoreError
            }
        }
        #expect(errors == Array(repeating: StoreError.full, count: 3))
        #expect(try await store.bodies() == [])
        try store.close()
    }

    @Test("a body that ends the transaction undoes the whole group: nobody may write outside of it", arguments: [2, 1])
    func ended(count: Int) async throws {
        let store = try stores.open()
        let errors = await arrivingTogether(on: stores.loop, count: count) { index -> StoreError? in
            do {
                try await store.transaction { transaction in
                    try transaction.insert("note \(index)")
                    try transaction.run("ROLLBACK", [])
                    try? transaction.insert("outside \(index)")
                }
                return nil
            } catch {
                return error as? StoreError
            }
        }
        let expected = StoreError.failed("the transaction ended before its commit")
        #expect(errors == Array(repeating: expected, count: count))
        #expect(try await store.bodies() == [])
    }

    @Test("when the disk is full every body of the group is told so and none is written")
    func fullGroup() async throws {
        let directory = try TemporaryDirectory()
        let store = try stores.open(directory.file("a.sqlite"), maximumPages: 30)
        let errors = await arrivingTogether(on: stores.loop, count: 10) { index -> StoreError? in
            do {
                try await store.transaction { transaction in
                    try transaction.insert(
                        "note \(index)", data: [UInt8](repeating: 1, count: index == 5 ? 200_000 : 1))
                }
                return nil
            } catch {
                return error as? StoreError
            }
        }
        #expect(errors == Array(repeating: StoreError.full, count: 10))
        #expect(try await store.bodies() == [])
        try store.close()
    }
}
