import Resilience
import Storage

/// What a key is unique within: another user's or another operation's equal key is another key (IK-14).
public struct IdempotencyScope: Hashable, Sendable {
    /// The user named by `X-User-ID`; empty without one.
    public let user: String
    /// The operation's name, for example `charge`.
    public let operation: String
    /// The client's key.
    public let key: IdempotencyKey

    /// The scope of one key.
    public init(user: String, operation: String, key: IdempotencyKey) {
        self.user = user
        self.operation = operation
        self.key = key
    }
}

/// The answer that a succeeded key gives again, to the byte (IK-11).
public struct StoredResponse: Hashable, Sendable {
    /// The HTTP status.
    public let status: Int
    /// The body, as JSON.
    public let body: [UInt8]

    /// An answer to keep.
    public init(status: Int, body: [UInt8]) {
        self.status = status
        self.body = body
    }
}

/// What became of the attempt to claim a key.
public enum Claim: Equatable, Sendable {
    /// The key was free, forgotten or failed and is the caller's now: execute, then settle. Attempts count from 1.
    case started(attempt: Int)
    /// The key has succeeded: answer this.
    case replay(StoredResponse)
    /// The key was claimed before and is not settled; `reference` is what that claim stands for.
    case inProgress(reference: String)
    /// The key was used for another command (IK-13).
    case mismatch
}

/// What is known of each key: processing, succeeded with its answer, or failed and free to be tried again.
///
/// Every function works inside the caller's transaction, so the record of a key and the effect it stands for become
/// durable together or not at all (decision 2). A terminal key is forgotten `timeToLive` after it was settled; a key
/// that is processing never is (IK-25). Two implementations pass one conformance suite: in memory and in SQL. Order
/// keeps no keys in one: an order is the record of its key.
public protocol IdempotencyStore: Sendable {
    /// How long a terminal key is remembered.
    var timeToLive: Duration { get }

    /// Claims a key for a command.
    ///
    /// - Parameters:
    ///   - reference: what the claim stands for, for example the id of the charge; given back while it is in progress.
    ///   - now: decides which terminal keys are forgotten already.
    func claim(
        _ scope: IdempotencyScope,
        fingerprint: Fingerprint,
        reference: String,
        now: Timestamp,
        in transaction: any Transaction
    ) throws -> Claim

    /// Settles a claimed key with the answer to replay. Does nothing unless the key is processing for `reference`.
    func succeed(
        _ scope: IdempotencyScope,
        reference: String,
        response: StoredResponse,
        now: Timestamp,
        in transaction: any Transaction
    ) throws

    /// Settles a claimed key as failed: the same command may be tried again (IK-18). Does nothing unless the key is
    /// processing for `reference`.
    func fail(
        _ scope: IdempotencyScope,
        reference: String,
        now: Timestamp,
        in transaction: any Transaction
    ) throws

    /// Deletes terminal keys whose time is over, at most `limit`. - Returns: how many.
    func forgetExpired(now: Timestamp, limit: Int, in transaction: any Transaction) throws -> Int
}

extension IdempotencyStore {
    /// Notes that a key is the id of what it asks for, so that it is not used without the id as well (IK-13). What has come of the
    /// command is known by the id, for ever, and never replayed from this record.
    ///
    /// - Returns: false when the key was used for something else.
    public func noteKeyIsID(
        _ scope: IdempotencyScope, now: Timestamp, in transaction: any Transaction
    ) throws -> Bool {
        let fingerprint = Fingerprint(operation: "\(scope.operation), the key is the id", fields: [])
        let claim = try claim(
            scope, fingerprint: fingerprint, reference: scope.key.value, now: now, in: transaction)
        guard claim != .mismatch else { return false }
        try fail(scope, reference: scope.key.value, now: now, in: transaction)
        return true
    }
}
