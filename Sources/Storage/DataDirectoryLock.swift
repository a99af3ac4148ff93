import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Holds a service's files for one process, until the process ends however it ends (hazard 51).
///
/// Two files are locked. `<service>.lock` says who holds it; but somebody who thinks it left over may remove it, and a lock
/// on a file that has no name any more keeps nobody out. So the database itself is locked too: with `flock`, which has
/// nothing to do with the locks that SQLite takes for each transaction.
///
/// The lock file also says that a store was made here. If that is gone at the next start, it is not replaced by an empty one in
/// silence: every key would be new again, and what was paid would be paid twice.
public final class DataDirectoryLock: Sendable {
    /// The file of the service's database; made, empty, when it is missing.
    public let databasePath: String
    /// The lock file.
    let path: String
    private let hadStore: Bool
    private let lockFile: Int32
    private let database: Int32
    /// Which file the database's log is, once it was there.
    private let log = Mutex<FileIdentity?>(nil)
    /// The second line of a lock file beside which there is a store.
    private static let storeMark = "its store was made\n"
    /// The beginning of the line that says which file the store was.
    private static let fileMark = "file "

    /// Whether the file must hold a store already: there was one, or somebody says so.
    public var storeIsExpected: Bool { hadStore || mustExist }
    private let mustExist: Bool

    /// Takes the lock; makes the directory when it is missing.
    ///
    /// - Parameters:
    ///   - mustExist: nothing is made, and a store that is missing is an error. The lock file remembers a store only as long as it is there
    ///     itself: it goes with a disk, or hides behind one that is not mounted.
    ///   - isToBeReplaced: the store is to be replaced by a copy, whatever has become of it.
    /// - Throws: `DataDirectoryError`.
    public init(
        directory: String, service: String, mustExist: Bool = false, isToBeReplaced: Bool = false
    ) throws(DataDirectoryError) {
        self.mustExist = mustExist
        guard !mustExist || Self.hasContents("\(directory)/\(service).sqlite") else {
            throw .storeMissing(path: "\(directory)/\(service).sqlite")
        }
        try Self.makeDirectory(directory)
        path = "\(directory)/\(service).lock"
        databasePath = "\(directory)/\(service).sqlite"
        lockFile = try Self.lock(path, holder: Self.read)
        hadStore = Self.isMarked(lockFile)
        let noted = Self.noted(lockFile)
        guard !hadStore || isToBeReplaced || Self.hasContents(databasePath) else {
            close(lockFile)
            throw .storeGone(path: databasePath, lock: path)
        }
        // SQLite would enter into it what was written to another, and damage it without a word.
        if let noted, !isToBeReplaced, FileIdentity(at: databasePath)?.isSame(as: noted) != true,
            Self.hasContents("\(databasePath)-wal")
        {
            close(lockFile)
            throw .logOfAnother(path: databasePath, lock: path)
        }
        do throws(DataDirectoryError) {
            database = try Self.lock(databasePath, holder: { _ in "a process whose lock file was removed" })
        } catch {
            close(lockFile)
            throw error
        }
        do throws(DataDirectoryError) {
            // Which file it is is noted once it has been opened, and found to be ours.
            // A restore that ends before its end leaves no store, and the next start is to know that there must be one.
            try write(hadStore || isToBeReplaced ? Self.storeMark : "", noted)
        } catch {
            close(database)
            close(lockFile)
            throw error
        }
        // Customers' keys are in them, and a version before made them for everybody to read.
        for file in [path, databasePath, "\(databasePath)-wal", "\(databasePath)-shm"] { chmod(file, 0o600) }
    }

    /// Notes which file the store is, before anything is written to it: from now on a log beside it is its own. - Throws: `DataDirectoryError`.
    public func noteFile() throws(DataDirectoryError) {
        try write(hadStore ? Self.storeMark : "", FileIdentity(at: databasePath))
    }

    /// Notes that the store has been made, so that its loss is noticed. - Throws: `DataDirectoryError`.
    public func noteStore() throws(DataDirectoryError) {
        try write(Self.storeMark, FileIdentity(at: databasePath))
    }

    private func write(_ mark: String, _ identity: FileIdentity?) throws(DataDirectoryError) {
        let file = identity.map { "\(Self.fileMark)\($0)\n" } ?? ""
        let text = "process \(getpid())\n\(file)\(mark)"
        // Not cut first: on a full disk the mark would be gone and could not be written again.
        guard pwrite(lockFile, text, text.utf8.count, 0) == text.utf8.count,
            ftruncate(lockFile, off_t(text.utf8.count)) == 0
        else {
            throw .unusable(path: path, reason: Self.lastError)
        }
    }

    /// To be let go only when the database is closed: whatever descriptor of a file a process closes, the locks that SQLite
    /// holds on it are gone.
    deinit {
        close(database)
        close(lockFile)
    }

    /// Whether the database that is locked, and the log that was seen beside it, are still those at their paths. If one was removed or
    /// replaced, what is committed is lost with this process.
    public var isInPlace: Bool {
        var (locked, there) = (stat(), stat())
        guard fstat(database, &locked) == 0, stat(databasePath, &there) == 0, locked.st_ino == there.st_ino,
            locked.st_dev == there.st_dev
        else { return false }
        let found = FileIdentity(at: "\(databasePath)-wal")
        return log.withLock { seen in
            if seen == nil { seen = found }
            return seen == found
        }
    }

    private static func lock(_ path: String, holder: (Int32) -> String) throws(DataDirectoryError) -> Int32 {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .unusable(path: path, reason: lastError) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let holder = holder(descriptor)
            close(descriptor)
            throw .locked(path: path, holder: holder)
        }
        return descriptor
    }

    private static func makeDirectory(_ directory: String) throws(DataDirectoryError) {
        var path = directory.hasPrefix("/") ? "/" : ""
        for component in directory.split(separator: "/") {
            path += component
            if mkdir(path, 0o755) != 0, errno != EEXIST {
                throw .unusable(path: path, reason: lastError)
            }
            path += "/"
        }
    }

    private static func read(_ descriptor: Int32) -> String {
        text(descriptor).split(separator: "\n").first.map(String.init) ?? "an unknown process"
    }

    private static func text(_ descriptor: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 128)
        let count = pread(descriptor, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    /// Whether a store of a service has ever been made in a directory, as far as is noted there.
    public static func hasStore(in directory: String, of service: String) -> Bool {
        let descriptor = open("\(directory)/\(service).lock", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return isMarked(descriptor)
    }

    private static func isMarked(_ descriptor: Int32) -> Bool { text(descriptor).hasSuffix("\n\(storeMark)") }

    /// Which file the store was when it was last opened; nil if a version before did not note it.
    private static func noted(_ descriptor: Int32) -> FileIdentity? {
        text(descriptor).split(separator: "\n").first { $0.hasPrefix(fileMark) }
            .flatMap { FileIdentity($0.dropFirst(fileMark.count)) }
    }

    private static func hasContents(_ path: String) -> Bool {
        var file = stat()
        return stat(path, &file) == 0 && file.st_size > 0
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}

/// Why a service may not use its data directory.
public enum DataDirectoryError: Error, Equatable, CustomStringConvertible {
    /// Another process holds the lock; `holder` is what that process wrote about itself.
    case locked(path: String, holder: String)
    /// The directory or the lock file cannot be made or written.
    case unusable(path: String, reason: String)
    /// There is no store, and `STORE_MUST_EXIST` says that there is one.
    case storeMissing(path: String)
    /// There was a store, says the lock file, and it is missing or empty.
    case storeGone(path: String, lock: String)
    /// The database is another file than it was, and beside it lies a log that was written for that one.
    case logOfAnother(path: String, lock: String)

    public var description: String {
        switch self {
        case .locked(let path, let holder): "\(path) is locked by \(holder)"
        case .unusable(let path, let reason): "\(path) cannot be used: \(reason)"
        case .storeMissing(let path):
            """
            \(path) is missing or empty, and STORE_MUST_EXIST says that there is a store. Is its disk mounted? Else put a backup of it there \
            (`checkout restore`). Nothing was made
            """
        case .storeGone(let path, let lock):
            """
            \(path) is missing or empty, and \(lock) says that there was a store. Put it, or a backup of it, back; with a backup, first \
            remove \(path)-wal and \(path)-shm, which belong to what is lost. Only if it is to begin empty, with every key new again, \
            remove \(lock)
            """
        case .logOfAnother(let path, let lock):
            """
            \(path) is not the file that it was, and \(path)-wal may belong to that one, which would damage this one. If this is a \
            backup, remove \(path)-wal and \(path)-shm. If all files were copied here together, remove \(lock)
            """
        }
    }
}
