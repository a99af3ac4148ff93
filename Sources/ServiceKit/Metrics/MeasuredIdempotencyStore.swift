import CoreMetrics
import Idempotency
import Resilience
import Storage
import Synchronization

/// A store of keys that counts what became of each claim.
final class MeasuredIdempotencyStore: IdempotencyStore {
    private let store: any IdempotencyStore
    var timeToLive: Duration { store.timeToLive }
    private let factory: any MetricsFactory
    private let counters = Mutex<[String: KeyCounters]>([:])

    init(_ store: any IdempotencyStore, metrics: any MetricsFactory) {
        self.store = store
        factory = metrics
    }

    func claim(
        _ scope: IdempotencyScope, fingerprint: Fingerprint, reference: String, now: Timestamp,
        in transaction: any Transaction
    ) throws -> Claim {
        let claim = try store.claim(scope, fingerprint: fingerprint, reference: reference, now: now, in: transaction)
        let result: KeyCounters.Result =
            switch claim {
            case .started: .first
            case .replay: .replayed
            case .inProgress: .inProgress
            case .mismatch: .mismatch
            }
        counters(of: scope.operation).count(result, in: transaction)
        return claim
    }

    func succeed(
        _ scope: IdempotencyScope, reference: String, response: StoredResponse, now: Timestamp,
        in transaction: any Transaction
    ) throws {
        try store.succeed(scope, reference: reference, response: response, now: now, in: transaction)
    }

    func fail(_ scope: IdempotencyScope, reference: String, now: Timestamp, in transaction: any Transaction) throws {
        try store.fail(scope, reference: reference, now: now, in: transaction)
    }

    func forgetExpired(now: Timestamp, limit: Int, in transaction: any Transaction) throws -> Int {
        try store.forgetExpired(now: now, limit: limit, in: transaction)
    }

    private func counters(of operation: String) -> KeyCounters {
        counters.withLock { counters in
            if let known = counters[operation] { return known }
            let made = KeyCounters(of: operation, factory)
            counters[operation] = made
            return made
        }
    }
}
