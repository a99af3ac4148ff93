import GRDB
import GRDBSQLite
import NIOCore
import Synchronization

/// A store in one SQLite file, or in memory, with group commit on an event loop.
///
/// Work that arrives during one turn of the loop is run in one transaction at the end of that turn, each body in a
/// savepoint, and committed with one synchronisation; nothing waits for a timer. One connection does all reading and
/// writing, so no second connection can checkpoint beside it (hazard 51).
public final class SQLiteStore: Store {
    /// Work waiting beyond this is refused with `StoreError.overloaded`.
    public static let maximumWaiting = 16_384
    /// At most so many bodies share one commit, which bounds how long the loop is busy with one.
    public static let maximumGroup = 512

    /// The connection. A simulation hands it to the store of the next process, as a disk outlives the process that wrote it.
    package let database: DatabaseQueue
    private let loop: any EventLoop
    private let onFatal: @Sendable (StoreError) -> Void
    private let queue = Mutex(Queue())
    private let log = WriteAheadLog()

    private struct Queue {
        var waiting: [any Work] = []
        var flushIsScheduled = false
        var isClosed = false
    }

    /// Opens the store and brings its schema up to date.
    ///
    /// - Parameters:
    ///   - path: the file, created when missing; nil keeps everything in memory.
    ///   - migrations: every step of the schema, oldest first; those that have run are skipped.
    ///   - loop: where transactions run.
    ///   - maximumPages: a bound on the file's size in pages of 4096 bytes; for tests of a full disk.
    ///   - onFatal: told of a `StoreError.fatal` before the callers are; a service ends its process there.
    /// - Throws: `StoreError`.
    public init(
        path: String?,
        migrations: [Migration],
        loop: any EventLoop,
        maximumPages: Int? = nil,
        onFatal: @escaping @Sendable (StoreError) -> Void = { _ in }
    ) throws {
        self.loop = loop
        self.onFatal = onFatal
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            // WAL appends and syncs once a commit; FULL, because the default there (NORMAL) does not sync at all (49).
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            try database.execute(sql: "PRAGMA synchronous = FULL")
            // SQLite hides the failures of checkpoints that it makes by itself; ours are made by `checkpointIfDue`.
            try database.execute(sql: "PRAGMA wal_autocheckpoint = 0")
            try database.execute(sql: "PRAGMA temp_store = MEMORY")
            try database.execute(sql: "PRAGMA cache_size = -32768")
            if let maximumPages { try database.execute(sql: "PRAGMA max_page_count = \(maximumPages)") }
        }
        do {
            database =
                try path.map { try DatabaseQueue(path: $0, configuration: configuration) }
                ?? DatabaseQueue(configuration: configuration)
            var migrator = DatabaseMigrator()
            for migration in migrations {
                migrator.registerMigration(migration.name) { try $0.execute(sql: migration.sql) }
            }
            try migrator.migrate(database)
            database.inDatabase(log.watch)
        } catch {
            throw StoreError(error)
        }
    }

    /// A store on a connection that another store has opened and whose schema is up to date.
    package init(
        adopting database: DatabaseQueue, loop: any EventLoop,
        onFatal: @escaping @Sendable (StoreError) -> Void = { _ in }
    ) {
        self.database = database
        self.loop = loop
        self.onFatal = onFatal
    }

    public func transaction<T: Sendable>(
        _ body: @escaping @Sendable (any Transaction) throws -> T
    ) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            submit(BodyWork(body, continuation))
        }
    }

    /// Refuses further work, finishes what waits, and closes the file. Blocks until done; not to be called on the loop.
    public func close() throws {
        queue.withLock { $0.isClosed = true }
        try loop.submit { self.flush() }.wait()
        do {
            // What is not moved stays in the log and is safe there; but that the disk fails is to be known.
            try database.inDatabase { connection in
                do { try log.checkpoint(connection) } catch StoreError.full {}
            }
            try database.close()
        } catch {
            throw StoreError(error)
        }
    }

    private enum Admission { case queued, queuedFirst, refused(StoreError) }

    private func submit(_ work: any Work) {
        let admission: Admission = queue.withLock { queue in
            if queue.isClosed { return .refused(.closed) }
            if queue.waiting.count >= Self.maximumWaiting { return .refused(.overloaded) }
            queue.waiting.append(work)
            if queue.flushIsScheduled { return .queued }
            queue.flushIsScheduled = true
            return .queuedFirst
        }
        switch admission {
        case .queued: break
        case .queuedFirst: loop.execute { self.flush() }
        case .refused(let error): work.finish(error)
        }
    }

    /// Commits what waits, in groups, on the loop.
    private func flush() {
        let work = queue.withLock { queue in
            queue.flushIsScheduled = false
            let work = queue.waiting
            queue.waiting = []
            return work
        }
        var start = work.startIndex
        while start < work.endIndex {
            let end = min(start + Self.maximumGroup, work.endIndex)
            commit(work[start..<end])
            start = end
        }
        checkpointIfDue()
    }

    /// Moves the log into the database when it has grown long, after those who waited for the commit have their answers. A disk
    /// that is full can do that later; one that fails cannot be trusted with the next commit (hazard 53).
    private func checkpointIfDue() {
        guard log.isDue else { return }
        do {
            try database.inDatabase(log.checkpoint)
        } catch {
            let storeError = StoreError(error)
            if case .fatal = storeError { onFatal(storeError) }
        }
    }

    private func commit(_ group: ArraySlice<any Work>) {
        do {
            let outcomes: [(any Error)?]
            do {
                try runTogether(group)
                outcomes = Array(repeating: nil, count: group.count)
            } catch is BodyFailure {
                outcomes = try runApart(group)
            }
            for (work, outcome) in zip(group, outcomes) { work.finish(outcome) }
        } catch {
            let storeError = StoreError(error)
            if case .fatal = storeError { onFatal(storeError) }
            for work in group { work.finish(storeError) }
        }
    }

    /// Thrown out of a transaction when one body of a group failed for a reason of its own.
    private struct BodyFailure: Error {}

    /// Runs the bodies in one transaction without a savepoint each: nearly all of them succeed.
    private func runTogether(_ group: ArraySlice<any Work>) throws {
        try inTransaction { connection, undo in
            for work in group {
                let transaction = SQLiteTransaction(connection)
                defer { undo += transaction.undo }
                var hasFailed = false
                do { try work.run(transaction) } catch { hasFailed = true }
                if let failure = transaction.groupFailure { throw failure }
                if hasFailed { throw BodyFailure() }
            }
        }
    }

    /// Runs the bodies again, each in a savepoint, so that one that fails undoes only its own writes. - Returns: for each
    /// body the error it threw.
    private func runApart(_ group: ArraySlice<any Work>) throws -> [(any Error)?] {
        var outcomes: [(any Error)?] = []
        try inTransaction { connection, undo in
            for work in group {
                let transaction = SQLiteTransaction(connection)
                try connection.run("SAVEPOINT body")
                var outcome: (any Error)?
                do { try work.run(transaction) } catch { outcome = error }
                if outcome == nil {
                    undo += transaction.undo
                } else {
                    transaction.undo.reversed().forEach { $0() }
                }
                if let failure = transaction.groupFailure { throw failure }
                if outcome != nil { try connection.run("ROLLBACK TO body") }
                outcomes.append(outcome)
                try connection.run("RELEASE body")
            }
        }
        return outcomes
    }

    /// One transaction on the connection. When it is not committed, what `undo` has collected is called, newest first.
    private func inTransaction(
        _ body: (Database, _ undo: inout [@Sendable () -> Void]) throws -> Void
    ) throws {
        var undo: [@Sendable () -> Void] = []
        do {
            try database.inTransaction(.immediate) { connection in
                try body(connection, &undo)
                return .commit
            }
        } catch {
            undo.reversed().forEach { $0() }
            // The commit's own error comes from the library, which does not say what the system said.
            guard let error = error as? DatabaseError else { throw error }
            throw StoreError(
                code: error.extendedResultCode.rawValue, message: error.message ?? "no message",
                systemError: database.inDatabase { sqlite3_system_errno($0.sqliteConnection) })
        }
    }
}

/// One body with the continuation of its caller.
private protocol Work: Sendable {
    /// Runs the body and keeps its result.
    func run(_ transaction: SQLiteTransaction) throws
    /// Resumes the caller, with the error if there is one, else with the kept result.
    func finish(_ error: (any Error)?)
}

private final class BodyWork<T: Sendable>: Work {
    private let body: @Sendable (any Transaction) throws -> T
    private let continuation: CheckedContinuation<T, any Error>
    private let result = Mutex<T?>(nil)

    init(_ body: @escaping @Sendable (any Transaction) throws -> T, _ continuation: CheckedContinuation<T, any Error>) {
        self.body = body
        self.continuation = continuation
    }

    func run(_ transaction: SQLiteTransaction) throws {
        let value = try body(transaction)
        result.withLock { $0 = value }
    }

    func finish(_ error: (any Error)?) {
        if let error {
            continuation.resume(throwing: error)
        } else if let value = result.withLock({ $0 }) {
            continuation.resume(returning: value)
        } else {
            continuation.resume(throwing: StoreError.failed("the transaction did not run"))
        }
    }
}

extension Database {
    fileprivate func run(_ sql: String) throws {
        do {
            try cachedStatement(sql: sql).execute()
        } catch {
            throw StoreError(error)
        }
    }
}
