import Synchronization

/// The charges and refunds that this process is asking the provider about right now. A pending record that is not among
/// them was left by an earlier process, or by an answer that never came, and may be taken up by anyone.
final class InFlight: Sendable {
    private let ids = Mutex<Set<String>>([])

    /// Takes an id. - Returns: false when somebody has it.
    func begin(_ id: String) -> Bool {
        ids.withLock { $0.insert(id).inserted }
    }

    func end(_ id: String) {
        ids.withLock { _ = $0.remove(id) }
    }
}
