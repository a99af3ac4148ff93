import Correlation
import Idempotency
import Logging
import NIOPosix
import Resilience
import ServiceKit
import Storage
import StrictJSON
import Synchronization

/// Everything a service needs, in memory, with clocks and sleeps under the test's control.
public struct TestEnvironment: Sendable {
    /// The clocks.
    public let time: ManualTime
    /// Notes sleeps and moves the clocks.
    public let sleeper: RecordingSleeper
    /// The database, in memory.
    public let store: SQLiteStore
    /// What was logged, line by line.
    public let log: LogRecorder
    /// What the service is built from.
    public let environment: ServiceEnvironment

    /// An environment whose store has these tables besides those that every service has.
    ///
    /// - Parameter keys: by default the SQL store, with keys remembered for a day.
    public init(
        migrations: [Migration],
        keys: any IdempotencyStore = SQLIdempotencyStore(timeToLive: .seconds(86_400)),
        maximumSleeps: Int = 10_000
    ) throws {
        let time = ManualTime()
        let sleeper = RecordingSleeper(advancing: time, maximum: maximumSleeps)
        let log = LogRecorder()
        store = try .ofService(at: nil, migrations)
        let seed = Mutex<UInt64>(0)
        environment = ServiceEnvironment(
            store: store, keys: keys, time: time, sleeper: sleeper,
            identifiers: IdentifierSource(time: time) {
                seed.withLock { seed in
                    seed += 1
                    return seed
                }
            },
            logger: Logger(label: "test") { _ in
                JSONLogHandler(service: "test", level: .debug, time: time, write: log.append)
            })
        self.time = time
        self.sleeper = sleeper
        self.log = log
    }
}

extension SQLiteStore {
    /// The store of a service, with its own tables and those that every service has.
    ///
    /// - Parameters:
    ///   - path: nil is in memory.
    ///   - migrations: of its own tables; fewer than there are make a store that an earlier version has left.
    public static func ofService(at path: String?, _ migrations: some Sequence<Migration>) throws -> SQLiteStore {
        try SQLiteStore(
            path: path, migrations: ServiceDefinition.sharedMigrations + migrations,
            loop: MultiThreadedEventLoopGroup.singleton.any())
    }
}

/// Keeps log lines.
public final class LogRecorder: Sendable {
    private let recorded = Mutex<[String]>([])

    /// An empty log.
    public init() {}

    /// The lines so far, without their line feeds.
    public var lines: [String] { recorded.withLock { $0 } }

    /// The members of the lines with this message, in their order.
    public func events(_ message: String) throws -> [[String: JSONValue]] {
        try lines.compactMap { line in
            guard case .object(let members) = try JSONParser.parse(line.utf8).tree else { return nil }
            let values = Dictionary(members.map { ($0.name, $0.value) }) { first, _ in first }
            return values["message"] == .string(message) ? values : nil
        }
    }

    /// Takes a line.
    public func append(_ line: [UInt8], isUrgent: Bool = false) {
        recorded.withLock { $0.append(String(decoding: line.dropLast(), as: UTF8.self)) }
    }
}
