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
public final class DataDirectoryLock: Sendable {
    /// The file of the service's database; made, empty, when it is missing.
    public let databasePath: String
    private let lockFile: Int32
    private let database: Int32

    /// Takes the lock; makes the directory when it is missing.
    ///
    /// - Throws: `DataDirectoryError`.
    public init(directory: String, service: String) throws(DataDirectoryError) {
        try Self.makeDirectory(directory)
        let path = "\(directory)/\(service).lock"
        databasePath = "\(directory)/\(service).sqlite"
        lockFile = try Self.lock(path, holder: Self.read)
        do throws(DataDirectoryError) {
            database = try Self.lock(databasePath, holder: { _ in "a process whose lock file was removed" })
        } catch {
            close(lockFile)
            throw error
        }
        let line = "process \(getpid())\n"
        guard ftruncate(lockFile, 0) == 0, pwrite(lockFile, line, line.utf8.count, 0) == line.utf8.count else {
            let reason = Self.lastError
            close(database)
            close(lockFile)
            throw .unusable(path: path, reason: reason)
        }
    }

    /// To be let go only when the database is closed: whatever descriptor of a file a process closes, the locks that SQLite
    /// holds on it are gone.
    deinit {
        close(database)
        close(lockFile)
    }

    /// Whether the database that is locked is still the one at its path. If it was removed or replaced, what is committed to it
    /// is lost with this process.
    public var isInPlace: Bool {
        var (locked, there) = (stat(), stat())
        return fstat(database, &locked) == 0 && stat(databasePath, &there) == 0
            && locked.st_ino == there.st_ino && locked.st_dev == there.st_dev
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
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = pread(descriptor, &buffer, buffer.count, 0)
        let text = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return text.split(separator: "\n").first.map(String.init) ?? "an unknown process"
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}

/// Why a service may not use its data directory.
public enum DataDirectoryError: Error, Equatable, CustomStringConvertible {
    /// Another process holds the lock; `holder` is what that process wrote about itself.
    case locked(path: String, holder: String)
    /// The directory or the lock file cannot be made or written.
    case unusable(path: String, reason: String)

    public var description: String {
        switch self {
        case .locked(let path, let holder): "\(path) is locked by \(holder)"
        case .unusable(let path, let reason): "\(path) cannot be used: \(reason)"
        }
    }
}
