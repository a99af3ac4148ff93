import GRDB

/// What the three disks hold, read from outside.
struct Snapshot {
    struct Order {
        let id, user, key, status, step, reservationID, chargeID, method, lines: String
        let failureCode: String?
        let total: Int64?
        let attempt: Int64
    }
    struct Reservation {
        let id, status, lines: String
        let total: Int64?
    }
    struct Charge {
        let id, user, status, method: String
        let orderID: String?
        let amount, refunded: Int64
        /// The number of the wallet that paid.
        let wallet: Int64?
        /// What the ledger says was paid and given back.
        let paid, returned: Int64
        /// What its trail of events says became of it in the end.
        let lastEvent: String?
    }
    /// A payment through an outside provider.
    struct Payment {
        let id, user, key, kind, direction, status, provider: String
        /// Of a refund: the payment.
        let refundOf: String?
        let amount, fee, held, refunding, refunded, feeBack: Int64
        /// What its trail of events says became of it in the end, but for its refunds.
        let lastEvent: String?

        var isDone: Bool { ["succeeded", "partially_refunded", "refunded"].contains(status) }
        /// What it has done to the wallet.
        var change: Int64 {
            guard isDone else { return 0 }
            // The fee of a refund is what is given back of the payment's.
            let fee = refundOf == nil ? -fee : fee
            return (direction == "in" ? amount : -amount) + fee
        }
        /// What the provider owes us for it.
        var collected: Int64 {
            guard isDone else { return 0 }
            // A refund of what went out comes in, and the other way round.
            return direction == "in" ? amount : -amount
        }
        /// What we have earned by it.
        var earned: Int64 { isDone ? refundOf == nil ? fee : -fee : 0 }
    }
    struct Account {
        let id, kind, user: String
        let number, balance, entries: Int64
    }
    struct Item {
        let id, onHand, reserved, completed, received: Int64
    }
    struct Sum: Equatable {
        let item: Int64
        let quantity: Int64
    }
    struct Key {
        let operation, key, state: String
    }

    let orders: [Order]
    let reservations: [Reservation]
    let charges: [Charge]
    let payments: [Payment]
    let accounts: [Account]
    let items: [Item]
    let reservedSums: [Sum]
    let completedSums: [Sum]
    let pendingRefunds: Int
    let keys: [Key]

    init(_ disks: Disks) throws {
        orders = try disks.order.rows(
            """
            SELECT order_id, user_id, operation_key, status, json_extract(saga, '$.step.name'),
                json_extract(saga, '$.reservationId'), json_extract(saga, '$.chargeId'),
                coalesce(json_extract(saga, '$.method'), 'card'), json_extract(saga, '$.lines'),
                json_extract(saga, '$.step.failure.code'), total, attempt
            FROM orders ORDER BY order_id
            """
        ) {
            Order(
                id: $0[0], user: $0[1], key: $0[2], status: $0[3], step: $0[4], reservationID: $0[5], chargeID: $0[6],
                method: $0[7], lines: $0[8], failureCode: $0[9], total: $0[10], attempt: $0[11])
        }
        reservations = try disks.stock.rows(
            "SELECT reservation_id, status, lines, total FROM reservations ORDER BY reservation_id"
        ) { Reservation(id: $0[0], status: $0[1], lines: $0[2], total: $0[3]) }
        items = try disks.stock.rows(
            "SELECT item_id, on_hand, reserved, completed, received FROM items ORDER BY item_id"
        ) { Item(id: $0[0], onHand: $0[1], reserved: $0[2], completed: $0[3], received: $0[4]) }
        reservedSums = try Self.sums(disks.stock, "reserved")
        completedSums = try Self.sums(disks.stock, "completed")
        charges = try Self.charges(disks.payment)
        accounts = try Self.accounts(disks.payment)
        payments = try disks.payment.rows(
            """
            SELECT payment_id, user_id, ifnull(operation_key, ''), kind, direction, status, provider, refund_of, amount, fee,
                held, refunding, refunded, fee_back,
                (SELECT type FROM payments_trail WHERE payments_trail.payment_id = payments.payment_id
                    AND type NOT IN ('dead_lettered', 'retried', 'discarded') AND refund_id IS NULL
                    ORDER BY sequence DESC LIMIT 1)
            FROM payments ORDER BY payment_id
            """
        ) {
            Payment(
                id: $0[0], user: $0[1], key: $0[2], kind: $0[3], direction: $0[4], status: $0[5], provider: $0[6],
                refundOf: $0[7], amount: $0[8], fee: $0[9], held: $0[10], refunding: $0[11], refunded: $0[12],
                feeBack: $0[13], lastEvent: $0[14])
        }
        pendingRefunds = try disks.payment.rows("SELECT count(*) FROM refunds WHERE status = 'pending'") { $0[0] }[0]
        keys = try [disks.order, disks.stock, disks.payment].flatMap { disk in
            try disk.rows("SELECT operation, key, state FROM idempotency_keys ORDER BY user_id, operation, key") {
                Key(operation: $0[0], key: $0[1], state: $0[2])
            }
        }
    }

    private static func sums(_ stock: Disk, _ status: String) throws -> [Sum] {
        try stock.rows(
            """
            SELECT json_extract(line.value, '$.itemId') AS item, sum(json_extract(line.value, '$.quantity'))
            FROM reservations, json_each(reservations.lines, '$.lines') AS line
            WHERE status = '\(status)' GROUP BY item ORDER BY item
            """
        ) { Sum(item: $0[0], quantity: $0[1]) }
    }

    private static func charges(_ payment: Disk) throws -> [Charge] {
        try payment.rows(
            """
            SELECT charge_id, user_id, status, method, order_id, amount, refunded, wallet,
                (SELECT ifnull(sum(amount), 0) FROM ledger_entries WHERE transaction_id = charge_id AND type = 'charge'),
                (SELECT ifnull(sum(ledger_entries.amount), 0) FROM refunds
                    JOIN ledger_entries ON transaction_id = refund_id AND type = 'refund'
                    WHERE refunds.charge_id = charges.charge_id),
                (SELECT type FROM payment_events WHERE payment_id = charge_id AND refund_id IS NULL
                    ORDER BY sequence DESC LIMIT 1)
            FROM charges ORDER BY charge_id
            """
        ) {
            Charge(
                id: $0[0], user: $0[1], status: $0[2], method: $0[3], orderID: $0[4], amount: $0[5], refunded: $0[6],
                wallet: $0[7], paid: $0[8], returned: $0[9], lastEvent: $0[10])
        }
    }

    private static func accounts(_ payment: Disk) throws -> [Account] {
        try payment.rows(
            """
            SELECT account_id, kind, ifnull(user_id, ''), account_number, balance_high * 1000000000 + balance_low,
                debit_sign * (SELECT ifnull(sum(iif(debit_account = account_number, amount, -amount)), 0)
                    FROM ledger_entries WHERE account_number IN (debit_account, credit_account))
            FROM accounts ORDER BY account_number
            """
        ) { Account(id: $0[0], kind: $0[1], user: $0[2], number: $0[3], balance: $0[4], entries: $0[5]) }
    }

    /// One line for each thing, for the trace.
    var lines: [String] {
        orders.map { "order \($0.id) \($0.status) \($0.step) \($0.failureCode ?? "") of key \($0.key)" }
            + reservations.map { "reservation \($0.id) \($0.status) \($0.lines)" }
            + charges.map { "charge \($0.id) \($0.status) \($0.amount) refunded \($0.refunded)" }
            + payments.map { "payment \($0.id) \($0.kind) \($0.amount) \($0.status)" }
            + accounts.map { "account \($0.id): \($0.balance)" }
            + items.map { "item \($0.id): \($0.onHand) on hand, \($0.reserved) reserved, \($0.completed) sold" }
    }
}
