import Dispatch
import NIOCore
import Storage
import TestSupport
import Testing

@Suite("SQLite store: where it works")
struct SQLiteStoreThreadTests {
    private let stores = NoteStores()

    @Test("work that is alone is done on the loop, without a change of threads")
    func alone() async throws {
        let store = try stores.open()
        let loop = stores.loop
        for _ in 0..<3 {
            #expect(try await store.transaction { _ in loop.inEventLoop })
        }
    }

    @Test("the loop goes on while a group is committed")
    func aside() async throws {
        let store = try stores.open()
        let loop = stores.loop
        let wentOn = await arrivingTogether(on: loop, count: 2) { index in
            try? await store.transaction { transaction in
                try transaction.insert("note \(index)")
                // Only the loop can open the gate, and a body of this group stands before it.
                let gate = DispatchSemaphore(value: 0)
                loop.execute { gate.signal() }
                return gate.wait(timeout: .now() + 20) == .success
            }
        }
        #expect(wentOn == [true, true])
    }

    @Test("what arrives while a group is committed is committed after it, and sees what it wrote")
    func meanwhile() async throws {
        let store = try stores.open()
        let loop = stores.loop
        let later = Promise<[String]>()
        _ = await arrivingTogether(on: loop, count: 2) { index in
            try? await store.transaction { transaction in
                let gate = DispatchSemaphore(value: 0)
                if index == 0 {
                    Task {
                        async let bodies = store.bodies()
                        gate.signal()
                        later.keep(try await bodies)
                    }
                    _ = gate.wait(timeout: .now() + 20)
                }
                try transaction.insert("note \(index)")
            }
        }
        #expect(await later.value == ["note 0", "note 1"])
    }

    @Test("a group that waits is committed as soon as the one before it, whatever the loop does meanwhile")
    func next() async throws {
        let store = try stores.open()
        let loop = stores.loop
        let loopIsHeld = DispatchSemaphore(value: 0)
        let groupsAreDone = DispatchSemaphore(value: 0)
        let last = 2 * SQLiteStore.usualGroup - 1
        let outcomes = await arrivingTogether(on: loop, count: last + 1) { index in
            try? await store.transaction { transaction in
                if index == 0 {
                    // From here on the loop stands still until the last body of the next group has run.
                    loop.execute {
                        loopIsHeld.signal()
                        _ = groupsAreDone.wait(timeout: .now() + 20)
                    }
                    _ = loopIsHeld.wait(timeout: .now() + 20)
                }
                try transaction.insert("note \(index)")
                if index == last { groupsAreDone.signal() }
                return !loop.inEventLoop
            }
        }
        #expect(outcomes == Array(repeating: true, count: last + 1))
        #expect(groupsAreDone.wait(timeout: .now()) == .timedOut)
    }

    @Test("a store is closed when the group under way is committed and its callers have their answers")
    func close() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("a.sqlite")
        let store = try stores.open(path)
        let begun = Promise<Bool>()
        async let results = arrivingTogether(on: stores.loop, count: 2) { index in
            try? await store.transaction { transaction in
                begun.keep(true)
                try transaction.insert("note \(index)")
                return index
            }
        }
        _ = await begun.value
        try store.close()
        #expect(await results == [0, 1])
        let reopened = try stores.open(path)
        #expect(try await reopened.bodies() == ["note 0", "note 1"])
        try reopened.close()
    }
}

/// A value that is kept once and waited for by one.
private final class Promise<Value: Sendable>: Sendable {
    private let stream: AsyncStream<Value>
    private let continuation: AsyncStream<Value>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1))
    }

    func keep(_ value: Value) {
        continuation.yield(value)
        continuation.finish()
    }

    var value: Value? {
        get async {
            for await value in stream { return value }
            return nil
        }
    }
}
