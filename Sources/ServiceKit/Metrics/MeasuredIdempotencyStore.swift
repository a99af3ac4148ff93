import CoreMetrics
import Idempotency
import Resilience
import Storage
import Synchronization

/// A store of keys that counts what became of each claim.
final class MeasuredIdempotencyStore: IdempotencyStore {
    private let store: any IdempotencyStore
    private let factory: any MetricsFactory
    private let handlers = Mutex<[String: Counters]>([:])

    private struct Counters: Sendable {
        let first, replayed, inProgress, mismatch: any CounterHandler
    }

    init(_ store: any IdempotencyStore, metrics: any MetricsFactory) {
        self.store = store
        factory = metrics
    }

    func claim(
        _ scope: IdempotencyScope, fingerprint: Fingerprint, reference: String, now: Timestamp,
        in transaction: any Transaction
    ) throws -> Claim {
        let claim = try store.claim(scope, fingerprint: fingerprint, reference: reference, now: now, in: transaction)
        let counters = counters(of: scope.operation)
        let counter =
            switch claim {
            case .started: counters.first
            case .replay: counters.replayed
            case .inProgress: counters.inProgress
            case .mismatch: counters.mismatch
            }
        // Only then: a body may run twice, or in vain, and a counter never goes back.
        transaction.onCommit { counter.increment(by: 1) }
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

    private func counters(of operation: String) -> Counters {
        handlers.withLock { handlers in
            if let known = handlers[operation] { return known }
            func make(_ result: String) -> any CounterHandler {
                factory.makeCounter(
                    label: "idempotency_requests_total", dimensions: [("operation", operation), ("result", result)])
            }
            let made = Counters(
                first: make("first"), replayed: make("replayed"), inProgress: make("in_progress"),
                mismatch: make("mismatch"))
            handlers[operation] = made
            return made
        }
    }
}
