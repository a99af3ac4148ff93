import CoreMetrics
import Resilience
import Storage

/// A store that times its transactions and counts those that failed. All series are made at the start: a rate sees no first failure of a
/// series that begins with it.
struct MeasuredStore: Store {
    private let store: any Store
    private let time: any TimeSource
    private let timer: CoreMetrics.Timer
    private let failures: [String: Counter]

    init(_ store: any Store, metrics: any MetricsFactory, time: any TimeSource) {
        self.store = store
        self.time = time
        failures = Dictionary(
            uniqueKeysWithValues: StoreError.labels.map { label in
                (
                    label,
                    Counter(
                        label: "store_transaction_failures_total", dimensions: [("error_type", label)], factory: metrics
                    )
                )
            })
        timer = CoreMetrics.Timer(label: "store_transaction_duration_seconds", dimensions: [], factory: metrics)
    }

    func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws {
        let start = time.uptime
        do {
            try await store.perform(body)
            timer.recordNanoseconds((time.uptime - start).wholeNanoseconds)
        } catch let error as StoreError {
            failures[error.label]?.increment()
            throw error
        }
    }
}

extension StoreError {
    /// All that `label` may be.
    static let labels = ["closed", "overloaded", "full", "uncertain", "constraint", "failed", "fatal"]

    /// Which error it is, in one word.
    var label: String {
        switch self {
        case .closed: "closed"
        case .overloaded: "overloaded"
        case .full: "full"
        case .uncertain: "uncertain"
        case .constraint: "constraint"
        // A store that is foreign is never opened, so nothing of it is measured.
        case .failed, .foreign: "failed"
        case .fatal: "fatal"
        }
    }
}
