import Correlation
import Money
import Resilience
import Storage

/// The right to drive one saga. Every write to its record carries the epoch, so that an owner who was thought dead and was
/// not cannot write any more once another has taken over (hazard 18, INV-13).
struct Lease: Hashable, Sendable {
    let orderID: String
    let epoch: Int64
}

/// A saga that was put down and is due, or whose lease has run out by the clock on the wall: its owner may be dead, or
/// be this process, which is late in renewing it or has lost its driver.
struct WaitingSaga: Hashable, Sendable {
    let orderID: String
    /// Whose it is; empty when it was put down.
    let owner: String
    let epoch: Int64
    /// Goes up while its owner lives.
    let beat: Int64
}

/// A saga that this process has taken over.
struct TakenSaga: Sendable {
    let order: Order
    let lease: Lease
    /// How often its present step has been repeated without a definite answer.
    let rounds: Int
    /// What may have been taken, as far as its last owner knew.
    let atStake: Money?
    /// Nil for one that an older version has begun.
    let origin: SagaOrigin?
}

/// Who may drive which saga: taking over, keeping, and putting down.
extension SagaLog {
    /// Puts down every saga that belongs to somebody else. Only for the one process that the store is open to: whoever owned
    /// them is dead. - Returns: how many, at most `limit`.
    func disown(limit: Int) async throws -> Int {
        try await store.transaction { [self] transaction in
            try transaction.run(
                """
                UPDATE orders SET owner = '', due_at = ? WHERE order_id IN (
                    SELECT order_id FROM orders WHERE status = 'pending' AND owner NOT IN ('', ?) LIMIT ?
                )
                """,
                [.integer(time.now.milliseconds), .text(owner), .integer(Int64(limit))])
        }
    }

    /// Sagas that were put down and whose pause is over, those that have waited longest first.
    ///
    /// - Parameter longestWait: no saga waits longer than this; one that seems to was stored before the clock was set back.
    func due(limit: Int, longestWait: Duration) async throws -> [WaitingSaga] {
        try await waiting("owner = ''", [], limit: limit, longestWait: longestWait)
    }

    /// Sagas of other owners whose leases have run out by the clock on the wall. Only candidates: that clock may have jumped
    /// (hazard 37).
    func expired(limit: Int, longestWait: Duration) async throws -> [WaitingSaga] {
        try await waiting("owner NOT IN ('', ?)", [.text(owner)], limit: limit, longestWait: longestWait)
    }

    /// Sagas of this process whose leases have run out by the clock on the wall, although it lives. Only candidates: it may be
    /// late in renewing them.
    func overdue(limit: Int, longestWait: Duration) async throws -> [WaitingSaga] {
        try await waiting("owner = ?", [.text(owner)], limit: limit, longestWait: longestWait)
    }

    private func waiting(
        _ condition: String, _ arguments: [SQLValue], limit: Int, longestWait: Duration
    ) async throws -> [WaitingSaga] {
        let now = time.now
        return try await store.transaction { transaction in
            try transaction.all(
                """
                SELECT order_id, owner, epoch, beat FROM orders
                WHERE status = 'pending' AND \(condition) AND parked_by IS NULL AND (due_at <= ? OR due_at > ?) ORDER BY due_at LIMIT ?
                """,
                arguments + [
                    .integer(now.milliseconds), .integer(now.advanced(by: longestWait).milliseconds),
                    .integer(Int64(limit)),
                ]
            ) { WaitingSaga(orderID: $0.text(0), owner: $0.text(1), epoch: $0.integer(2), beat: $0.integer(3)) }
        }
    }

    /// Puts down the sagas of owners who were found silent, unless they have given a sign of life since.
    func disown(_ sagas: [WaitingSaga]) async throws {
        let now = time.now
        try await store.transaction { transaction in
            for saga in sagas {
                try transaction.run(
                    """
                    UPDATE orders SET owner = '', due_at = ?
                    WHERE order_id = ? AND status = 'pending' AND owner = ? AND epoch = ? AND beat = ?
                    """,
                    [
                        .integer(now.milliseconds), .text(saga.orderID), .text(saga.owner), .integer(saga.epoch),
                        .integer(saga.beat),
                    ])
            }
        }
    }

    /// Puts down sagas of this process, whatever signs of life it has given: it will not drive them on.
    func disown(_ leases: some Collection<Lease> & Sendable) async throws {
        let now = time.now
        try await store.transaction { [self] transaction in
            for lease in leases {
                try transaction.run(
                    """
                    UPDATE orders SET owner = '', due_at = ?
                    WHERE order_id = ? AND status = 'pending' AND owner = ? AND epoch = ?
                    """,
                    [.integer(now.milliseconds), .text(lease.orderID), .text(owner), .integer(lease.epoch)])
            }
        }
    }

    /// Takes a saga over, unless somebody else was quicker or its owner has given a sign of life.
    ///
    /// - Returns: nil when there is nothing to take.
    /// - Throws: `Unreadable` when it was stored by a newer version; it is left as it is.
    func take(_ due: WaitingSaga) async throws -> TakenSaga? {
        let lease = Lease(orderID: due.orderID, epoch: due.epoch + 1)
        let now = time.now
        return try await store.transaction { [self] transaction in
            try transaction.first(
                """
                UPDATE orders SET owner = ?, epoch = ?, due_at = ?, parked_for = NULL
                WHERE order_id = ? AND status = 'pending' AND owner = ? AND epoch = ? AND beat = ?
                RETURNING saga, operation_key, created_at, updated_at, rounds, held, held_currency, request_id,
                    traceparent
                """,
                [
                    .text(owner), .integer(lease.epoch), leaseEnd(now), .text(due.orderID), .text(due.owner),
                    .integer(due.epoch), .integer(due.beat),
                ]
            ) { row in
                TakenSaga(
                    order: try Self.order(row), lease: lease, rounds: Int(row.integer(4)),
                    atStake: row.optionalInteger(5).flatMap { minorUnits in
                        Currency(code: row.text(6)).map { Money(minorUnits: minorUnits, currency: $0) }
                    },
                    origin: row.optionalText(7).flatMap { Correlation.RequestID($0) }.map { requestID in
                        SagaOrigin(
                            requestID: requestID, trace: row.optionalText(8).flatMap { TraceContext(of: $0) })
                    })
            }
        }
    }

    /// Tells that the owner of these leases lives. - Returns: those that are not this process's any more, because somebody
    /// else has taken over, or because the saga has ended or was put down.
    func renew(_ leases: some Collection<Lease> & Sendable) async throws -> [Lease] {
        let now = time.now
        return try await store.transaction { [self] transaction in
            try leases.filter { lease in
                let changed = try transaction.run(
                    """
                    UPDATE orders SET beat = beat + 1, due_at = ?
                    WHERE order_id = ? AND status = 'pending' AND owner = ? AND epoch = ?
                    """,
                    [leaseEnd(now), .text(lease.orderID), .text(owner), .integer(lease.epoch)])
                return changed == 0
            }
        }
    }

    /// Stores a saga and puts it down, to be taken up again by anyone after a pause.
    ///
    /// - Parameters:
    ///   - rounds: how often its present step has been repeated without a definite answer.
    ///   - parkedFor: why an operator has to look at it, if it has been repeated too often.
    ///   - atStake: what may have been taken for it; for the metrics alone.
    ///   - attempts: the failed ones since it was stored last.
    /// - Returns: false when another owner has taken over; nothing is stored then.
    func putDown(
        _ order: Order, _ lease: Lease, for pause: Duration, rounds: Int, parkedFor: String?, atStake: Money? = nil,
        attempts: [FailedAttempt] = []
    ) async throws -> Bool {
        let due = time.now.advanced(by: pause)
        return try await store.transaction { transaction in
            let changed = try transaction.run(
                """
                UPDATE orders SET saga = ?, updated_at = ?, owner = '', due_at = ?, rounds = ?, parked_for = ?,
                    held = ?, held_currency = ?
                WHERE order_id = ? AND status = 'pending' AND epoch = ?
                """,
                [
                    Self.saga(order), .integer(order.updatedAt.milliseconds), .integer(due.milliseconds),
                    .integer(Int64(rounds)), SQLValue(parkedFor), SQLValue(atStake?.minorUnits),
                    SQLValue(atStake?.currency.code), .text(lease.orderID), .integer(lease.epoch),
                ])
            guard changed == 1 else { return false }
            try Self.record(attempts, of: lease.orderID, in: transaction)
            return true
        }
    }

    /// The sagas that nobody drives, by whether they are parked and by the currency of what may have been taken for them.
    /// Found by an index that has nothing but pending orders in it; counted up to `limit`.
    func countWaiting(limit: Int = 10_000) async throws -> [LimboCount] {
        try await store.transaction { transaction in
            try transaction.all(
                """
                SELECT parked_for IS NOT NULL, held_currency, count(*),
                    ifnull(sum(held / 1000000000), 0), ifnull(sum(held % 1000000000), 0)
                FROM (
                    SELECT parked_for, held_currency, held FROM orders WHERE status = 'pending' AND owner = '' LIMIT ?
                ) GROUP BY 1, 2 LIMIT 1000
                """,
                [.integer(Int64(limit))]
            ) { row in
                LimboCount(
                    state: row.integer(0) == 1 ? "parked" : "waiting", count: row.integer(2),
                    atStake: row.optionalText(1).flatMap { Currency(code: $0) }.map {
                        LimboCount.Amount(
                            minorUnits: Int128(high: row.integer(3), low: row.integer(4)), currency: $0)
                    })
            }
        }
    }

    /// Sets a saga aside that this code cannot read, so that it is not found again at once.
    func setAside(_ due: WaitingSaga, for pause: Duration, reason: String) async throws {
        let dueAt = time.now.advanced(by: pause)
        _ = try await store.transaction { transaction in
            try transaction.run(
                """
                UPDATE orders SET owner = '', due_at = ?, parked_for = ?
                WHERE order_id = ? AND status = 'pending' AND epoch = ? AND beat = ?
                """,
                [
                    .integer(dueAt.milliseconds), .text(reason), .text(due.orderID), .integer(due.epoch),
                    .integer(due.beat),
                ])
        }
    }

    /// Makes parked sagas due now. - Returns: how many, at most `limit`.
    func unpark(limit: Int) async throws -> Int {
        try await store.transaction { [self] transaction in
            try transaction.run(
                """
                UPDATE orders SET due_at = ?1 WHERE order_id IN (
                    SELECT order_id FROM orders WHERE status = 'pending' AND owner = '' AND parked_for IS NOT NULL
                        AND parked_by IS NULL AND due_at > ?1 LIMIT ?2
                )
                """,
                [.integer(time.now.milliseconds), .integer(Int64(limit))])
        }
    }
}
