import AuditAPI
import Money
import ProviderAPI
import Resilience
import Storage

extension ProviderBooks {
    /// Gives money back once. - Parameter id: the provider's own, if it is a new refund.
    func refund(_ command: ProviderRefundCommand, id: String) throws -> Refunding {
        if let known = try refund(command.reference) { return known.command == command ? .known(known) : .otherCommand }
        guard case .payment(let payment) = try entry(command.paymentReference) else { return .noPayment }
        let amount = payment.command.amount
        guard command.amount.currency == amount.currency else { return .otherCurrency }
        let isSettled = payment.status == .succeeded || payment.status == .refunded
        let left = isSettled ? try amount.subtracting(payment.refunded) : .zero(amount.currency)
        guard command.amount.minorUnits <= left.minorUnits else { return .exceeds(left: left) }
        guard try hasRoom(in: "provider_refunds") else { return .full }
        try transaction.run(
            """
            INSERT INTO provider_refunds (provider, reference, refund_id, payment_reference, amount, currency, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(provider.rawValue), .text(command.reference), .text(id), .text(command.paymentReference),
                .integer(command.amount.minorUnits), .text(amount.currency.code), .integer(now.milliseconds),
            ])
        try transaction.run(
            "UPDATE provider_payments SET refunded = refunded + ? WHERE provider = ? AND reference = ?",
            [.integer(command.amount.minorUnits), .text(provider.rawValue), .text(command.paymentReference)])
        try move("refund", command.reference, command.amount, payment.command.kind == .charge ? -1 : 1)
        let refund = ProviderRefund(id: id, command: command)
        try outbox.add(WebhookEvent(of: refund, at: now.description), of: provider, now, in: transaction)
        return .made(refund)
    }

    /// The refund made under a reference.
    func refund(_ reference: String) throws -> ProviderRefund? {
        try transaction.first(
            """
            SELECT refund_id, payment_reference, amount, currency FROM provider_refunds WHERE provider = ? AND reference = ?
            """, [.text(provider.rawValue), .text(reference)]
        ) { row in
            ProviderRefund(
                id: row.text(0),
                command: ProviderRefundCommand(
                    reference: reference, paymentReference: row.text(1),
                    amount: Money(minorUnits: row.integer(2), currency: try Self.currency(row.text(3)))))
        }
    }

    // MARK: - Movements

    /// What has moved, of all providers, oldest first.
    static func movements(
        after number: Int64, limit: Int, in transaction: any Transaction
    ) throws -> [ProviderMovementEntry] {
        try transaction.all(
            """
            SELECT number, provider, kind, reference, amount, currency, created_at FROM provider_movements
            WHERE number > ? ORDER BY number LIMIT ?
            """, [.integer(number), .integer(Int64(limit))]
        ) { row in
            ProviderMovementEntry(
                number: row.integer(0), provider: row.text(1), kind: row.text(2), reference: row.text(3),
                amount: Amount(row.integer(4), row.text(5)), movedAt: Timestamp(milliseconds: row.integer(6)))
        }
    }
}
