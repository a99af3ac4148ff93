import AuditAPI

extension AuditRules {
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
