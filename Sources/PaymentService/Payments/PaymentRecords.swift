import Correlation
import Idempotency
import Money
import ProviderAPI
import Resilience
import Storage

/// The records of payments, inside the caller's transaction. Each change writes its event and, when money moves, its entries
/// in the ledger.
struct PaymentRecords {
    let transaction: any Transaction

    var ledger: Ledger { Ledger(transaction: transaction) }

    /// The client's command that makes a payment, by which it is known for ever.
    struct Claim {
        let scope: IdempotencyScope
        let fingerprint: Fingerprint
    }

    // MARK: - Looking

    func payment(_ id: String) throws -> Payment? {
        try transaction.first("\(Self.select) WHERE payment_id = ?", [.text(id)], Self.payment)
    }

    /// The payment if a request in this user's name may see and use it; empty is a request that names nobody. What such a request
    /// has made is its user's alone as soon as the account is. Others' payments read as ones that do not exist (INV-15).
    func payment(_ id: String, visibleTo user: String) throws -> Payment? {
        try transaction.first(
            "\(Self.select) WHERE payment_id = ? AND \(Self.visible(to: user))", [.text(id)] + Self.named(user),
            Self.payment)
    }

    static func visible(to user: String) -> String {
        user.isEmpty
            ? """
            made_by = '' AND EXISTS (SELECT 1 FROM accounts
                WHERE accounts.account_number = payments.account_number AND accounts.opened_by = '')
            """
            : "user_id = ?"
    }

    static func named(_ user: String) -> [SQLValue] { user.isEmpty ? [] : [.text(user)] }

    /// The payment that a key has made, whatever is forgotten of the key elsewhere.
    func payment(madeBy scope: IdempotencyScope) throws -> (payment: Payment, fingerprint: Fingerprint)? {
        try transaction.first(
            """
            \(Self.select) WHERE key_user = ? AND operation = ? AND operation_key = ?
            """,
            [.text(scope.user), .text(scope.operation), .text(scope.key.value)]
        ) { (try Self.payment($0), Fingerprint(bytes: $0.blob(Self.fingerprintColumn))) }
    }

    /// The payment that was made anew for one in the dead letters.
    func retry(of id: String) throws -> String? {
        try transaction.first("SELECT payment_id FROM payments WHERE retry_of = ?", [.text(id)]) { $0.text(0) }
    }

    // MARK: - Making

    /// Stores a new payment and sets its money aside. - Throws: `StoreError.constraint` when a wallet would be overdrawn; callers
    /// look first.
    func insert(_ payment: Payment, _ claim: Claim?) throws {
        try transaction.run(
            """
            INSERT INTO payments (payment_id, kind, direction, user_id, made_by, account_number, account_id, provider, amount,
                currency, fee, fee_remainder, token, refund_of, retry_of, key_user, operation, operation_key, fingerprint,
                status, phase, attempts, rounds, may_be_taken, due_at, epoch, held, refunding, refunded, fee_back, created_at,
                updated_at, request_id, traceparent)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'new', 'send', 0, 0, 0, ?20, 0, ?21, 0, 0, 0, ?20,
                ?20, ?22, ?23)
            """,
            [
                .text(payment.id), .text(payment.kind.rawValue), .text(payment.direction.rawValue), .text(payment.user),
                .text(payment.madeBy), .integer(payment.wallet), .text(payment.accountID),
                .text(payment.provider.rawValue), .integer(payment.amount.minorUnits),
                .text(payment.amount.currency.code), .integer(payment.fee), .integer(payment.feeRemainder),
                SQLValue(payment.token), SQLValue(payment.refundOf), SQLValue(payment.retryOf),
                SQLValue(claim?.scope.user), SQLValue(claim?.scope.operation), SQLValue(claim?.scope.key.value),
                claim.map { .blob($0.fingerprint.bytes) } ?? .null, .integer(payment.createdAt.milliseconds),
                .integer(payment.hold), SQLValue(payment.origin?.requestID), SQLValue(payment.origin?.trace?.header),
            ])
        if payment.hold > 0 { try ledger.post(payment.holdPosting(at: payment.createdAt)) }
        try record(.created, of: payment, at: payment.createdAt)
    }

    /// Sets a part of a payment aside for a refund. - Returns: false when there is not so much left; the condition is part of
    /// the update, so refunds that race cannot pass the payment (hazard 48).
    func setAside(_ refund: Payment, of payment: Payment) throws -> Bool {
        let changed = try transaction.run(
            """
            UPDATE payments SET refunding = refunding + ?1, fee_back = fee_back + ?2
            WHERE payment_id = ?3 AND status IN ('succeeded', 'partially_refunded') AND ?1 <= amount - refunded - refunding
            """,
            [.integer(refund.amount.minorUnits), .integer(refund.fee), .text(payment.id)])
        guard changed == 1 else { return false }
        try record(.refundPending, of: payment, refund: refund, at: refund.createdAt)
        return true
    }

    /// Cancels a payment that the provider cannot have taken: nobody has sent it, or none of the attempts has reached the provider or was
    /// heard there. - Returns: false when it may have been taken, or is being asked about.
    func cancel(_ payment: Payment, at now: Timestamp) throws -> Bool {
        let canceled = try transaction.run(
            """
            UPDATE payments SET status = 'canceled', held = 0, epoch = epoch + 1, updated_at = ?
            WHERE payment_id = ? AND status IN ('new', 'processing') AND lease_owner IS NULL AND may_be_taken = 0
                AND said_moved = 0
            """, [.integer(now.milliseconds), .text(payment.id)])
        guard canceled == 1 else { return false }
        try undo(payment, .canceled, because: nil, at: now)
        return true
    }

    // MARK: - Ends

    /// Stores what a provider's answer has led to, unless the payment was taken up by somebody else meanwhile (INV-13).
    ///
    /// - Parameters:
    ///   - payment: as it was taken up, with its task as it is from now on.
    ///   - pause: how long the provider wants to be left alone.
    func settle(
        _ payment: Payment, _ decision: ProviderTask.Decision, pause: Duration = .zero, at now: Timestamp
    ) throws -> Settled {
        switch decision {
        case .succeed:
            guard try end(payment, .succeeded, nil, nil, at: now) else { return .lost }
            try ledger.post(payment.settledPosting(at: now))
            try record(.succeeded, of: payment, at: now)
            if payment.refundOf != nil { try countRefund(payment, at: now) }
        case .fail(let declineCode, let reason):
            guard try end(payment, .failed, declineCode, reason, at: now) else { return .lost }
            try undo(payment, .failed, because: declineCode ?? reason, at: now)
            return try heldAgainstMessages(payment, at: now)
        case .giveUp(let reason):
            guard try end(payment, .failed, nil, reason, at: now) else { return .lost }
            try undo(payment, .failed, because: reason, at: now)
            try transaction.run(
                "INSERT INTO dead_letters (payment_id, reason, died_at) VALUES (?, ?, ?)",
                [.text(payment.id), .text(reason), .integer(now.milliseconds)])
            try record(.deadLettered, of: payment, at: now)
            return try heldAgainstMessages(payment, at: now)
        case .wait(let wait, let reason):
            return try postpone(payment, for: wait, pause: pause, because: reason, at: now) ? .done : .lost
        }
        return .done
    }

    /// What has become of an answer.
    enum Settled: Hashable, Sendable {
        case done
        /// It is stored; but it ends the payment without its money, and a message of the provider has said that the money has moved. A person
        /// has to find out which word is true.
        case contradicted
        /// The payment is not the caller's any more; nothing has changed.
        case lost
    }

    /// Compares the end of a payment whose money has not moved with what messages have said of it.
    private func heldAgainstMessages(_ payment: Payment, at now: Timestamp) throws -> Settled {
        guard try isSaidToHaveMoved(payment.id) else { return .done }
        try record(.contradicted, of: payment, at: now)
        return .contradicted
    }

    private func end(
        _ payment: Payment, _ status: Payment.Status, _ declineCode: String?, _ reason: String?, at now: Timestamp
    ) throws -> Bool {
        try transaction.run(
            """
            UPDATE payments SET status = ?, held = 0, lease_owner = NULL, phase = ?, rounds = ?, may_be_taken = ?,
                decline_code = ?, last_error = ?, last_detail = ?, updated_at = ?
            WHERE payment_id = ? AND epoch = ? AND status = 'processing'
            """,
            [
                .text(status.rawValue), .text(payment.task.phase.rawValue), .integer(payment.task.rounds),
                .integer(payment.task.mayBeTaken ? 1 : 0), SQLValue(declineCode), SQLValue(reason),
                SQLValue(payment.lastDetail), .integer(now.milliseconds), .text(payment.id), .integer(payment.epoch),
            ]) == 1
    }

    /// What goes with an end that moves nothing outside.
    private func undo(
        _ payment: Payment, _ kind: PaymentEvent.Kind, because reason: String?, at now: Timestamp
    ) throws {
        if payment.hold > 0 { try ledger.post(payment.releasePosting(at: now)) }
        try record(kind, of: payment, because: reason, at: now)
        guard let id = payment.refundOf, let refunded = try self.payment(id) else { return }
        try transaction.run(
            "UPDATE payments SET refunding = refunding - ?, fee_back = fee_back - ? WHERE payment_id = ?",
            [.integer(payment.amount.minorUnits), .integer(payment.fee), .text(id)])
        try record(.refundDropped, of: refunded, refund: payment, at: now)
    }

    private func countRefund(_ refund: Payment, at now: Timestamp) throws {
        guard let id = refund.refundOf, let payment = try payment(id) else { return }
        try transaction.run(
            """
            UPDATE payments SET refunding = refunding - ?1, refunded = refunded + ?1, updated_at = ?2,
                status = iif(refunded + ?1 = amount, 'refunded', 'partially_refunded')
            WHERE payment_id = ?3
            """, [.integer(refund.amount.minorUnits), .integer(now.milliseconds), .text(id)])
        try record(.refunded, of: payment, refund: refund, at: now)
    }
}
