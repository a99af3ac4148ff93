import Storage
import TestSupport
import Testing

@Suite("SQLite store: many bodies, one commit")
struct SQLiteStoreGroupTests {
    private let stores = NoteStores()

    @Test("a body's result comes back, and bodies see what earlier ones wrote")
    func results() async throws {
        let store = try stores.open()
        let first = try await store.transaction { transaction in
            try transaction.insert("one")
            return try transaction.bodies().count
        }
        let second = try await store.transaction { transaction in
            try transaction.insert("two")
            return try transaction.bodies().count
        }
        #expect([first, second] == [1, 2])
    }

    @Test("each text is the statement that it says, also of many with one length, and the store closes after them")
    func manyStatements() async throws {
        let store = try stores.open()
        for round in 0..<2 {
            for number in 100..<800 {
                let found = try await store.transaction { transaction in
                    try transaction.first("SELECT \(number) + ?", [.integer(Int64(round))]) { $0.integer(0) }
                }
                #expect(found == Int64(number + round))
            }
        }
        try store.close()
    }

    @Test("a body that throws undoes its own writes, and the error comes back as it is")
    func bodyThrows() async throws {
        let store = try stores.open()
        try await store.transaction { try $0.insert("before") }
        await #expect(throws: BodyError(number: 7)) {
            try await store.transaction { transaction in
                try transaction.insert("undone")
                throw BodyError(number: 7)
            }
        }
        #expect(try await store.bodies() == ["before"])
    }

    @Test("of many bodies that arrive together each that throws undoes only its own writes")
    func groupWithFailures() async throws {
        let store = try stores.open()
        let results = await arrivingTogether(on: stores.loop, count: 100) { index in
            await Result<Int, any Error> {
                try await store.transaction { transaction in
                    try transaction.insert("note \(index)")
                    if index % 7 == 3 { throw BodyError(number: index) }
                    return index
                }
            }
        }
        for (index, result) in results.enumerated() {
            if index % 7 == 3 {
                #expect(throws: BodyError(number: index)) { try result.get() }
            } else {
                #expect(try result.get() == index)
            }
        }
        #expect(try await store.bodies() == (0..<100).filter { $0 % 7 != 3 }.map { "note \($0)" })
    }

    @Test(
        "a group has the usual size, a quarter of what waits when that is more, and a bound",
        arguments: [
            (1, 1), (31, 31), (32, 32), (33, 32), (128, 32), (131, 32), (132, 33), (1000, 250), (2048, 512),
            (2052, 512),
            (16_384, 512),
        ])
    func groupSize(waiting: Int, size: Int) {
        #expect(SQLiteStore.groupSize(waiting: waiting) == size)
    }

    @Test("bodies from many tasks at once all commit, more of them than one group holds")
    func manyTasks() async throws {
        let store = try stores.open()
        let count = SQLiteStore.maximumGroup * 2 + 10
        let results = await arrivingTogether(on: stores.loop, count: count) { index in
            try? await store.transaction { transaction in
                try transaction.insert("note \(index)")
                return index
            }
        }
        #expect(results == Array(0..<count))
        #expect(try await store.bodies() == (0..<count).map { "note \($0)" })
    }

    @Test("bodies that arrive together run in the order of their arrival and see each other's writes")
    func order() async throws {
        let store = try stores.open()
        let seen = await arrivingTogether(on: stores.loop, count: 50) { index in
            try? await store.transaction { transaction in
                let seen = try transaction.bodies().count
                try transaction.insert("note \(index)")
                return seen
            }
        }
        #expect(seen == Array(0..<50))
    }

    @Test("more work than the store accepts is refused, and what was accepted is done")
    func overloaded() async throws {
        let store = try stores.open()
        let results = await arrivingTogether(on: stores.loop, count: SQLiteStore.maximumWaiting + 2) { index in
            await Result<Int, any Error> { try await store.transaction { _ in index } }
        }
        let refused = results.filter { result in
            guard case .failure(let error) = result else { return false }
            return error as? StoreError == .overloaded
        }
        #expect(refused.count == 2)
        #expect(results.filter { (try? $0.get()) != nil }.count == SQLiteStore.maximumWaiting)
        try await store.transaction { try $0.insert("later") }
        #expect(try await store.bodies() == ["later"])
    }
}
