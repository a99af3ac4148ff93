import Correlation
import Idempotency
import Money
import Resilience
import ServiceKit
import StockAPI
import Storage

/// The right to drive one saga. Every write to its record carries the epoch, so that an owner who was thought dead and was
/// not cannot write any more once another has taken over (hazard 18, INV-13).
struct Lease: Hashable, Sendable {
    let orderID: String
    let epoch: Int64
}

/// What connects the story of a saga that is taken up again with its beginning (OP-03, OP-04).
struct SagaOrigin: Equatable, Sendable {
    /// The request that began it, under which all its calls are logged, whoever makes them.
    let requestID: Correlation.RequestID
    /// The span that it began in, recorded or not, if spans are recorded at all.
    let trace: TraceContext?
}

/// The durable record of every checkout, with the key it was asked for under.
final class SagaLog: Sendable {
    let store: any Store
    private let keys: any IdempotencyStore
    let time: any TimeSource
    /// Names this process among the owners of sagas.
    let owner: String
    /// How long an owner may be silent before another may take its sagas over.
    let leaseDuration: Duration

    init(_ environment: ServiceEnvironment, leaseDuration: Duration) {
        store = environment.store
        keys = environment.keys
        time = environment.time
        owner = environment.identifiers.next()
        self.leaseDuration = leaseDuration
    }

    static func scope(user: String, key: IdempotencyKey) -> IdempotencyScope {
        IdempotencyScope(user: user, operation: "checkout", key: key)
    }

    /// The lease that an order is begun under.
    static func firstLease(_ orderID: String) -> Lease { Lease(orderID: orderID, epoch: 1) }

    /// Claims the key and stores the plan with all its ids, in one transaction, before any call is made.
    ///
    /// - Parameters:
    ///   - refusal: thrown, with nothing stored, if the checkout would have to begin.
    ///   - origin: what its story begins with.
    /// - Returns: what became of the claim; the order is stored, under its first lease, only if it was started.
    func begin(
        _ order: Order, fingerprint: Fingerprint, orRefuse refusal: Problem? = nil, origin: SagaOrigin? = nil
    ) async throws -> Claim {
        let plan = order.record.plan
        let scope = Self.scope(user: plan.user, key: IdempotencyKey(stored: order.key))
        let lease = Self.firstLease(plan.orderID)
        return try await store.transaction { [self] transaction in
            let claim = try keys.claim(
                scope, fingerprint: fingerprint, reference: plan.orderID, now: order.createdAt, in: transaction)
            guard case .started = claim else { return claim }
            if let refusal { throw refusal }
            try transaction.run(
                """
                INSERT INTO orders
                    (order_id, user_id, status, operation_key, saga, created_at, updated_at, owner, epoch, due_at,
                    request_id, traceparent)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    .text(plan.orderID), .text(plan.user), .text(order.status.rawValue), .text(order.key),
                    Self.saga(order), .integer(order.createdAt.milliseconds), .integer(order.updatedAt.milliseconds),
                    .text(owner), .integer(lease.epoch), leaseEnd(order.createdAt),
                    SQLValue(origin?.requestID.value), SQLValue(origin?.trace?.header),
                ])
            return claim
        }
    }

    /// Stores where the saga stands. At an end the key is settled in the same transaction: with the answer to replay, or as
    /// failed, so that the same command may be tried again (IK-18). What an operator has withdrawn is an outcome like an order, which the
    /// key stands for: a client that goes on asking must not order it anew.
    ///
    /// - Parameter attempts: the failed ones since it was stored last; none, where all goes well.
    /// - Returns: false when another owner has taken over; nothing is stored then.
    func save(
        _ order: Order, _ lease: Lease, response: StoredResponse?, attempts: [FailedAttempt] = []
    ) async throws -> Bool {
        let plan = order.record.plan
        let scope = Self.scope(user: plan.user, key: IdempotencyKey(stored: order.key))
        let total = order.record.step.goods?.total
        return try await store.transaction { [self] transaction in
            let changed = try transaction.run(
                """
                UPDATE orders SET status = ?, saga = ?, total = ?, currency = ?, updated_at = ?
                WHERE order_id = ? AND status = 'pending' AND epoch = ?
                """,
                [
                    .text(order.status.rawValue), Self.saga(order), SQLValue(total?.minorUnits),
                    SQLValue(total?.currency.code), .integer(order.updatedAt.milliseconds), .text(plan.orderID),
                    .integer(lease.epoch),
                ])
            guard changed == 1 else { return false }
            try Self.record(attempts, of: plan.orderID, in: transaction)
            switch order.status {
            case .pending: break
            case .completed:
                guard let response else { throw StoreError.failed("a completed order has no answer to keep") }
                try keys.succeed(
                    scope, reference: plan.orderID, response: response, now: order.updatedAt, in: transaction)
            case .failed where order.record.step.failure?.kind == .withdrawn:
                try keys.succeed(
                    scope, reference: plan.orderID, response: .withdrawn, now: order.updatedAt, in: transaction)
            case .failed: try keys.fail(scope, reference: plan.orderID, now: order.updatedAt, in: transaction)
            }
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

    /// A user's orders, newest first, beginning before `before`.
    func orders(user: String, before: String?, limit: Int) async throws -> [Order] {
        try await store.transaction { transaction in
            try transaction.all(
                """
                SELECT saga, operation_key, created_at, updated_at FROM orders
                WHERE user_id = ? AND order_id < ? ORDER BY order_id DESC LIMIT ?
                """,
                // Ids are hexadecimal digits and dashes: a tilde sorts after every one of them.
                [.text(user), .text(before ?? "~"), .integer(Int64(limit))], Self.order)
        }
    }

    /// How many orders there are by status, how many of the pending ones are parked, and the sum of the completed ones by currency.
    func totals() async throws -> (
        orders: [String: Int64], parked: Int64, completed: [(currency: String, amount: Int64)]
    ) {
        try await store.transaction { transaction in
            let orders = try transaction.all("SELECT status, count(*) FROM orders GROUP BY status", []) {
                ($0.text(0), $0.integer(1))
            }
            let parked = try transaction.first(
                "SELECT count(*) FROM orders WHERE status = 'pending' AND parked_for IS NOT NULL", []
            ) { $0.integer(0) }
            let completed = try transaction.all(
                """
                SELECT currency, sum(total) FROM orders WHERE status = 'completed' GROUP BY currency ORDER BY currency
                """, []
            ) { ($0.text(0), $0.integer(1)) }
            return (Dictionary(uniqueKeysWithValues: orders), parked ?? 0, completed)
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
