import ServiceLifecycle
import Synchronization

/// Whether the service has been told to stop. As a member of the service group, started last and so stopped first, it
/// learns of the stop before the server does (OP-07).
public final class DrainState: Service {
    private let draining = Atomic(false)
    private let onDrain: @Sendable () -> Void

    /// Not draining.
    ///
    /// - Parameter onDrain: called once, when the order to stop has come.
    public init(onDrain: @escaping @Sendable () -> Void = {}) {
        self.onDrain = onDrain
    }

    /// True once the service has been told to stop: not ready, and no new requests.
    public var isDraining: Bool { draining.load(ordering: .relaxed) }

    /// Waits for the order to stop. - Throws: `CancellationError` if another part of the process fails: that is no order.
    public func run() async throws {
        try await gracefulShutdown()
        draining.store(true, ordering: .relaxed)
        onDrain()
    }
}
