import Logging
import Money
import Resilience
import ServiceKit
import Storage

/// Enters charges and refunds into the ledger that were made before there was one, in steps between which requests are served.
/// Each is marked in the transaction of its entry, so that a crash between two steps enters none twice; and whatever is
/// charged meanwhile is entered when it is made.
struct EarlierPayments: Sendable {
    /// How many records one transaction enters.
    static let stepSize = 200

    let environment: ServiceEnvironment

    /// Goes through all that are not in the ledger. One that the ledger refuses is left as it is, and logged, and keeps nothing
    /// else out.
    func enterAll() async throws {
        try await enter(
            "charge", "SELECT charge_id FROM charges WHERE status = 'succeeded' AND in_ledger = 0 AND charge_id > ?1"
        ) { book, id, now in
            guard let charge = try book.charge(id) else { return }
            try book.ledger.post(.charge(charge, at: charge.createdAt))
            try book.record(PaymentEvent(kind: .entered, amount: charge.amount.minorUnits, at: now), of: id)
            try book.transaction.run("UPDATE charges SET in_ledger = 1 WHERE charge_id = ?", [.text(id)])
        }
        try await enter(
            "refund", "SELECT refund_id FROM refunds WHERE status = 'succeeded' AND in_ledger = 0 AND refund_id > ?1"
        ) { book, id, now in
            guard let refund = try book.refund(id), let charge = try book.charge(refund.chargeID) else { return }
            try book.ledger.post(.refund(refund, of: charge, at: refund.createdAt))
            try book.record(PaymentEvent(kind: .entered, refundID: id, amount: refund.amount, at: now), of: charge.id)
            try book.transaction.run("UPDATE refunds SET in_ledger = 1 WHERE refund_id = ?", [.text(id)])
        }
    }

    /// - Parameters:
    ///   - select: the ids after `?1`; the order and the limit are added.
    ///   - enter: posts first: what the ledger refuses has then changed nothing.
    private func enter(
        _ kind: String, _ select: String,
        _ enter: @escaping @Sendable (ChargeBook, String, Timestamp) throws -> Void
    ) async throws {
        var cursor = ""
        try await environment.stepByStep {
            let (ids, refused) = try await environment.store.transaction { [environment, cursor] transaction in
                let book = ChargeBook(transaction: transaction)
                let ids = try transaction.all(
                    "\(select) ORDER BY 1 LIMIT ?2", [.text(cursor), .integer(Int64(Self.stepSize))]
                ) { $0.text(0) }
                var refused: [(id: String, reason: String)] = []
                for id in ids {
                    do {
                        try enter(book, id, environment.time.now)
                    } catch StoreError.constraint(let reason) {
                        refused.append((id, reason))
                    }
                }
                return (ids, refused)
            }
            for (id, reason) in refused {
                environment.logger.error(
                    "an earlier payment cannot be entered into the ledger",
                    metadata: ["kind": .string(kind), "id": .string(id), "error": .string(reason)])
            }
            cursor = ids.last ?? cursor
            return ids.count == Self.stepSize
        }
    }
}
