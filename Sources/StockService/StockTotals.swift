import ServiceKit
import Storage

/// What must add up in Stock (INV-5), for the operator.
///
/// Read in steps between which reservations go on, so while they are made it is of no one moment; each item by itself is. Open
/// reservations are counted first, so that with none of them, and none made meanwhile, all the rest is as it stays.
struct StockTotals: Sendable {
    struct Item: Sendable {
        let id: Int64
        let received: Int64
        let available: Int64
        let reserved: Int64
        let completed: Int64

        fileprivate init(_ row: any SQLRow) {
            (id, received, available) = (row.integer(0), row.integer(1), row.integer(2))
            (reserved, completed) = (row.integer(3), row.integer(4))
        }
    }

    /// How many items or reservations one transaction reads.
    static let stepSize: Int64 = 1000
    /// No more items are told, those with the lowest ids.
    static let maximumItems = 100_000

    private(set) var items: [Item] = []
    private(set) var reserved: Int64 = 0
    private(set) var completed: Int64 = 0
    private(set) var canceled: Int64 = 0

    /// Reads all of them. Ends, because it reads them faster than they can be made. - Throws: `StoreError`.
    init(in environment: ServiceEnvironment) async throws {
        var totals = StockTotals()
        totals.reserved =
            try await environment.store.transaction { transaction in
                try transaction.first("SELECT count(*) FROM reservations WHERE status = 'reserved'", []) {
                    $0.integer(0)
                }
            } ?? 0
        try await environment.stepByStep {
            let after = totals.items.last?.id ?? 0
            let page = try await environment.store.transaction { transaction in
                try transaction.all(Self.itemStep, [.integer(after), .integer(Self.stepSize)], Item.init)
            }
            totals.items += page.prefix(Self.maximumItems - totals.items.count)
            return page.count == Self.stepSize && totals.items.count < Self.maximumItems
        }
        var cursor = ""
        try await environment.stepByStep {
            let step = try await environment.store.transaction { [cursor] transaction in
                try transaction.first(Self.reservationStep, [.text(cursor), .integer(Self.stepSize)], Step.init)
            }
            guard let step, let last = step.last else { return false }
            cursor = last
            totals.completed += step.completed
            totals.canceled += step.canceled
            return step.count == Self.stepSize
        }
        self = totals
    }

    private init() {}

    private struct Step: Sendable {
        let count: Int64
        let last: String?
        let completed: Int64
        let canceled: Int64

        init(_ row: any SQLRow) {
            (count, last) = (row.integer(0), row.optionalText(1))
            (completed, canceled) = (row.integer(2), row.integer(3))
        }
    }

    private static let itemStep = """
        SELECT item_id, received, on_hand - reserved, reserved, completed FROM items
        WHERE item_id > ? ORDER BY item_id LIMIT ?
        """

    private static let reservationStep = """
        SELECT count(*), max(reservation_id), count(*) FILTER (WHERE status = 'completed'),
            count(*) FILTER (WHERE status = 'canceled')
        FROM (SELECT reservation_id, status FROM reservations WHERE reservation_id > ? ORDER BY reservation_id LIMIT ?)
        """
}
