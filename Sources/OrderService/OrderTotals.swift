import ServiceKit
import Storage

/// How many orders there are by status, and what the completed ones are worth (INV-3), for the operator.
///
/// Added up in steps between which checkouts go on: all orders at once would hold them up for seconds once there are millions. So while
/// orders are made it is of no one moment. Those that are pending are counted first, so that with none of them, and none begun
/// meanwhile, all the rest is as it stays.
struct OrderTotals: Sendable {
    /// How many orders one transaction adds up.
    static let stepSize: Int64 = 1000

    private(set) var pending: Int64 = 0
    /// How many of the pending ones are parked.
    private(set) var parked: Int64 = 0
    private(set) var completed: Int64 = 0
    private(set) var failed: Int64 = 0
    /// What the completed ones are worth, by currency, in minor units.
    private(set) var worth: [String: Int128] = [:]
    private var cursor: Int64 = 0

    /// Adds up all orders. Ends, because it adds them up faster than they can be made. - Throws: `StoreError`.
    init(in environment: ServiceEnvironment) async throws {
        var totals = OrderTotals()
        (totals.pending, totals.parked) =
            try await environment.store.transaction { transaction in
                try transaction.first(Self.open, []) { ($0.integer(0), $0.integer(1)) }
            } ?? (0, 0)
        try await environment.stepByStep {
            let groups = try await environment.store.transaction { [cursor = totals.cursor] transaction in
                try transaction.all(Self.step, [.integer(cursor), .integer(Self.stepSize)], Group.init)
            }
            for group in groups { totals.add(group) }
            return groups.reduce(0) { $0 + $1.count } == Self.stepSize
        }
        self = totals
    }

    private init() {}

    private mutating func add(_ group: Group) {
        cursor = max(cursor, group.last)
        switch group.status {
        case "completed":
            completed += group.count
            if let currency = group.currency { worth[currency, default: 0] += group.worth }
        case "failed": failed += group.count
        default: break
        }
    }

    private struct Group: Sendable {
        let status: String
        let currency: String?
        let count: Int64
        let last: Int64
        let worth: Int128

        init(_ row: any SQLRow) {
            (status, currency, count, last) = (row.text(0), row.optionalText(1), row.integer(2), row.integer(3))
            worth = Int128(high: row.integer(4), low: row.integer(5))
        }
    }

    private static let open = "SELECT count(*), count(parked_for) FROM orders WHERE status = 'pending'"

    private static let step = """
        SELECT status, currency, count(*), max(arrival),
            ifnull(sum(total / 1000000000), 0), ifnull(sum(total % 1000000000), 0)
        FROM (SELECT arrival, status, currency, total FROM orders WHERE arrival > ? ORDER BY arrival LIMIT ?)
        GROUP BY status, currency
        """
}
