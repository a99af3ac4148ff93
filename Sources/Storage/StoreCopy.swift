import GRDB

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Copies a store for a backup, while its service runs or not, and puts a copy in a store's place.
///
/// Nothing counts as a copy that was not read again: `sqlite3` makes an empty database of a name that it does not find, copies that without a
/// word, and finds it sound.
public struct StoreCopy: Sendable {
    /// The file of the copy.
    public let path: String
    /// Its size.
    public let bytes: Int64
    /// How many steps of the schema it has.
    public let steps: Int

    /// How long a copy waits for somebody who has the database locked.
    private static let patience = 5.0

    /// Reads a copy whole. - Parameter migrations: those of the service whose store it is to be.
    /// - Throws: `StoreCopyError`.
    public init(checking path: String, _ migrations: [Migration]) throws(StoreCopyError) {
        let size = try Self.size(of: path)
        // A part of the store would be read with it here, and left behind when the file alone is put in place.
        for kind in ["-wal", "-journal"] where (try? Self.size(of: path + kind)) != nil { throw .hasLog(path: path) }
        let (done, complaints) = try Self.reading(path) { connection in
            (
                try DatabaseMigrator().appliedIdentifiers(connection),
                try String.fetchAll(connection, sql: "PRAGMA integrity_check(10)")
            )
        }
        guard complaints == ["ok"] else { throw .damaged(path: path, complaints) }
        try Self.check(path, done, migrations)
        self.path = path
        bytes = size
        steps = done.count
    }

    /// Copies a store, as it is at one moment, to a file that is new; the copy is on the disk when this returns.
    ///
    /// `VACUUM INTO` by a connection that only reads: it writes no log and moves none into the database (hazard 51).
    ///
    /// - Parameters:
    ///   - store: the store's file.
    ///   - migrations: those of its service.
    ///   - copy: the file to make.
    /// - Throws: `StoreCopyError`; there is no file then.
    public init(of store: String, to copy: String, _ migrations: [Migration]) throws(StoreCopyError) {
        _ = try Self.size(of: store)
        guard access(copy, F_OK) != 0 else { throw .exists(path: copy) }
        let partial = "\(copy).partial"
        unlink(partial)
        do throws(StoreCopyError) {
            try Self.reading(store) { connection in
                try Self.check(store, try DatabaseMigrator().appliedIdentifiers(connection), migrations)
                try connection.execute(sql: "VACUUM INTO ?", arguments: [partial])
            }
            let checked = try StoreCopy(checking: partial, migrations)
            try Self.synchronise(partial)
            try Self.move(partial, to: copy)
            bytes = checked.bytes
            steps = checked.steps
        } catch {
            unlink(partial)
            throw error
        }
        path = copy
    }

    /// Brings the copy to the disk of a service's store, beside it: what may find no room is done before any store is touched.
    ///
    /// - Parameter lock: of the service's files, made for a store that is to be replaced.
    /// - Throws: `StoreCopyError`.
    public func stage(besideStoreOf lock: DataDirectoryLock) throws(StoreCopyError) {
        let staged = Self.staged(lock)
        unlink(staged)
        do throws(StoreCopyError) {
            try Self.copyBytes(path, to: staged)
            try Self.synchronise(staged)
        } catch {
            unlink(staged)
            throw error
        }
    }

    /// Puts the copy that was staged in the place of the store. What was there, its log included, is kept beside it under another name.
    ///
    /// At whatever moment this ends, the next start finds the store as it was, or the copy, or nothing, which it refuses. If it ends between the
    /// store and its log, and is done again, the log is kept under the later name.
    ///
    /// - Parameter suffix: for the names of what was there, for example a time.
    /// - Returns: the name under which the old store is kept; nil if there was none.
    /// - Throws: `StoreCopyError`, `DataDirectoryError`.
    public static func replaceStore(heldBy lock: DataDirectoryLock, keepingOldAs suffix: String) throws -> String? {
        let store = lock.databasePath
        let old = "\(store).before-\(suffix)"
        guard access(old, F_OK) != 0 else { throw StoreCopyError.exists(path: old) }
        let hadStore = (try? size(of: store)) != nil
        // The store before its log: a store without its log would be opened as if it were whole.
        for kind in ["", "-wal", "-journal"] where access(store + kind, F_OK) == 0 {
            try move(store + kind, to: old + kind)
        }
        unlink("\(store)-shm")
        try move(staged(lock), to: store)
        try lock.noteStore()
        giveAway(lock.path, toOwnerOf: parent(of: lock.path))
        if hadStore { return old }
        unlink(old)
        return nil
    }

    private static func staged(_ lock: DataDirectoryLock) -> String { "\(lock.databasePath).restoring" }

    // MARK: - Steps

    private static func check(_ path: String, _ done: Set<String>, _ migrations: [Migration]) throws(StoreCopyError) {
        do {
            try SQLiteStore.checkOwner(path, done: done, ours: Set(migrations.map(\.name)), isExpected: true)
        } catch {
            throw .foreign("\(error)")
        }
    }

    private static func reading<T>(_ path: String, _ body: (Database) throws -> T) throws(StoreCopyError) -> T {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(patience)
            let database = try DatabaseQueue(path: path, configuration: configuration)
            defer {
                try? database.close()
                // A reader leaves the files beside a database that nobody else has open.
                for beside in ["\(path)-wal", "\(path)-shm"] { giveAway(beside, toOwnerOf: path) }
            }
            return try database.inDatabase(body)
        } catch let error as StoreCopyError {
            throw error
        } catch {
            throw .unreadable(path: path, "\(StoreError(error))")
        }
    }

    private static func size(of path: String) throws(StoreCopyError) -> Int64 {
        var file = stat()
        guard stat(path, &file) == 0 else { throw .unreadable(path: path, lastError) }
        guard file.st_size > 0 else { throw .unreadable(path: path, "it is empty") }
        return Int64(file.st_size)
    }

    private static func copyBytes(_ from: String, to: String) throws(StoreCopyError) {
        let source = open(from, O_RDONLY | O_CLOEXEC)
        guard source >= 0 else { throw .unreadable(path: from, lastError) }
        defer { close(source) }
        let target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard target >= 0 else { throw .unwritable(path: to, lastError) }
        defer { close(target) }
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(source, &piece, piece.count)
            guard count >= 0 else { throw .unreadable(path: from, lastError) }
            if count == 0 { break }
            var rest = piece[..<count]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { write(target, $0.baseAddress, $0.count) }
                guard written > 0 else { throw .unwritable(path: to, lastError) }
                rest = rest.dropFirst(written)
            }
        }
        giveAway(to, toOwnerOf: parent(of: to))
    }

    /// Who copies and restores may be root, and the service is not: it could not write what root has made.
    private static func giveAway(_ path: String, toOwnerOf other: String) {
        var owner = stat()
        guard geteuid() == 0, stat(other, &owner) == 0 else { return }
        lchown(path, owner.st_uid, owner.st_gid)
    }

    private static func synchronise(_ path: String) throws(StoreCopyError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unwritable(path: path, lastError) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .unwritable(path: path, lastError) }
    }

    private static func move(_ from: String, to: String) throws(StoreCopyError) {
        guard rename(from, to) == 0 else { throw .unwritable(path: to, lastError) }
        try synchronise(parent(of: to))
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}

/// Why there is no copy, or why one may not take the place of a store.
public enum StoreCopyError: Error, Equatable, CustomStringConvertible {
    /// The file is missing or empty, or is no database.
    case unreadable(path: String, String)
    /// The file, or its directory, cannot be written.
    case unwritable(path: String, String)
    /// There is something already where the copy is to be.
    case exists(path: String)
    /// Beside the file lies a log with a part of it.
    case hasLog(path: String)
    /// It is the store of something else, or of nothing.
    case foreign(String)
    /// SQLite has found it damaged: the first of its complaints.
    case damaged(path: String, [String])

    public var description: String {
        switch self {
        case .unreadable(let path, let reason): "\(path) cannot be read: \(reason)"
        case .unwritable(let path, let reason): "\(path) cannot be written: \(reason)"
        case .exists(let path): "\(path) is there already; nothing was written over it"
        case .hasLog(let path):
            "\(path) has a log beside it, which holds a part of it: make one file of both with `checkout backup --data-dir`"
        case .foreign(let reason): reason
        case .damaged(let path, let complaints): "\(path) is damaged: \(complaints.joined(separator: "; "))"
        }
    }
}
