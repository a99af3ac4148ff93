import HummingbirdCore
import Logging

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How many connections a port may have at once; further ones wait with the system until one is closed. Without it a service would run
/// out of file descriptors, and could then not call others or open its own files either (INV-14).
struct ConnectionLimit: AvailableConnectionsDelegate {
    /// The most there may be, however many descriptors the process may have: each takes some 10 KiB.
    static let most = 10_000
    /// Descriptors that are kept for everything but clients: stores, calls to other services, logs.
    static let kept = 640
    /// The most that operators' ports have.
    static let operators = 64

    let maximum: Int
    let logger: Logger
    private var count = 0

    init(_ maximum: Int, _ logger: Logger) {
        self.maximum = maximum
        self.logger = logger
    }

    /// What the process's limit leaves for clients, which is raised as far as it may be: a shell's usual limit is 1024.
    static func forClients() -> Int {
        var limit = rlimit()
        guard getrlimit(openFiles, &limit) == 0 else { return 256 }
        limit.rlim_cur = limit.rlim_max
        setrlimit(openFiles, &limit)
        guard getrlimit(openFiles, &limit) == 0 else { return 256 }
        return min(most, max(16, Int(clamping: limit.rlim_cur) - kept))
    }

    mutating func connectionOpened() {
        count += 1
        guard count == maximum else { return }
        logger.warning(
            "there are as many connections as there may be; further ones wait", metadata: ["connections": "\(count)"])
    }

    mutating func connectionClosed() { count -= 1 }

    func isAcceptingNewConnections() -> Bool { count < maximum }

    #if canImport(Glibc)
        private static let openFiles = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    #else
        private static let openFiles = RLIMIT_NOFILE
    #endif
}
