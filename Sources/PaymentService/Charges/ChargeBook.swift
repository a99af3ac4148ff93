import Idempotency
import Money
import Resilience
import Storage

/// The records of charges and refunds, and what may follow what, inside the caller's transaction. Each change writes its
/// event and, when money has moved, its entry in the ledger.
struct ChargeBook {
    let transaction: any Transaction

    var ledger: Ledger { Ledger(transaction: transaction) }

    // MARK: - Charges

    func charge(_ id: String) throws -> Charge? {
        try transaction.first("\(Self.selectCharge) WHERE charge_id = ?", [.text(id)], Self.charge)
    }

    func insert(_ charge: Charge) throws {
        let isPaid = charge.status == .succeeded
        try transaction.run(
            """
            INSERT INTO charges
                (charge_id, user_id, order_id, method, amount, currency, status, decline_code, operation_key, created_at,
                wallet, in_ledger, fingerprint)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(charge.id), .text(charge.user), SQLValue(charge.orderID), .text(charge.method),
                .integer(charge.amount.minorUnits), .text(charge.amount.currency.code), .text(charge.status.rawValue),
                SQLValue(charge.declineCode?.rawValue), SQLValue(charge.key), .integer(charge.createdAt.milliseconds),
                SQLValue(charge.wallet), .integer(isPaid ? 1 : 0), charge.fingerprint.map { .blob($0.bytes) } ?? .null,
            ])
        try follow(charge, at: charge.createdAt)
    }

    /// Settles a pending charge; a charge that is not pending stays as it is. - Parameter charge: as it is from now on.
    func settle(_ charge: Charge, at now: Timestamp) throws {
        let settled = try transaction.run(
            """
            UPDATE charges SET status = ?, decline_code = ?, in_ledger = ? WHERE charge_id = ? AND status = 'pending'
            """,
            [
                .text(charge.status.rawValue), SQLValue(charge.declineCode?.rawValue),
                .integer(charge.status == .succeeded ? 1 : 0), .text(charge.id),
            ])
        if settled == 1 { try follow(charge, at: now) }
    }

    /// What goes with every new status of a charge.
    private func follow(_ charge: Charge, at now: Timestamp) throws {
        let event = PaymentEvent(
            kind: charge.status.event, amount: charge.status == .canceled ? nil : charge.amount.minorUnits,
            code: charge.declineCode?.rawValue, at: now)
        try record(event, of: charge.id)
        if charge.status == .succeeded { try ledger.post(.charge(charge, at: now)) }
    }

    /// Forgets a pending charge of which it is known that nothing was taken: its id may be charged again.
    func dropPendingCharge(_ charge: Charge, at now: Timestamp) throws {
        let dropped = try transaction.run(
            "DELETE FROM charges WHERE charge_id = ? AND status = 'pending'", [.text(charge.id)])
        if dropped == 1 { try recordDrop(of: charge, at: now) }
    }

    // MARK: - Refunds

    func refund(_ id: String) throws -> Refund? {
        try transaction.first("\(Self.selectRefund) WHERE refund_id = ?", [.text(id)], Self.refund)
    }

    /// The newest refund of a charge.
    func latestRefund(ofCharge id: String) throws -> Refund? {
        try transaction.first(
            "\(Self.selectRefund) WHERE charge_id = ? ORDER BY refund_id DESC LIMIT 1", [.text(id)], Self.refund)
    }

    /// Whether a refund of a charge has no answer yet.
    func hasPendingRefund(ofCharge id: String) throws -> Bool {
        try transaction.first(
            "SELECT 1 FROM refunds WHERE charge_id = ? AND status = 'pending' LIMIT 1", [.text(id)]
        ) { _ in true } ?? false
    }

    /// What of a charge is about to be given back, in minor units: its provider has not answered yet.
    func refunding(ofCharge id: String) throws -> Int64 {
        try transaction.first(
            "SELECT ifnull(sum(amount), 0) FROM refunds WHERE charge_id = ? AND status = 'pending'", [.text(id)]
        ) { $0.integer(0) } ?? 0
    }

    /// Sets the amount aside from what is left of the charge. - Returns: false when there is not so much left; the
    /// condition is part of the update, so refunds that race cannot pass the charge (hazard 48).
    func insert(_ refund: Refund, of charge: Charge) throws -> Bool {
        let changed = try transaction.run(
            """
            UPDATE charges SET refunded = refunded + ?1
            WHERE charge_id = ?2 AND status = 'succeeded' AND refunded + ?1 <= amount
            """,
            [.integer(refund.amount), .text(refund.chargeID)])
        guard changed == 1 else { return false }
        try transaction.run(
            """
            INSERT INTO refunds
                (refund_id, charge_id, user_id, amount, status, operation_key, created_at, in_ledger, fingerprint)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(refund.id), .text(refund.chargeID), .text(refund.user), .integer(refund.amount),
                .text(refund.status.rawValue), .text(refund.key), .integer(refund.createdAt.milliseconds),
                .integer(refund.status == .succeeded ? 1 : 0),
                refund.fingerprint.map { .blob($0.bytes) } ?? .null,
            ])
        try follow(refund, of: charge, at: refund.createdAt)
        return true
    }

    /// Settles a pending refund as given back. - Parameter refund: as it is from now on.
    func settle(_ refund: Refund, of charge: Charge, at now: Timestamp) throws {
        let settled = try transaction.run(
            "UPDATE refunds SET status = 'succeeded', in_ledger = 1 WHERE refund_id = ? AND status = 'pending'",
            [.text(refund.id)])
        if settled == 1 { try follow(refund, of: charge, at: now) }
    }

    /// What goes with every new status of a refund.
    private func follow(_ refund: Refund, of charge: Charge, at now: Timestamp) throws {
        let isDone = refund.status == .succeeded
        try record(
            PaymentEvent(
                kind: isDone ? .refunded : .refundPending, refundID: refund.id, amount: refund.amount, at: now),
            of: charge.id)
        if isDone { try ledger.post(.refund(refund, of: charge, at: now)) }
    }

    /// Forgets a pending refund of which it is known that nothing was given back.
    func dropPendingRefund(_ refund: Refund, at now: Timestamp) throws {
        let dropped = try transaction.run(
            "DELETE FROM refunds WHERE refund_id = ? AND status = 'pending'", [.text(refund.id)])
        guard dropped == 1 else { return }
        try transaction.run(
            "UPDATE charges SET refunded = refunded - ? WHERE charge_id = ?",
            [.integer(refund.amount), .text(refund.chargeID)])
        try record(
            PaymentEvent(kind: .refundDropped, refundID: refund.id, amount: refund.amount, at: now),
            of: refund.chargeID)
    }
}

extension Charge.Status {
    fileprivate var event: PaymentEvent.Kind {
        switch self {
        case .pending: .pending
        case .succeeded: .succeeded
        case .failed: .failed
        case .canceled: .canceled
        }
    }
}
