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
            let (groups, last) = try await environment.store.transaction { [cursor = totals.cursor] transaction in
                let place: [SQLValue] = [.text(cursor), .integer(Self.stepSize)]
                // By the database: its order of texts is not Swift's.
                return (
                    try transaction.all(Self.step, place, Group.init),
                    try transaction.first(Self.last, place) { $0.text(0) }
                )
            }
            for group in groups { totals.add(group) }
            totals.cursor = last ?? ""
            return last != nil
        }
        self = totals
    }

    private init() {}

    private mutating func add(_ group: Group) {
        guard group.succeeded > 0 else { return }
        byCurrency[group.currency, default: Total()].captured += group.captured
        byCurrency[group.currency, default: Total()].refunded += group.refunded
    }

    private struct Group: Sendable {
        let currency: String
        let succeeded: Int64
        let captured: Int128
        let refunded: Int128

        init(_ row: any SQLRow) {
            (currency, succeeded) = (row.text(0), row.integer(1))
            captured = Int128(high: row.integer(2), low: row.integer(3))
            refunded = Int128(high: row.integer(4), low: row.integer(5))
        }
    }

    private static let step = """
        SELECT currency, sum(status = 'succeeded'),
            sum(iif(status = 'succeeded', amount / 1000000000, 0)), sum(iif(status = 'succeeded', amount % 1000000000, 0)),
            sum(iif(status = 'succeeded', refunded / 1000000000, 0)),
            sum(iif(status = 'succeeded', refunded % 1000000000, 0))
        FROM (SELECT * FROM charges WHERE charge_id > ? ORDER BY charge_id LIMIT ?) GROUP BY currency
        """

    /// Where a full step ends; nothing when it is not full.
    private static let last =
        "SELECT charge_id FROM charges WHERE charge_id > ? ORDER BY charge_id LIMIT 1 OFFSET ? - 1"
}
