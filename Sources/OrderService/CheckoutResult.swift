import Synchronization

/// How a checkout stands when its waiter stops waiting.
enum CheckoutResult: Equatable, Sendable {
    /// Paid and handed over.
    case completed(receipt: [UInt8])
    /// It fails; whatever was taken for it is given back.
    case failed(Failure)
    /// Not known yet; the saga goes on by itself.
    case unknown
}

/// Resumes whoever waits for a checkout, once.
final class CheckoutWaiter: Sendable {
    private let continuation: Mutex<CheckedContinuation<CheckoutResult, Never>?>

    init(_ continuation: CheckedContinuation<CheckoutResult, Never>) {
        self.continuation = Mutex(continuation)
    }

    /// Whether it has not been resumed yet.
    var isWaiting: Bool { continuation.withLock { $0 != nil } }

    func resume(_ result: CheckoutResult) {
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(returning: result)
    }
}
