import Synchronization

/// One body with the continuation of its caller.
protocol Work: Sendable {
    /// Runs the body and keeps its result.
    func run(_ transaction: SQLiteTransaction) throws
    /// Resumes the caller, with the error if there is one, else with the kept result.
    func finish(_ error: (any Error)?)
}

final class BodyWork<T: Sendable>: Work {
    private let body: @Sendable (any Transaction) throws -> T
    private let continuation: CheckedContinuation<T, any Error>
    private let result = Mutex<T?>(nil)

    init(_ body: @escaping @Sendable (any Transaction) throws -> T, _ continuation: CheckedContinuation<T, any Error>) {
        self.body = body
        self.continuation = continuation
    }

    func run(_ transaction: SQLiteTransaction) throws {
        let value = try body(transaction)
        result.withLock { $0 = value }
    }

    func finish(_ error: (any Error)?) {
        if let error {
            continuation.resume(throwing: error)
        } else if let value = result.withLock({ $0 }) {
            continuation.resume(returning: value)
        } else {
            continuation.resume(throwing: StoreError.failed("the transaction did not run"))
        }
    }
}
