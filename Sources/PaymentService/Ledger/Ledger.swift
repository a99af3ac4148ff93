import Money
import Resilience
import Storage

/// The ledger, inside the caller's transaction: what it posts becomes durable together with the record that it is posted for.
struct Ledger {
    let transaction: any Transaction

    // MARK: - Entries

    /// Adds the entries of a posting; the database moves the balances with each.
    ///
    /// - Throws: `StoreError.constraint` when a wallet would be overdrawn or an entry is in another currency than an account of
    ///   it. Callers look first, so that is the last line and not the rule.
    func post(_ posting: Posting) throws {
        for entry in posting.entries {
            do {
                try insert(entry, of: posting)
            } catch StoreError.constraint {
                // The first entry of a currency: an account of the system's own is missing. What failed has left no trace, and
                // looking before each entry would cost every one of them.
                try [entry.debit, entry.credit].compactMap(\.system).forEach { try open($0, at: posting.at) }
                try insert(entry, of: posting)
            }
        }
    }

    private func insert(_ entry: Posting.Entry, of posting: Posting) throws {
        try transaction.run(
            """
            INSERT INTO ledger_entries
                (transaction_id, type, debit_account, credit_account, amount, currency, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(posting.id), .text(posting.type.rawValue), .integer(entry.debit.number),
                .integer(entry.credit.number), .integer(entry.amount.minorUnits),
                .text(entry.amount.currency.code), .integer(posting.at.milliseconds),
            ])
    }

    // MARK: - Accounts

    private func open(_ account: SystemAccount, at now: Timestamp) throws {
        try transaction.run(
            """
            INSERT INTO accounts (account_number, account_id, kind, currency, debit_sign, created_at)
            VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
            """,
            [
                .integer(account.number), .text(account.id), .text(account.kind.rawValue),
                .text(account.currency.code), .integer(account.kind.debitSign), .integer(now.milliseconds),
            ])
    }

    /// Opens a wallet with nothing in it. - Returns: nil when the user has one in this currency.
    func openWallet(
        id: String, user: String, openedBy: String, currency: Currency, at now: Timestamp
    ) throws -> Wallet? {
        let opened = try transaction.run(
            """
            INSERT INTO accounts
                (account_number, account_id, kind, currency, debit_sign, user_id, opened_by, created_at)
            SELECT max(0, ifnull(max(account_number), 0)) + 1, ?, 'wallet', ?, ?, ?, ?, ? FROM accounts WHERE true
            ON CONFLICT (user_id, currency) WHERE user_id IS NOT NULL DO NOTHING
            """,
            [
                .text(id), .text(currency.code), .integer(AccountKind.wallet.debitSign), .text(user), .text(openedBy),
                .integer(now.milliseconds),
            ])
        return opened == 1 ? try wallet(of: user, currency) : nil
    }

    /// A user's wallet in a currency.
    func wallet(of user: String, _ currency: Currency) throws -> Wallet? {
        try transaction.first(
            "\(Self.selectWallet) WHERE user_id = ? AND currency = ?", [.text(user), .text(currency.code)], Self.wallet)
    }

    /// The wallet with this id.
    func wallet(id: String) throws -> Wallet? {
        try transaction.first(
            "\(Self.selectWallet) WHERE account_id = ? AND kind = 'wallet'", [.text(id)], Self.wallet)
    }

    /// Makes a wallet its user's alone, when it was opened for them in nobody's name and they now use it in their own. From then
    /// on a request that names nobody can neither see nor use it.
    func claim(_ wallet: Wallet, for caller: String) throws {
        guard caller == wallet.user, !wallet.isClaimed else { return }
        try transaction.run(
            "UPDATE accounts SET opened_by = user_id WHERE account_number = ? AND opened_by = ''",
            [.integer(wallet.number)])
    }

    private static let selectWallet = """
        SELECT account_number, account_id, user_id, opened_by, currency, balance_high, balance_low, version, created_at
        FROM accounts
        """

    private static func wallet(_ row: any SQLRow) throws -> Wallet {
        guard let currency = Currency(code: row.text(4)) else {
            throw StoreError.failed("account \(row.text(1)) has the currency \(row.text(4))")
        }
        return Wallet(
            number: row.integer(0), id: row.text(1), user: row.text(2), openedBy: row.text(3), currency: currency,
            balance: Int128(high: row.integer(5), low: row.integer(6)), version: row.integer(7),
            createdAt: Timestamp(milliseconds: row.integer(8)))
    }

    // MARK: - Statements of account

    /// The entries of a wallet, newest first. - Parameter cursor: only entries before this number.
    func entries(of wallet: Wallet, before cursor: Int64, limit: Int) throws -> [WalletEntry] {
        try transaction.all(
            """
            SELECT entry_number, transaction_id, type, -amount, created_at FROM ledger_entries
            WHERE debit_account = ?1 AND debit_account > 0 AND entry_number < ?2
            UNION ALL
            SELECT entry_number, transaction_id, type, amount, created_at FROM ledger_entries
            WHERE credit_account = ?1 AND credit_account > 0 AND entry_number < ?2
            ORDER BY entry_number DESC LIMIT ?3
            """,
            [.integer(wallet.number), .integer(cursor), .integer(Int64(limit))]
        ) { row in
            WalletEntry(
                number: row.integer(0), transactionID: row.text(1), type: row.text(2),
                change: Money(minorUnits: row.integer(3), currency: wallet.currency),
                at: Timestamp(milliseconds: row.integer(4)))
        }
    }
}

/// An entry as the owner of a wallet sees it.
struct WalletEntry: Hashable, Sendable {
    /// The order of all entries of the ledger.
    let number: Int64
    let transactionID: String
    let type: String
    /// What it did to the balance.
    let change: Money
    let at: Timestamp
}

extension AccountKind {
    /// What a debit does to the balance.
    var debitSign: Int64 { normalSide == .debit ? 1 : -1 }
}
