import Dispatch
import GRDB
import NIOCore
import Synchronization

/// A store in one SQLite file, or in memory, with group commit on an event loop.
///
/// Work that arrives during one turn of the loop is a group: run in one transaction and committed with one synchronisation;
/// nothing waits for a timer. Work that is alone, while nothing is being committed, is committed on the loop, at once. A
/// group is committed on a thread beside it, so that the loop reads, decides and answers meanwhile; what arrives meanwhile is
/// for the next group, which that thread takes as soon as it is free. One connection does all reading and writing, so no second
/// connection can checkpoint beside it (hazard 51).
public final class SQLiteStore: Store {
    /// Work waiting beyond this is refused with `StoreError.overloaded`.
    public static let maximumWaiting = 16_384
    /// At most so many bodies share one commit, which bounds how long one takes.
    public static let maximumGroup = 512
    /// So many do, unless far more wait. With all that wait in one group, all requests of a service would go through it in
    /// step, and one thread would wait for the other: with several groups the loop goes on with one while the next is
    /// committed (docs/decisions/0005).
    public static let usualGroup = 32

    /// How many bodies the next group has. A backlog, as behind a slow disk, is worked off in few commits all the same.
    package static func groupSize(waiting: Int) -> Int {
        min(waiting, maximumGroup, max(usualGroup, waiting / 4))
    }

    /// The connection. A simulation hands it to the store of the next process, as a disk outlives the process that wrote it.
    package let database: DatabaseQueue
    /// What was done to the schema when the store was opened.
    public let schema: SchemaChange
    private let loop: any EventLoop
    private let log = WriteAheadLog()
    private let groups: GroupCommit
    /// Where groups are committed; nil is the loop.
    private let aside: DispatchQueue?
    private let queue = Mutex(Queue())

    /// What the opening of a store has found and done.
    public struct SchemaChange: Equatable, Sendable {
        /// The steps that it did not have, and has now.
        public let steps: [String]
        /// The steps that a newer version has made: this one writes what it knows, and they may want more.
        public let unknown: [String]
    }

    private struct Queue {
        var waiting: [Work] = []
        var flushIsScheduled = false
        /// Whether a group is under way: the connection is its alone.
        var isCommitting = false
        var isClosed = false

        mutating func takeGroup() -> [Work] {
            let group = Array(waiting.prefix(SQLiteStore.groupSize(waiting: waiting.count)))
            waiting.removeFirst(group.count)
            return group
        }
    }

    /// One body with the continuation of its caller.
    struct Work: Sendable {
        let body: @Sendable (any Transaction) throws -> Void
        let caller: CheckedContinuation<Void, any Error>

        /// Resumes the caller.
        func finish(_ error: (any Error)?) {
            if let error { caller.resume(throwing: error) } else { caller.resume() }
        }
    }

    /// Opens the store and brings its schema up to date.
    ///
    /// - Parameters:
    ///   - path: the file, created when missing; nil keeps everything in memory.
    ///   - migrations: every step of the schema, oldest first; those that have run are skipped.
    ///   - loop: where transactions begin and their callers go on.
    ///   - onOpen: called when the file is open and found to be ours, before anything is written to it.
    ///   - isExpected: whether the file must hold a store already; one without a single table is then an error.
    ///   - maximumPages: a bound on the file's size in pages of 4096 bytes; for tests of a full disk.
    ///   - onFatal: told of a `StoreError.fatal` before the callers are; a service ends its process there.
    /// - Throws: `StoreError`.
    public init(
        path: String?,
        migrations: [Migration],
        loop: any EventLoop,
        isExpected: Bool = false,
        maximumPages: Int? = nil,
        onOpen: () throws -> Void = {},
        onFatal: @escaping @Sendable (StoreError) -> Void = { _ in }
    ) throws {
        _ = SQLiteMemory.isUncounted
        self.loop = loop
        aside = DispatchQueue(label: "store")
        var configuration = Configuration()
        // Only this process writes (hazard 51). Somebody who has the database locked all the same, with a shell, makes requests fail
        // (hazard 54), and must not make them wait: lone work is committed on the event loop.
        configuration.busyMode = .timeout(0.1)
        configuration.prepareDatabase { database in
            // WAL appends and syncs once a commit; FULL, because the default there (NORMAL) does not sync at all
            // (hazard 49).
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            try database.execute(sql: "PRAGMA synchronous = FULL")
            // SQLite hides the failures of checkpoints that it makes by itself; ours are made by `checkpointIfDue`.
            try database.execute(sql: "PRAGMA wal_autocheckpoint = 0")
            // Else what "never deleted" forbids could still be done by INSERT OR REPLACE.
            try database.execute(sql: "PRAGMA recursive_triggers = ON")
            // Debian's build writes zeros over what is replaced. The log and earlier copies keep it all the same.
            try database.execute(sql: "PRAGMA secure_delete = OFF")
            try database.execute(sql: "PRAGMA temp_store = MEMORY")
            // In KiB. SQLite looks through all of it at nearly every commit: more costs more than it saves (docs/decisions/0005).
            try database.execute(sql: "PRAGMA cache_size = -4096")
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
            let done = try database.read(migrator.appliedIdentifiers)
            try Self.checkOwner(
                path ?? "the store", done: done, ours: Set(migrator.migrations), isExpected: isExpected)
            schema = SchemaChange(
                steps: migrator.migrations.filter { !done.contains($0) },
                unknown: done.subtracting(migrator.migrations).sorted())
            try onOpen()
            try migrator.migrate(database)
            database.inDatabase(log.watch)
        } catch {
            throw StoreError(error)
        }
        groups = GroupCommit(database, log, onFatal: onFatal)
    }

    /// A file that somebody has put in the place of ours, as a backup under a wrong name, would be brought up to date as if it were an empty one:
    /// every key would be new again. A store of a newer version has all the steps that we know, and more.
    ///
    /// - Parameters:
    ///   - done: the steps of a schema that have run in the file.
    ///   - ours: those of this service.
    ///   - isExpected: whether an empty file is an error as well: `sqlite3` makes one of any name that it does not find.
    static func checkOwner(_ path: String, done: Set<String>, ours: Set<String>, isExpected: Bool) throws {
        if isExpected, done.isEmpty {
            throw StoreError.foreign(
                "\(path) is empty: it has no store in it. Put this service's own file, or a backup of it, in its place (docs/operations.md, Backup and restore)"
            )
        }
        guard let other = done.subtracting(ours).min(), let missing = ours.subtracting(done).min() else { return }
        throw StoreError.foreign(
            """
            \(path) is the store of something else: it has "\(other)" and lacks "\(missing)". Nothing was changed in it. Put \
            this service's own file, or a backup of it, in its place (docs/operations.md, Backup and restore)
            """)
    }

    /// A store on a connection that another store has opened and whose schema is up to date. It does everything on its loop, so
    /// that who schedules the loop decides when.
    package init(
        adopting database: DatabaseQueue, loop: any EventLoop,
        onFatal: @escaping @Sendable (StoreError) -> Void = { _ in }
    ) {
        self.database = database
        self.loop = loop
        schema = SchemaChange(steps: [], unknown: [])
        aside = nil
        groups = GroupCommit(database, log, onFatal: onFatal)
    }

    public func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws {
        try await withCheckedThrowingContinuation { continuation in
            submit(Work(body: body, caller: continuation))
        }
    }

    /// Refuses further work, finishes what waits, and closes the file. Blocks until done; not to be called on the loop.
    public func close() throws {
        queue.withLock { $0.isClosed = true }
        // Nothing is added any more, so that this ends.
        while try !loop.submit({ self.flushRest() }).wait() { aside?.sync {} }
        // The last callers are told on the loop.
        try loop.submit {}.wait()
        do {
            try groups.end()
            try database.close()
        } catch {
            throw StoreError(error)
        }
    }

    private enum Admission { case queued, queuedFirst, refused(StoreError) }

    private func submit(_ work: Work) {
        let admission: Admission = queue.withLock { queue in
            if queue.isClosed { return .refused(.closed) }
            if queue.waiting.count >= Self.maximumWaiting { return .refused(.overloaded) }
            queue.waiting.append(work)
            // The thread that commits now takes what waits.
            if queue.flushIsScheduled || queue.isCommitting { return .queued }
            queue.flushIsScheduled = true
            return .queuedFirst
        }
        switch admission {
        case .queued: break
        case .queuedFirst: loop.execute { self.flush() }
        case .refused(let error): work.finish(error)
        }
    }

    /// Commits what waits. - Returns: whether nothing waits any more and nothing is under way.
    private func flushRest() -> Bool {
        flush()
        return queue.withLock { $0.waiting.isEmpty && !$0.isCommitting }
    }

    /// Begins to commit the group that waits, on the loop.
    private func flush() {
        guard let group = nextGroup() else { return }
        if let aside, group.count > 1 || groups.checkpointIsDue {
            aside.async { self.commitAside(group) }
        } else {
            finish(group, groups.commit(group))
            if aside == nil { groups.checkpointIfDue() }
            goOn()
        }
    }

    /// Takes the next group, and with it the connection; nil when there is none, or the connection is in use.
    private func nextGroup() -> [Work]? {
        queue.withLock { queue in
            queue.flushIsScheduled = false
            guard !queue.isCommitting, !queue.waiting.isEmpty else { return nil }
            queue.isCommitting = true
            return queue.takeGroup()
        }
    }

    /// Commits a group, and then what has arrived meanwhile, until nothing waits.
    private func commitAside(_ first: [Work]) {
        var next: [Work]? = first
        while let group = next {
            let outcomes = groups.commit(group)
            // Before a checkpoint: those who waited for the commit have their answers first.
            loop.execute { self.finish(group, outcomes) }
            groups.checkpointIfDue()
            next = queue.withLock { queue in
                queue.isCommitting = !queue.waiting.isEmpty
                return queue.isCommitting ? queue.takeGroup() : nil
            }
        }
    }

    private func finish(_ group: [Work], _ outcomes: [(any Error)?]) {
        for (work, outcome) in zip(group, outcomes) { work.finish(outcome) }
    }

    /// Gives the connection back, and has the next group committed in a turn of its own.
    private func goOn() {
        let mustSchedule = queue.withLock { queue in
            queue.isCommitting = false
            guard !queue.waiting.isEmpty, !queue.flushIsScheduled else { return false }
            queue.flushIsScheduled = true
            return true
        }
        if mustSchedule { loop.execute { self.flush() } }
    }
}
