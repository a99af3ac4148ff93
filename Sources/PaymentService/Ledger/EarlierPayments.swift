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

    /// Goes on until there are none left.
    func enterAll() async throws {
        try await environment.stepByStep { try await enterSome() == Self.stepSize }
        try await environment.stepByStep { try await enterSomeRefunds() == Self.stepSize }
    }

    /// - Returns: how many charges were entered.
    private func enterSome() async throws -> Int {
        try await environment.store.transaction { [environment] transaction in
            let book = PaymentBook(transaction: transaction)
            let now = environment.time.now
            let ids = try transaction.all(
                "SELECT charge_id FROM charges WHERE status = 'succeeded' AND in_ledger = 0 LIMIT ?",
                [.integer(Int64(Self.stepSize))]
            ) { $0.text(0) }
            var entered = 0
            for id in ids {
                guard let charge = try book.charge(id) else { continue }
                try book.ledger.post(.charge(charge, at: charge.createdAt))
                try book.record(PaymentEvent(kind: .entered, amount: charge.amount.minorUnits, at: now), of: id)
                try transaction.run("UPDATE charges SET in_ledger = 1 WHERE charge_id = ?", [.text(id)])
                entered += 1
            }
            return entered
        }
    }

    /// - Returns: how many refunds were entered.
    private func enterSomeRefunds() async throws -> Int {
        try await environment.store.transaction { [environment] transaction in
            let book = PaymentBook(transaction: transaction)
            let now = environment.time.now
            let ids = try transaction.all(
                "SELECT refund_id FROM refunds WHERE status = 'succeeded' AND in_ledger = 0 LIMIT ?",
                [.integer(Int64(Self.stepSize))]
            ) { $0.text(0) }
            var entered = 0
            for id in ids {
                guard let refund = try book.refund(id), let charge = try book.charge(refund.chargeID) else { continue }
                try book.ledger.post(.refund(refund, of: charge, at: refund.createdAt))
                try book.record(
                    PaymentEvent(kind: .entered, refundID: id, amount: refund.amount, at: now), of: charge.id)
                try transaction.run("UPDATE refunds SET in_ledger = 1 WHERE refund_id = ?", [.text(id)])
                entered += 1
            }
            return entered
        }
    }
}
