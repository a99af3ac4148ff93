import AuditAPI
import Resilience

/// Which orders there are of each key, to find two that there may not be (INV-1, INV-2).
///
/// This is all that an audit remembers of the orders it has seen: some 100 bytes for each key that has not been forgotten by
/// the time of the order read last, so 100 MB for a million checkouts within a key's life.
public struct KeyUses: Sendable {
    private struct Use: Sendable {
        /// The order's id without its dashes.
        let order: UInt128
        /// When the key is forgotten, in milliseconds since 1970.
        let until: Int64
        /// A part of the command's digest.
        let command: UInt32
        let hasFailed: Bool
    }

    private let keyLife: Duration
    private var uses: [UInt128: Use] = [:]
    private var pruneAt = 65_536

    /// How many keys are remembered.
    var count: Int { uses.count }

    /// No keys. - Parameter keyLife: how long a key is remembered once its order has ended.
    public init(keyLife: Duration) {
        self.keyLife = keyLife
    }

    /// Notes an order; orders come in the order of their ids, which is that of their making.
    ///
    /// - Returns: the id of an earlier order that must be looked at together with this one, as both are now.
    public mutating func note(_ order: OrderEntry) -> String? {
        guard let key = UInt128(order.key, radix: 16), let id = UInt128(order.id.filter { $0 != "-" }, radix: 16) else {
            return nil
        }
        let use = Use(
            order: id,
            until: order.outcome == .pending ? .max : order.updatedAt.advanced(by: keyLife).milliseconds,
            command: order.command.flatMap { UInt32($0.prefix(8), radix: 16) } ?? 0,
            hasFailed: order.outcome == .failed)
        guard let earlier = uses[key], order.createdAt.milliseconds < earlier.until else {
            uses[key] = use
            prune(before: order.createdAt)
            return nil
        }
        // Of one that failed and one that did not, a third may clash with the latter.
        if earlier.hasFailed { uses[key] = use }
        let isSuspect = !earlier.hasFailed && !use.hasFailed || earlier.command != use.command
        return isSuspect ? Self.identifier(earlier.order) : nil
    }

    /// Drops keys that are forgotten, whenever there are twice as many as were left the last time.
    private mutating func prune(before now: Timestamp) {
        guard uses.count >= pruneAt else { return }
        uses = uses.filter { $0.value.until > now.milliseconds }
        pruneAt = max(65_536, 2 * uses.count)
    }

    private static func identifier(_ order: UInt128) -> String {
        let digits = String(order, radix: 16)
        var text = Array(String(repeating: "0", count: max(0, 32 - digits.count)) + digits)
        for position in [20, 16, 12, 8] { text.insert("-", at: position) }
        return String(text)
    }
}
