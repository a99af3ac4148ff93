import Synchronization

/// The sagas that this process drives, by their leases. Those that it has begun itself are bounded; what `Recovery` takes up was admitted once.
final class SagasUnderWay: Sendable {
    private struct Entry {
        let lease: Lease
        /// Called when it is not this process's to drive any more, whether or not its driver knows.
        var onLoss: (@Sendable () -> Void)?
    }

    private let maximum: Int
    private let entries = Mutex<[String: Entry]>([:])

    init(maximum: Int) {
        self.maximum = maximum
    }

    var leases: Set<Lease> { entries.withLock { Set($0.values.lazy.map(\.lease)) } }

    /// - Returns: false when as many are under way as are allowed.
    func admit(_ lease: Lease) -> Bool {
        entries.withLock { entries in
            guard entries.count < maximum else { return false }
            entries[lease.orderID] = Entry(lease: lease)
            return true
        }
    }

    /// Adds a saga that was taken over, in the place of whoever drove it here before.
    func take(_ lease: Lease, onLoss: @escaping @Sendable () -> Void) {
        let earlier = entries.withLock {
            $0.updateValue(Entry(lease: lease, onLoss: onLoss), forKey: lease.orderID)
        }
        earlier?.onLoss?()
    }

    func lose(_ leases: [Lease]) {
        for lease in leases {
            let lost = entries.withLock { entries in
                entries[lease.orderID]?.lease == lease ? entries.removeValue(forKey: lease.orderID) : nil
            }
            lost?.onLoss?()
        }
    }
}
