import Storage
import Synchronization

/// The sums of the entries of each account, added up again from the entries themselves to be compared with the balances.
///
/// They are kept in a table beside the number of the last entry that is in them, so that each entry is read once in the life of a
/// process however often the ledger is checked, and no memory grows with the number of accounts. A process begins anew:
/// what somebody has changed in the file while it was closed is seen too.
final class LedgerSums: Sendable {
    /// How many entries one transaction adds up: some milliseconds in which no other request is served.
    static let entriesPerStep: Int64 = 1000

    /// What is known of all entries up to one of them.
    struct Progress: Sendable {
        struct Totals: Hashable, Sendable {
            var debits: Int128 = 0
            var credits: Int128 = 0
        }

        /// The last entry that is in the sums.
        var through: Int64 = 0
        /// Entries that cannot be what was posted: missing ones, and those in another currency than their accounts.
        var faultyEntries: Int64 = 0
        /// By currency: one sum over the accounts debited and one over those credited.
        var totals: [String: Totals] = [:]
        /// Whether there were no further entries.
        var isUpToDate = false
    }

    /// Tells the sums of this process from those of another.
    private let checkID = Int64.random(in: 1...Int64.max)
    private let progress = Mutex(Progress())

    /// Adds up the next entries, if there are any. Transactions run one at a time, so two who do this never add one twice.
    func advance(in transaction: any Transaction) throws -> Progress {
        let before = progress.withLock(\.self)
        let last = try transaction.first("SELECT max(entry_number) FROM ledger_entries", []) { $0.integer(0) } ?? 0
        let end = min(max(last, before.through), before.through + Self.entriesPerStep)
        var after = before
        after.isUpToDate = end >= last
        // What was summed is not there any more: the last entries were deleted, though no other has been made since.
        if last < before.through { after.faultyEntries += before.through - last }
        guard end > before.through else { return after }
        let range: [SQLValue] = [.integer(before.through), .integer(end)]
        after.through = end
        // Entries are numbered without a gap, since none is ever deleted.
        after.faultyEntries += end - before.through
        for (currency, sound, totals) in try transaction.all(Self.sum, range, Self.currencySum) {
            after.faultyEntries -= sound
            after.totals[currency, default: .init()].debits += totals.debits
            after.totals[currency, default: .init()].credits += totals.credits
        }
        try transaction.run(Self.add, range + [.integer(checkID)])
        transaction.onRollback { self.progress.withLock { $0 = before } }
        progress.withLock { $0 = after }
        return after
    }

    private static let sum = """
        SELECT entry.currency,
            sum(ifnull(debited.currency = entry.currency AND credited.currency = entry.currency AND amount > 0, 0)),
            sum(iif(debited.currency = entry.currency, amount / 1000000000, 0)),
            sum(iif(debited.currency = entry.currency, amount % 1000000000, 0)),
            sum(iif(credited.currency = entry.currency, amount / 1000000000, 0)),
            sum(iif(credited.currency = entry.currency, amount % 1000000000, 0))
        FROM ledger_entries AS entry
        LEFT JOIN accounts AS debited ON debited.account_number = debit_account
        LEFT JOIN accounts AS credited ON credited.account_number = credit_account
        WHERE entry_number > ?1 AND entry_number <= ?2 GROUP BY entry.currency
        """

    private static func currencySum(_ row: any SQLRow) -> (String, Int64, Progress.Totals) {
        (
            row.text(0), row.integer(1),
            Progress.Totals(
                debits: Int128(high: row.integer(2), low: row.integer(3)),
                credits: Int128(high: row.integer(4), low: row.integer(5)))
        )
    }

    private static let add = """
        INSERT INTO ledger_sums (account_number, check_id, debits_high, debits_low, credits_high, credits_low, entries)
        SELECT account, ?3, sum(debit / 1000000000), sum(debit % 1000000000),
            sum(credit / 1000000000), sum(credit % 1000000000), count(*)
        FROM (
            SELECT debit_account AS account, amount AS debit, 0 AS credit FROM ledger_entries
            WHERE entry_number > ?1 AND entry_number <= ?2
            UNION ALL
            SELECT credit_account, 0, amount FROM ledger_entries WHERE entry_number > ?1 AND entry_number <= ?2
        ) GROUP BY account
        ON CONFLICT (account_number) DO UPDATE SET
            debits_high = iif(check_id = excluded.check_id, debits_high, 0) + excluded.debits_high,
            debits_low = iif(check_id = excluded.check_id, debits_low, 0) + excluded.debits_low,
            credits_high = iif(check_id = excluded.check_id, credits_high, 0) + excluded.credits_high,
            credits_low = iif(check_id = excluded.check_id, credits_low, 0) + excluded.credits_low,
            entries = iif(check_id = excluded.check_id, entries, 0) + excluded.entries,
            check_id = excluded.check_id
        """

    /// Accounts with their sums, in the order of their numbers. True of this moment only when `advance` has said, in this same
    /// transaction, that the sums are up to date.
    func accounts(after number: Int64, limit: Int, in transaction: any Transaction) throws -> [CheckedAccount] {
        try transaction.all(
            """
            SELECT accounts.account_number, account_id, kind, currency, debit_sign, balance_high, balance_low, version,
                ifnull(debits_high, 0), ifnull(debits_low, 0), ifnull(credits_high, 0), ifnull(credits_low, 0),
                ifnull(entries, 0)
            FROM accounts
            LEFT JOIN ledger_sums ON ledger_sums.account_number = accounts.account_number AND check_id = ?
            WHERE accounts.account_number > ? ORDER BY accounts.account_number LIMIT ?
            """,
            [.integer(checkID), .integer(number), .integer(Int64(limit))]
        ) { row in
            CheckedAccount(
                number: row.integer(0), id: row.text(1), kind: row.text(2), currency: row.text(3),
                debitSign: row.integer(4), balance: Int128(high: row.integer(5), low: row.integer(6)),
                version: row.integer(7), debits: Int128(high: row.integer(8), low: row.integer(9)),
                credits: Int128(high: row.integer(10), low: row.integer(11)), entries: row.integer(12))
        }
    }
}

/// An account beside the sums of its entries.
struct CheckedAccount: Hashable, Sendable {
    let number: Int64
    let id: String
    let kind: String
    let currency: String
    let debitSign: Int64
    let balance: Int128
    let version: Int64
    let debits: Int128
    let credits: Int128
    let entries: Int64

    /// Whether the balance is the sum of the entries, which are as many as have moved it, and no wallet is overdrawn (INV-11).
    var isSound: Bool {
        let kind = AccountKind(rawValue: kind)
        return balance == Int128(debitSign) * (debits - credits) && version == entries && debitSign == kind?.debitSign
            && (kind != .wallet || balance >= 0)
    }
}
