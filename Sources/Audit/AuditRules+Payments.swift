import AuditAPI
import Resilience

extension AuditRules {
    /// Whether a payment through a provider has ended (INV-6), and its refunds add up and are not more than it (INV-4).
    public func judge(_ payment: PaymentEntry, readAt now: Timestamp) -> [Finding] {
        guard isOld(payment.createdAt, at: now) else { return [] }
        var findings: [Finding] = []
        let currency = payment.amount.currency
        if payment.isOpen {
            findings.append(
                Finding(
                    6, [.payment(payment.id)],
                    """
                    The \(payment.kind) \(payment.id) of \(payment.amount) has been \(payment.status) since \
                    \(payment.createdAt): whether \(payment.provider) has moved the money is not known.
                    """))
        }
        if max(payment.refunded, payment.refundRecords) > payment.amount.minorUnits {
            let refunded = Amount(max(payment.refunded, payment.refundRecords), currency)
            findings.append(
                Finding(
                    4, [.payment(payment.id)],
                    "Of payment \(payment.id) of \(payment.amount), \(refunded) was given back: the difference is lost."
                ))
        } else if payment.refunded != payment.refundRecords {
            findings.append(
                Finding(
                    4, [.payment(payment.id)],
                    """
                    Payment \(payment.id) says that \(Amount(payment.refunded, currency)) of it was given back, but its refunds \
                    add up to \(Amount(payment.refundRecords, currency)): one of the two is not what the customer got.
                    """))
        }
        return findings
    }

    /// Whether what is set aside in the ledger is what is set aside for open payments (INV-11). Both are of one moment.
    public func judge(_ clearing: ClearingEntry) -> [Finding] {
        guard clearing.balance != -clearing.held else { return [] }
        func text(_ minorUnits: Int128) -> String { Amount.text(minorUnits, clearing.currency) }
        let difference = -clearing.balance - clearing.held
        let meaning =
            difference > 0
            ? "\(text(difference)) of customers' money is held for nothing"
            : "\(text(-difference)) that is about to be paid out was not taken from anybody"
        return [
            Finding(
                11, [.account(clearing.id)],
                """
                \(clearing.id) holds \(text(-clearing.balance)), and open payments say that \(text(clearing.held)) is held for \
                them: \(meaning).
                """)
        ]
    }
}
