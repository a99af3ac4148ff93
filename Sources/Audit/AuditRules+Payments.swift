import AuditAPI
import Resilience

/// What the payments that providers have carried out moved, by provider and currency: what the ledger's accounts of settlement must say.
public struct SettlementSums: Equatable, Sendable {
    /// Into wallets, in minor units.
    public private(set) var inwards: [Settlement: Int128] = [:]
    /// Out of them, in minor units.
    public private(set) var outwards: [Settlement: Int128] = [:]

    /// Nothing.
    public init() {}

    /// Counts a payment, if its money has moved.
    public mutating func add(_ payment: PaymentEntry) {
        guard payment.hasMoved else { return }
        let settlement = Settlement(payment.provider, payment.amount.currency)
        if payment.isInwards {
            inwards[settlement, default: 0] += Int128(payment.amount.minorUnits)
        } else {
            outwards[settlement, default: 0] += Int128(payment.amount.minorUnits)
        }
    }
}

extension AuditRules {
    /// Whether what was entered as taken by providers, and as paid out, is what the payments say (INV-11): one that was entered twice, or
    /// not at all, leaves every account with the sum of its entries.
    ///
    /// As with sales, the payments are read while others are carried out, and what was entered only grows.
    ///
    /// - Parameters: before, after: the accounts of settlement.
    public func judge(
        _ sums: SettlementSums, before: [Settlement: AccountEntry], after: [Settlement: AccountEntry]
    ) -> [Finding] {
        let settlements = Set(sums.inwards.keys).union(sums.outwards.keys).union(before.keys).union(after.keys).sorted()
        return settlements.flatMap { settlement in
            let (low, high) = (before[settlement], after[settlement] ?? before[settlement])
            let subject = Finding.Subject.account(settlement.account)
            let taken = judge(
                subject, settlement.currency, "taken by \(settlement.provider)", of: "payments",
                sums.inwards[settlement] ?? 0, (low?.debits ?? 0)...max(low?.debits ?? 0, high?.debits ?? 0))
            let paidOut = judge(
                subject, settlement.currency, "paid out by \(settlement.provider)", of: "payments",
                sums.outwards[settlement] ?? 0, (low?.credits ?? 0)...max(low?.credits ?? 0, high?.credits ?? 0))
            return [taken, paidOut].compactMap(\.self)
        }
    }

    /// Whether a payment through a provider has ended (INV-6), and its refunds add up and are not more than it (INV-4).
    public func judge(_ payment: PaymentEntry, readAt now: Timestamp) -> [Finding] {
        guard isOld(payment.createdAt, at: now) else { return [] }
        var findings: [Finding] = []
        let currency = payment.amount.currency
        if payment.isOpen {
            let meaning =
                payment.status == "new"
                ? "\(payment.provider) has not been asked yet"
                : "whether \(payment.provider) has moved the money is not known"
            findings.append(
                Finding(
                    6, [.payment(payment.id)],
                    """
                    The \(payment.kind) \(payment.id) of \(payment.amount) has been \(payment.status) since \
                    \(payment.createdAt): \(meaning).
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
