import AuditAPI
import Correlation
import Resilience

/// What must hold between Order, Stock and Payment, as far as their records show it (INV-1 to INV-8), and
/// in Payment's ledger (INV-11).
///
/// Values in, findings out: nothing here reads or waits. A record younger than `grace` is not judged, because its checkout
/// may still be under way; ages are taken by the clock of the service that the record is from.
///
/// What a client of Stock or Payment does without Order is its own business and no finding: a reservation that no order
/// names, a charge that names no order, and one that names an order in an id that Order cannot have made. Nor is it a
/// finding that such a client refunds the charge of a completed order. The report adds these up apart.
///
/// Not to be seen in the records, and so not judged: what clients were answered (INV-1's replays), the keys of commands sent
/// to Stock or Payment directly, keys already forgotten, and how a status came to be (only that a reservation's goods moved
/// once).
public struct AuditRules: Sendable {
    /// How old a change must be to count.
    public let grace: Duration
    /// How long Order remembers a key once its order has ended (`IDEMPOTENCY_TTL_SECONDS`).
    public let keyLife: Duration

    /// Rules.
    public init(grace: Duration, keyLife: Duration) {
        self.grace = grace
        self.keyLife = keyLife
    }

    /// Whether so much time has passed since a change that it counts. A clock that was set back makes no change younger
    /// than new.
    func isOld(_ change: Timestamp, at now: Timestamp) -> Bool {
        max(now, change) >= change.advanced(by: grace)
    }

    // MARK: - Keys

    /// Two orders of one key that were found in the same life of the key.
    ///
    /// A key may have any number of orders that failed, one after the other (IK-18), and at most one that did not (INV-1);
    /// all of them are for the same command (INV-2).
    public func judge(_ one: OrderEntry, _ other: OrderEntry) -> [Finding] {
        let (earlier, later) = one.createdAt <= other.createdAt ? (one, other) : (other, one)
        guard earlier.id != later.id, earlier.key == later.key else { return [] }
        let hasEnded = earlier.outcome != .pending
        guard !hasEnded || later.createdAt < earlier.updatedAt.advanced(by: keyLife) else { return [] }
        var findings: [Finding] = []
        let subjects = [Finding.Subject.order(earlier.id), .order(later.id)]
        if earlier.outcome != .failed, later.outcome != .failed {
            findings.append(
                Finding(
                    1, subjects,
                    """
                    One key of \(Self.name(later.user)) has two orders that did not fail (\(earlier.outcome.rawValue) and \
                    \(later.outcome.rawValue)): a customer who sent one checkout may have been sold, and charged, two.
                    """))
        }
        if let command = earlier.command, let otherCommand = later.command, command != otherCommand {
            findings.append(
                Finding(
                    2, subjects,
                    """
                    One key of \(Self.name(later.user)) has orders for different goods or methods: the second should have \
                    been refused, and its client may take its answer for that of the first.
                    """))
        }
        return findings
    }

    static func name(_ user: String) -> String { user.isEmpty ? "the nameless user" : "user \(user)" }
}

extension OrderEntry {
    /// How the order stands: by its saga, which clients see and recovery goes by; without one, by its column.
    var outcome: Status { record?.status ?? status }
}
