#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Holds a service's files for one process, until the process ends however it ends (hazard 51).
public final class DataDirectoryLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock `<directory>/<service>.lock`; makes the directory when it is missing.
    ///
    /// - Throws: `DataDirectoryError`.
    public init(directory: String, service: String) throws(DataDirectoryError) {
        try Self.makeDirectory(directory)
        let path = "\(directory)/\(service).lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .unusable(path: path, reason: Self.lastError) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let holder = Self.read(descriptor)
            close(descriptor)
            throw .locked(path: path, holder: holder)
        }
        let line = "process \(getpid())\n"
        guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, line, line.utf8.count, 0) == line.utf8.count else {
            let reason = Self.lastError
            close(descriptor)
            throw .unusable(path: path, reason: reason)
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

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
