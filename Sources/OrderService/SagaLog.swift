import Correlation
import Idempotency
import Money
import Resilience
import ServiceKit
import StockAPI
import Storage

/// What connects the story of a saga that is taken up again with its beginning (OP-03, OP-04).
struct SagaOrigin: Equatable, Sendable {
    /// The request that began it, under which all its calls are logged, whoever makes them.
    let requestID: Correlation.RequestID
    /// The span that it began in, recorded or not, if spans are recorded at all.
    let trace: TraceContext?
}

/// The durable record of every checkout, and of the key it was asked for under: an order says all that there is to know of its key
/// ([decision 2](docs/decisions/0002-keys-live-in-the-transaction-of-their-effect.md)).
final class SagaLog: Sendable {
    let store: any Store
    /// How long the key of an order that has ended is remembered (IK-25).
    private let keyTimeToLive: Duration
    private let keyCounters: KeyCounters
    private let decide: KeyDecision
    let time: any TimeSource
    /// Names this process among the owners of sagas.
    let owner: String
    /// How long an owner may be silent before another may take its sagas over.
    let leaseDuration: Duration

    init(
        _ environment: ServiceEnvironment, leaseDuration: Duration, decide: @escaping KeyDecision = { $0.claim }
    ) {
        store = environment.store
        keyTimeToLive = environment.keys.timeToLive
        keyCounters = KeyCounters(of: "checkout", environment.metrics)
        self.decide = decide
        time = environment.time
        owner = environment.identifiers.next()
        self.leaseDuration = leaseDuration
    }

    /// The lease that an order is begun under.
    static func firstLease(_ orderID: String) -> Lease { Lease(orderID: orderID, epoch: 1) }

    /// Claims the key and stores the plan with all its ids, by one row, before any call is made.
    ///
    /// - Parameters:
    ///   - refusal: thrown, with nothing stored, if the checkout would have to begin.
    ///   - origin: what its story begins with.
    /// - Returns: what became of the claim, and the order that the key stands for; the order is stored, under its first lease, only if it
    ///   was started.
    func begin(
        _ order: Order, orRefuse refusal: Problem? = nil, origin: SagaOrigin? = nil
    ) async throws -> (claim: CheckoutClaim, orderID: String) {
        try await store.transaction { [self] transaction in
            // The unique insert decides between concurrent claims, in this process and in any other on the same store
            // (hazard 29).
            if try insert(order, attempt: 1, origin, in: transaction) {
                if let refusal { throw refusal }
                keyCounters.count(.first, in: transaction)
                return (.started, order.record.plan.orderID)
            }
            let (known, attempt) = try lastUnderKey(of: order, in: transaction)
            let claim = decide(UsedKey(known, askedFor: order, timeToLive: keyTimeToLive)) ?? .started
            if claim == .started {
                if let refusal { throw refusal }
                guard try insert(order, attempt: attempt + 1, origin, in: transaction) else {
                    throw StoreError.failed("there is a later attempt under a key than its last")
                }
            }
            keyCounters.count(claim.counted, in: transaction)
            return (claim, (claim == .started ? order : known).record.plan.orderID)
        }
    }

    /// Stores an order under its first lease. - Returns: false if its key has had that attempt already.
    private func insert(
        _ order: Order, attempt: Int64, _ origin: SagaOrigin?, in transaction: any Transaction
    ) throws -> Bool {
        let plan = order.record.plan
        return try transaction.run(
            """
            INSERT INTO orders
                (order_id, user_id, status, operation_key, attempt, saga, created_at, updated_at, owner, epoch, due_at,
                request_id, traceparent)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (operation_key, user_id, attempt) DO NOTHING
            """,
            [
                .text(plan.orderID), .text(plan.user), .text(order.status.rawValue), .text(order.key),
                .integer(attempt), Self.saga(order), .integer(order.createdAt.milliseconds),
                .integer(order.updatedAt.milliseconds), .text(owner), .integer(Self.firstLease(plan.orderID).epoch),
                leaseEnd(order.createdAt), SQLValue(origin?.requestID.value), SQLValue(origin?.trace?.header),
            ]) == 1
    }

    static let lastUnderKey = """
        SELECT saga, operation_key, created_at, updated_at, attempt FROM orders
        WHERE operation_key = ? AND user_id = ? ORDER BY attempt DESC LIMIT 1
        """

    /// The last order that was begun under the key of another, and the number of its attempt.
    private func lastUnderKey(of order: Order, in transaction: any Transaction) throws -> (Order, attempt: Int64) {
        let last = try transaction.first(
            Self.lastUnderKey, [.text(order.key), .text(order.record.plan.user)]
        ) { (try Self.order($0), attempt: $0.integer(4)) }
        guard let last else { throw StoreError.failed("a key was neither free nor found") }
        return last
    }

    /// Stores where the saga stands. At an end that is what has become of its key as well. Its rounds count anew: they are those of a step.
    ///
    /// - Parameter attempts: the failed ones since it was stored last; none, where all goes well.
    /// - Returns: false when another owner has taken over; nothing is stored then.
    func save(_ order: Order, _ lease: Lease, attempts: [FailedAttempt] = []) async throws -> Bool {
        let plan = order.record.plan
        let total = order.record.step.goods?.total
        return try await store.transaction { transaction in
            let changed = try transaction.run(
                """
                UPDATE orders SET status = ?, saga = ?, total = ?, currency = ?, updated_at = ?, rounds = 0
                WHERE order_id = ? AND status = 'pending' AND epoch = ?
                """,
                [
                    .text(order.status.rawValue), Self.saga(order), SQLValue(total?.minorUnits),
                    SQLValue(total?.currency.code), .integer(order.updatedAt.milliseconds), .text(plan.orderID),
                    .integer(lease.epoch),
                ])
            guard changed == 1 else { return false }
            try Self.record(attempts, of: plan.orderID, in: transaction)
            return true
        }
    }

    /// One order of a user; another user's reads as none (hazard 69).
    func order(_ id: String, user: String) async throws -> Order? {
        try await store.transaction { transaction in
            try transaction.first(
                "SELECT saga, operation_key, created_at, updated_at FROM orders WHERE order_id = ? AND user_id = ?",
                [.text(id), .text(user)], Self.order)
        }
    }

    /// An order in a list.
    struct Listed: Sendable {
        let id: String
        /// Nil if a newer version has stored it, and this one cannot read it: it hides none of the others.
        let order: Order?
    }

    /// A user's orders, newest first, beginning before `before`.
    func orders(user: String, before: String?, limit: Int) async throws -> [Listed] {
        try await store.transaction { transaction in
            try transaction.all(
                """
                SELECT saga, operation_key, created_at, updated_at, order_id FROM orders
                WHERE user_id = ? AND order_id < ? ORDER BY order_id DESC LIMIT ?
                """,
                // Ids are hexadecimal digits and dashes: a tilde sorts after every one of them.
                [.text(user), .text(before ?? "~"), .integer(Int64(limit))]
            ) { row in
                do {
                    return Listed(id: row.text(4), order: try Self.order(row))
                } catch is Unreadable {
                    return Listed(id: row.text(4), order: nil)
                }
            }
        }
    }

    func leaseEnd(_ now: Timestamp) -> SQLValue { .integer(now.advanced(by: leaseDuration).milliseconds) }

    static func saga(_ order: Order) -> SQLValue {
        .text(String(decoding: order.record.json(), as: UTF8.self))
    }

    /// An order is stored that this code cannot read.
    struct Unreadable: Error {
        let reason: String
    }

    static func order(_ row: any SQLRow) throws -> Order {
        let record: SagaRecord
        do {
            record = try SagaRecord(json: row.text(0).utf8)
        } catch {
            // Not the client's fault, as the reader's own error would say.
            throw Unreadable(reason: "\(error)")
        }
        return Order(
            record: record, key: row.text(1),
            createdAt: Timestamp(milliseconds: row.integer(2)), updatedAt: Timestamp(milliseconds: row.integer(3)))
    }
}
