import Idempotency
import NIOCore
import NIOPosix
import Resilience
import Storage
import TestSupport
import Testing

/// The implementations that must pass the conformance suite.
enum Implementation: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case memory = "in memory"
    case sqlInMemory = "SQL, in memory"
    case sqlInFile = "SQL, in a file"

    var testDescription: String { rawValue }
}

/// A store of keys with the transactions it works in, and clocks under the test's control.
struct KeyStoreFixture: Sendable {
    static let timeToLive = Duration.seconds(86_400)

    let keys: any IdempotencyStore
    let store: SQLiteStore
    let loop: any EventLoop
    let time = ManualTime()
    private let directory: TemporaryDirectory?

    init(_ implementation: Implementation) throws {
        loop = MultiThreadedEventLoopGroup.singleton.any()
        directory = try implementation == .sqlInFile ? TemporaryDirectory() : nil
        store = try SQLiteStore(
            path: directory?.file("keys.sqlite"), migrations: SQLIdempotencyStore.migrations, loop: loop)
        keys =
            implementation == .memory
            ? MemoryIdempotencyStore(timeToLive: Self.timeToLive) : SQLIdempotencyStore(timeToLive: Self.timeToLive)
    }

    /// A store of keys in a file.
    static func open(
        _ path: String, _ migrations: [Migration] = SQLIdempotencyStore.migrations
    ) throws -> SQLiteStore {
        try SQLiteStore(path: path, migrations: migrations, loop: MultiThreadedEventLoopGroup.singleton.any())
    }

    func claim(
        _ scope: IdempotencyScope = .checkout("key"), _ fingerprint: Fingerprint = .first, reference: String
    ) async throws -> Claim {
        let now = time.now
        return try await store.transaction { [keys] transaction in
            try keys.claim(scope, fingerprint: fingerprint, reference: reference, now: now, in: transaction)
        }
    }

    func succeed(
        _ scope: IdempotencyScope = .checkout("key"), reference: String, response: StoredResponse = .completed
    ) async throws {
        let now = time.now
        try await store.transaction { [keys] transaction in
            try keys.succeed(scope, reference: reference, response: response, now: now, in: transaction)
        }
    }

    func fail(_ scope: IdempotencyScope = .checkout("key"), reference: String) async throws {
        let now = time.now
        try await store.transaction { [keys] transaction in
            try keys.fail(scope, reference: reference, now: now, in: transaction)
        }
    }

    func forgetExpired(limit: Int = 1000) async throws -> Int {
        let now = time.now
        return try await store.transaction { [keys] transaction in
            try keys.forgetExpired(now: now, limit: limit, in: transaction)
        }
    }
}

extension IdempotencyScope {
    static func checkout(_ key: String, user: String = "ada") -> IdempotencyScope {
        IdempotencyScope(user: user, operation: "checkout", key: IdempotencyKey(stored: key))
    }
}

extension Fingerprint {
    static let first = Fingerprint(operation: "checkout", fields: ["1", "2"])
    static let second = Fingerprint(operation: "checkout", fields: ["1", "3"])
}

extension StoredResponse {
    static let completed = StoredResponse(status: 200, body: Array(#"{"status":"completed"}"#.utf8))
}
