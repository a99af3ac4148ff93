import AuditAPI

/// What the charges that are in the ledger took and gave back, by currency: what its accounts of sales must say.
public struct SalesSums: Equatable, Sendable {
    /// Minor units, by currency.
    public private(set) var captured: [String: Int128] = [:]
    /// Minor units, by currency.
    public private(set) var refunded: [String: Int128] = [:]

    /// Nothing.
    public init() {}

    /// Counts a charge. Of one that was made before there was a ledger, a refund may be entered before the charge itself is.
    public mutating func add(_ charge: ChargeEntry) {
        refunded[charge.amount.currency, default: 0] += Int128(charge.refundedInLedger)
        guard charge.isInLedger else { return }
        captured[charge.amount.currency, default: 0] += Int128(charge.amount.minorUnits)
    }
}

extension AuditRules {
    /// Whether what was entered as sold, and as given back of that, is what the charges took and gave back (INV-11): a charge that
    /// was entered twice, or not at all, leaves every account with the sum of its entries.
    ///
    /// The charges are read page by page while others are made, each together with its entry. What was entered only grows, so
    /// what they add up to must lie between what it was before they were read and what it is after. At a quiet moment that is
    /// one number.
    ///
    /// - Parameters: before, after: the accounts of sales by currency.
    public func judge(
        _ sums: SalesSums, before: [String: AccountEntry], after: [String: AccountEntry]
    ) -> [Finding] {
        let currencies = Set(sums.captured.keys).union(before.keys).union(after.keys).sorted()
        return currencies.flatMap { currency in
            let (low, high) = (before[currency], after[currency] ?? before[currency])
            let sold = judge(
                .currency(currency), currency, "sold", of: "charges", sums.captured[currency] ?? 0,
                (low?.credits ?? 0)...max(low?.credits ?? 0, high?.credits ?? 0))
            let givenBack = judge(
                .currency(currency), currency, "given back", of: "charges", sums.refunded[currency] ?? 0,
                (low?.debits ?? 0)...max(low?.debits ?? 0, high?.debits ?? 0))
            return [sold, givenBack].compactMap(\.self)
        }
    }

    /// - Parameters:
    ///   - records: of what kind.
    ///   - moved: what they add up to.
    ///   - entered: what the ledger said before they were read, and after.
    func judge(
        _ subject: Finding.Subject, _ currency: String, _ what: String, of records: String, _ moved: Int128,
        _ entered: ClosedRange<Int128>
    ) -> Finding? {
        guard !entered.contains(moved) else { return nil }
        func text(_ minorUnits: Int128) -> String { Amount.text(minorUnits, currency) }
        let isTooMuch = moved < entered.lowerBound
        let (nearest, difference) =
            isTooMuch
            ? (entered.lowerBound, entered.lowerBound - moved) : (entered.upperBound, moved - entered.upperBound)
        return Finding(
            11, [subject],
            """
            The ledger says that \(text(nearest)) were \(what), and the \(records) say \(text(moved)): \
            \(isTooMuch ? "\(text(difference)) stand in it twice, or for no \(records.dropLast())" : "\(text(difference)) were never entered").
            """)
    }

    /// Whether every entry is there and fits its accounts (INV-11).
    public func judge(_ ledger: LedgerEntry) -> [Finding] {
        guard ledger.faultyEntries != 0 else { return [] }
        return [
            Finding(
                11, [],
                """
                Of \(ledger.entries) entries of the ledger, \(ledger.faultyEntries) are missing, in another currency than their \
                accounts, or of an account that is not there: no posting makes such entries, and none is ever deleted.
                """)
        ]
    }

    /// Whether an account's balance is the sum of its entries, and no wallet is overdrawn (INV-11). Balance and sums are of one
    /// moment, so no account is too young or moves too fast to be judged.
    public func judge(_ account: AccountEntry) -> [Finding] {
        var findings: [Finding] = []
        func text(_ minorUnits: Int128) -> String { Amount.text(minorUnits, account.currency) }
        let sum = account.growsByDebits ? account.debits - account.credits : account.credits - account.debits
        if account.balance != sum {
            let loser = account.kind == "wallet" ? "its owner sees" : "the books show"
            findings.append(
                Finding(
                    11, [.account(account.account)],
                    """
                    The balance of account \(account.account) is \(text(account.balance)), but its entries add up to \
                    \(text(sum)): \(loser) \(text(account.balance - sum)) that never moved.
                    """))
        }
        if account.kind == "wallet", account.balance < 0 {
            findings.append(
                Finding(
                    11, [.account(account.account)],
                    """
                    The wallet \(account.account) is overdrawn by \(text(-account.balance)): more was taken out of it than \
                    was ever in it.
                    """))
        }
        return findings
    }
}
