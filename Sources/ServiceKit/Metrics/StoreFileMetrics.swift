import CoreMetrics
import Prometheus

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How large the store's files are, and how much room their disk has left, read when it is asked for: a disk that fills up is to be
/// noticed before it is full (hazard 52).
struct StoreFileMetrics: Sendable {
    private let path: String
    private let database, log, available, size: Meter

    /// - Parameter path: the database; its log is beside it.
    init(of path: String, _ factory: any MetricsFactory) {
        func meter(_ name: String, file: String? = nil) -> Meter {
            Meter(label: name, dimensions: file.map { [("file", $0)] } ?? [], factory: factory)
        }
        self.path = path
        database = meter("store_size_bytes", file: "database")
        log = meter("store_size_bytes", file: "log")
        available = meter("store_disk_available_bytes")
        size = meter("store_disk_size_bytes")
    }

    /// - Throws: `StoreFileUnreadable`; what was read before stays.
    func read() throws(StoreFileUnreadable) {
        database.set(try Self.bytes(of: path))
        // There is none before the first write, and after a stop.
        log.set((try? Self.bytes(of: "\(path)-wal")) ?? 0)
        var disk = statvfs()
        guard statvfs(path, &disk) == 0 else { throw StoreFileUnreadable(path: path, code: errno) }
        // What a process may use that is not root's: some file systems keep a part for that one.
        available.set(Double(disk.f_bavail) * Double(disk.f_frsize))
        size.set(Double(disk.f_blocks) * Double(disk.f_frsize))
    }

    private static func bytes(of path: String) throws(StoreFileUnreadable) -> Int64 {
        var file = stat()
        guard stat(path, &file) == 0 else { throw StoreFileUnreadable(path: path, code: errno) }
        return Int64(file.st_size)
    }
}

/// The system does not say how large a file or its disk is.
struct StoreFileUnreadable: Error, CustomStringConvertible {
    let path: String
    let code: Int32

    var description: String { "\(path): \(String(cString: strerror(code)))" }
}
