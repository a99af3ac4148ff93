import ServiceKit
import Storage

/// What charges took and gave back in all, by currency (INV-3): added up in steps between which requests are served, so while
/// charges are made it is of no one moment.
struct PaymentTotals: Sendable {
    struct Total: Hashable, Sendable {
        var captured: Int128 = 0
        var refunded: Int128 = 0
    }

    /// How many charges one transaction adds up.
    static let stepSize: Int64 = 1000

    private(set) var byCurrency: [String: Total] = [:]
    private var cursor = ""

    /// Adds up all charges. - Throws: `StoreError`.
    init(in environment: ServiceEnvironment) async throws {
        var totals = PaymentTotals()
        try await environment.stepByStep {
            let (groups, count) = try await environment.store.transaction { [cursor = totals.cursor] transaction in
                let groups = try transaction.all(Self.step, [.text(cursor), .integer(Self.stepSize)], Group.init)
                return (groups, groups.reduce(0) { $0 + $1.count })
            }
            for group in groups { totals.add(group) }
            return count == Self.stepSize
        }
        self = totals
    }

    private init() {}

    private mutating func add(_ group: Group) {
        cursor = max(cursor, group.last)
        guard group.succeeded > 0 else { return }
        byCurrency[group.currency, default: Total()].captured += group.captured
        byCurrency[group.currency, default: Total()].refunded += group.refunded
    }

    private struct Group: Sendable {
        let currency: String
        let count: Int64
        let last: String
        let succeeded: Int64
        let captured: Int128
        let refunded: Int128

        init(_ row: any SQLRow) {
            (currency, count, last, succeeded) = (row.text(0), row.integer(1), row.text(2), row.integer(3))
            captured = Int128(high: row.integer(4), low: row.integer(5))
            refunded = Int128(high: row.integer(6), low: row.integer(7))
        }
    }

    private static let step = """
        SELECT currency, count(*), max(charge_id), sum(status = 'succeeded'),
            sum(iif(status = 'succeeded', amount / 1000000000, 0)), sum(iif(status = 'succeeded', amount % 1000000000, 0)),
            sum(iif(status = 'succeeded', refunded / 1000000000, 0)),
            sum(iif(status = 'succeeded', refunded % 1000000000, 0))
        FROM (SELECT * FROM charges WHERE charge_id > ? ORDER BY charge_id LIMIT ?) GROUP BY currency
        """
}
