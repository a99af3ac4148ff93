import Resilience
import Storage

/// Keys kept in the service's own database, beside the effects they stand for (`IDEMPOTENCY_BACKEND=file`).
public struct SQLIdempotencyStore: IdempotencyStore {
    /// The table; belongs to the schema of every service that uses this store.
    public static let migrations = [first, inOrderOfArrival, states]

    private static let first = Migration(
        "idempotency keys",
        """
        CREATE TABLE idempotency_keys (
            user_id TEXT NOT NULL,
            operation TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint BLOB NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('processing', 'succeeded', 'failed')),
            attempt INTEGER NOT NULL,
            reference TEXT NOT NULL,
            status INTEGER,
            body BLOB,
            expires_at INTEGER CHECK ((expires_at IS NULL) = (state = 'processing')),
            PRIMARY KEY (user_id, operation, key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at) WHERE expires_at IS NOT NULL;
        """
    )

    /// Keys are unpredictable. With the rows in their order, each claim and each answer would write a page of its own; in the
    /// order of arrival they share pages, and only the small entries of the unique index are scattered.
    private static let inOrderOfArrival = Migration(
        "idempotency keys in the order of arrival",
        """
        ALTER TABLE idempotency_keys RENAME TO idempotency_keys_by_key;
        CREATE TABLE idempotency_keys (
            key_id INTEGER PRIMARY KEY,
            user_id TEXT NOT NULL,
            operation TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint BLOB NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('processing', 'succeeded', 'failed')),
            attempt INTEGER NOT NULL,
            reference TEXT NOT NULL,
            status INTEGER,
            body BLOB,
            expires_at INTEGER CHECK ((expires_at IS NULL) = (state = 'processing')),
            UNIQUE (key, operation, user_id)
        ) STRICT;
        INSERT INTO idempotency_keys
            (user_id, operation, key, fingerprint, state, attempt, reference, status, body, expires_at)
        SELECT user_id, operation, key, fingerprint, state, attempt, reference, status, body, expires_at
        FROM idempotency_keys_by_key ORDER BY expires_at IS NULL, expires_at;
        DROP TABLE idempotency_keys_by_key;
        CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at) WHERE expires_at IS NOT NULL;
        """
    )

    private static let states = Migration.comparing(
        "states of keys compared", ListRule("idempotency_keys", "state", in: ["processing", "succeeded", "failed"]))

    public let timeToLive: Duration

    /// A store. - Parameter timeToLive: how long a terminal key is remembered.
    public init(timeToLive: Duration) {
        self.timeToLive = timeToLive
    }

    public func claim(
        _ scope: IdempotencyScope,
        fingerprint: Fingerprint,
        reference: String,
        now: Timestamp,
        in transaction: any Transaction
    ) throws -> Claim {
        // The unique insert decides between concurrent claims, in this process and in any other on the same store
        // (hazard 29).
        let inserted = try transaction.run(
            """
            INSERT INTO idempotency_keys (user_id, operation, key, fingerprint, state, attempt, reference)
            VALUES (?, ?, ?, ?, 'processing', 1, ?) ON CONFLICT DO NOTHING
            """,
            Self.primaryKey(scope) + [.blob(fingerprint.bytes), .text(reference)]
        )
        if inserted == 1 { return .started(attempt: 1) }

        let known = try transaction.first(
            """
            SELECT fingerprint, state, attempt, reference, status, body, expires_at FROM idempotency_keys
            WHERE user_id = ? AND operation = ? AND key = ?
            """,
            Self.primaryKey(scope)
        ) { row in
            Record(
                fingerprint: Fingerprint(bytes: row.blob(0)),
                state: row.text(1),
                attempt: Int(row.integer(2)),
                reference: row.text(3),
                response: StoredResponse(status: Int(row.optionalInteger(4) ?? 0), body: row.blob(5)),
                expiresAt: row.optionalInteger(6).map { Timestamp(milliseconds: $0) }
            )
        }
        guard let known else { throw StoreError.failed("a key was neither inserted nor found") }

        let isForgotten = known.expiresAt.map { $0 <= now } ?? false
        guard known.fingerprint == fingerprint || isForgotten else { return .mismatch }
        if known.state == "processing" { return .inProgress(reference: known.reference) }
        if known.state == "succeeded", !isForgotten { return .replay(known.response) }

        let attempt = isForgotten ? 1 : known.attempt + 1
        try transaction.run(
            """
            UPDATE idempotency_keys
            SET fingerprint = ?, state = 'processing', attempt = ?, reference = ?, status = NULL, body = NULL,
                expires_at = NULL
            WHERE user_id = ? AND operation = ? AND key = ?
            """,
            [.blob(fingerprint.bytes), .integer(Int64(attempt)), .text(reference)] + Self.primaryKey(scope)
        )
        return .started(attempt: attempt)
    }

    public func succeed(
        _ scope: IdempotencyScope,
        reference: String,
        response: StoredResponse,
        now: Timestamp,
        in transaction: any Transaction
    ) throws {
        try transaction.run(
            """
            UPDATE idempotency_keys SET state = 'succeeded', status = ?, body = ?, expires_at = ?
            WHERE user_id = ? AND operation = ? AND key = ? AND state = 'processing' AND reference = ?
            """,
            [
                .integer(Int64(response.status)), .blob(response.body),
                .integer(now.advanced(by: timeToLive).milliseconds),
            ] + Self.primaryKey(scope) + [.text(reference)]
        )
    }

    public func fail(
        _ scope: IdempotencyScope,
        reference: String,
        now: Timestamp,
        in transaction: any Transaction
    ) throws {
        try transaction.run(
            """
            UPDATE idempotency_keys SET state = 'failed', expires_at = ?
            WHERE user_id = ? AND operation = ? AND key = ? AND state = 'processing' AND reference = ?
            """,
            [.integer(now.advanced(by: timeToLive).milliseconds)] + Self.primaryKey(scope) + [.text(reference)]
        )
    }

    public func forgetExpired(now: Timestamp, limit: Int, in transaction: any Transaction) throws -> Int {
        try transaction.run(
            """
            DELETE FROM idempotency_keys WHERE key_id IN (
                SELECT key_id FROM idempotency_keys
                WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?
            )
            """,
            [.integer(now.milliseconds), .integer(Int64(limit))]
        )
    }

    private struct Record {
        let fingerprint: Fingerprint
        let state: String
        let attempt: Int
        let reference: String
        let response: StoredResponse
        let expiresAt: Timestamp?
    }

    private static func primaryKey(_ scope: IdempotencyScope) -> [SQLValue] {
        [.text(scope.user), .text(scope.operation), .text(scope.key.value)]
    }
}
