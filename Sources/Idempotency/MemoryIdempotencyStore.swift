import Resilience
import Storage
import Synchronization

/// Keys kept in this process. Nothing survives a restart: for tests and trials (`IDEMPOTENCY_BACKEND=memory`).
///
/// Follows the transaction it is used in: a body that is undone leaves no claim behind.
public final class MemoryIdempotencyStore: IdempotencyStore {
    private enum State {
        case processing
        case succeeded(StoredResponse, expiresAt: Timestamp)
        case failed(expiresAt: Timestamp)

        var expiresAt: Timestamp? {
            switch self {
            case .processing: nil
            case .succeeded(_, let expiresAt), .failed(let expiresAt): expiresAt
            }
        }
    }

    private struct Record {
        let fingerprint: Fingerprint
        var reference: String
        var attempt: Int
        var state: State
    }

    public let timeToLive: Duration
    private let records = Mutex<[IdempotencyScope: Record]>([:])

    /// An empty store. - Parameter timeToLive: how long a terminal key is remembered.
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
        change(scope, in: transaction) { record in
            if let known = record, !(known.state.expiresAt.map { $0 <= now } ?? false) {
                guard known.fingerprint == fingerprint else { return .mismatch }
                switch known.state {
                case .processing: return .inProgress(reference: known.reference)
                case .succeeded(let response, _): return .replay(response)
                case .failed:
                    let attempt = known.attempt + 1
                    record = Record(
                        fingerprint: fingerprint, reference: reference, attempt: attempt, state: .processing)
                    return .started(attempt: attempt)
                }
            }
            record = Record(fingerprint: fingerprint, reference: reference, attempt: 1, state: .processing)
            return .started(attempt: 1)
        }
    }

    public func succeed(
        _ scope: IdempotencyScope,
        reference: String,
        response: StoredResponse,
        now: Timestamp,
        in transaction: any Transaction
    ) throws {
        settle(scope, reference, .succeeded(response, expiresAt: now.advanced(by: timeToLive)), in: transaction)
    }

    public func fail(
        _ scope: IdempotencyScope,
        reference: String,
        now: Timestamp,
        in transaction: any Transaction
    ) throws {
        settle(scope, reference, .failed(expiresAt: now.advanced(by: timeToLive)), in: transaction)
    }

    public func forgetExpired(now: Timestamp, limit: Int, in transaction: any Transaction) throws -> Int {
        let expired = records.withLock { records in
            records.lazy.filter { $0.value.state.expiresAt.map { $0 <= now } ?? false }.prefix(limit).map(\.key)
        }
        for scope in expired { change(scope, in: transaction) { $0 = nil } }
        return expired.count
    }

    private func settle(
        _ scope: IdempotencyScope,
        _ reference: String,
        _ state: State,
        in transaction: any Transaction
    ) {
        change(scope, in: transaction) { record in
            guard case .processing? = record?.state, record?.reference == reference else { return }
            record?.state = state
        }
    }

    /// Changes one record and remembers how to put the old one back.
    @discardableResult
    private func change<T>(
        _ scope: IdempotencyScope,
        in transaction: any Transaction,
        _ body: (inout Record?) -> T
    ) -> T {
        let (old, result) = records.withLock { records in
            let old = records[scope]
            return (old, body(&records[scope]))
        }
        transaction.onRollback { self.records.withLock { $0[scope] = old } }
        return result
    }
}
