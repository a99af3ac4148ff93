import CoreMetrics
import Storage

/// Count the keyed commands of one operation by what their key was.
public final class KeyCounters: Sendable {
    /// What a key was when a command came with it.
    public enum Result: Sendable {
        case first, replayed, inProgress, mismatch
    }

    private let first, replayed, inProgress, mismatch: any CounterHandler

    /// Counters of an operation, for example `checkout`, at zero.
    public init(of operation: String, _ metrics: any MetricsFactory) {
        func counter(_ result: String) -> any CounterHandler {
            metrics.makeCounter(
                label: "idempotency_requests_total", dimensions: [("operation", operation), ("result", result)])
        }
        first = counter("first")
        replayed = counter("replayed")
        inProgress = counter("in_progress")
        mismatch = counter("mismatch")
    }

    /// Counts a command once its transaction is durable: a body may run twice, or in vain, and a counter never goes back.
    public func count(_ result: Result, in transaction: any Transaction) {
        let counter =
            switch result {
            case .first: first
            case .replayed: replayed
            case .inProgress: inProgress
            case .mismatch: mismatch
            }
        transaction.onCommit { counter.increment(by: 1) }
    }
}
