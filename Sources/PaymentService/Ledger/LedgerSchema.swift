import Storage

/// The tables of the ledger in their first version. What must hold of money whatever the code does is a rule here (INV-11):
///
/// - An entry names the account that it debits, the account that it credits and one amount above zero, so no entry can be out
///   of balance; both accounts are in the entry's currency.
/// - The database itself moves the balances when an entry is inserted: there is no entry without its effect.
/// - A wallet's balance is never below zero.
/// - Entries and events are never changed and never deleted. Nor are they replaced: the store runs the triggers for that too
///   (`PRAGMA recursive_triggers`). Whoever opens the file with another program is bound by nothing; `LedgerCheck` finds that.
///
/// A balance is `balance_high` × 10⁹ + `balance_low`, with the low part from 0 to 10⁹ - 1, because the system's own accounts
/// take in the money of all customers: in 64 bits, one giant charge could leave no room for the next valid one (hazard 45).
enum LedgerSchema {
    static let migration = Migration(
        "ledger",
        """
        CREATE TABLE accounts (
            account_number INTEGER PRIMARY KEY CHECK ((account_number > 0) = (kind = 'wallet')),
            account_id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL
                CHECK (kind IN ('wallet', 'cash_in', 'fees', 'sales', 'settlement', 'clearing')),
            currency TEXT NOT NULL,
            debit_sign INTEGER NOT NULL CHECK (debit_sign IN (1, -1)),
            user_id TEXT CHECK ((user_id IS NULL) = (kind <> 'wallet')),
            opened_by TEXT,
            created_at INTEGER NOT NULL,
            version INTEGER NOT NULL DEFAULT 0,
            balance_high INTEGER NOT NULL DEFAULT 0 CHECK (balance_high >= 0 OR kind <> 'wallet'),
            balance_low INTEGER NOT NULL DEFAULT 0 CHECK (balance_low BETWEEN 0 AND 999999999)
        ) STRICT;
        CREATE UNIQUE INDEX wallets_by_user ON accounts (user_id, currency) WHERE user_id IS NOT NULL;

        CREATE TABLE ledger_entries (
            entry_number INTEGER PRIMARY KEY,
            transaction_id TEXT NOT NULL,
            type TEXT NOT NULL,
            debit_account INTEGER NOT NULL,
            credit_account INTEGER NOT NULL CHECK (credit_account <> debit_account),
            amount INTEGER NOT NULL CHECK (amount > 0),
            currency TEXT NOT NULL,
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX ledger_entries_by_debited_wallet ON ledger_entries (debit_account) WHERE debit_account > 0;
        CREATE INDEX ledger_entries_by_credited_wallet ON ledger_entries (credit_account) WHERE credit_account > 0;

        CREATE TRIGGER ledger_entries_posted AFTER INSERT ON ledger_entries BEGIN
            UPDATE accounts SET
                balance_high = balance_high + debit_sign * NEW.amount / 1000000000
                    + (balance_low + debit_sign * NEW.amount % 1000000000 + 1000000000) / 1000000000 - 1,
                balance_low = (balance_low + debit_sign * NEW.amount % 1000000000 + 1000000000) % 1000000000,
                version = version + 1
            WHERE account_number = NEW.debit_account AND currency = NEW.currency;
            SELECT RAISE(ABORT, 'there is no such account to debit in this currency') WHERE changes() <> 1;
            UPDATE accounts SET
                balance_high = balance_high - debit_sign * NEW.amount / 1000000000
                    + (balance_low - debit_sign * NEW.amount % 1000000000 + 1000000000) / 1000000000 - 1,
                balance_low = (balance_low - debit_sign * NEW.amount % 1000000000 + 1000000000) % 1000000000,
                version = version + 1
            WHERE account_number = NEW.credit_account AND currency = NEW.currency;
            SELECT RAISE(ABORT, 'there is no such account to credit in this currency') WHERE changes() <> 1;
        END;
        CREATE TRIGGER ledger_entries_never_changed BEFORE UPDATE ON ledger_entries BEGIN
            SELECT RAISE(ABORT, 'an entry of the ledger is never changed');
        END;
        CREATE TRIGGER ledger_entries_never_deleted BEFORE DELETE ON ledger_entries BEGIN
            SELECT RAISE(ABORT, 'an entry of the ledger is never deleted');
        END;
        CREATE TRIGGER accounts_never_renamed
        BEFORE UPDATE OF account_number, account_id, kind, currency, debit_sign, user_id, opened_by ON accounts BEGIN
            SELECT RAISE(ABORT, 'an account stays what it is');
        END;
        CREATE TRIGGER accounts_never_deleted BEFORE DELETE ON accounts BEGIN
            SELECT RAISE(ABORT, 'an account is never deleted');
        END;

        CREATE TABLE ledger_sums (
            account_number INTEGER PRIMARY KEY,
            check_id INTEGER NOT NULL,
            debits_high INTEGER NOT NULL,
            debits_low INTEGER NOT NULL,
            credits_high INTEGER NOT NULL,
            credits_low INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE movements (
            movement_id TEXT PRIMARY KEY,
            type TEXT NOT NULL CHECK (type IN ('deposit', 'withdrawal', 'transfer')),
            user_id TEXT NOT NULL,
            operation_key TEXT NOT NULL,
            fingerprint BLOB NOT NULL,
            status INTEGER NOT NULL,
            receipt BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            UNIQUE (user_id, type, operation_key)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE payment_events (
            payment_id TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            type TEXT NOT NULL,
            refund_id TEXT,
            amount INTEGER,
            code TEXT,
            at INTEGER NOT NULL,
            PRIMARY KEY (payment_id, sequence)
        ) STRICT, WITHOUT ROWID;
        CREATE TRIGGER payment_events_never_changed BEFORE UPDATE ON payment_events BEGIN
            SELECT RAISE(ABORT, 'an event is never changed');
        END;
        CREATE TRIGGER payment_events_never_deleted BEFORE DELETE ON payment_events BEGIN
            SELECT RAISE(ABORT, 'an event is never deleted');
        END;

        ALTER TABLE charges ADD COLUMN wallet INTEGER;
        ALTER TABLE charges ADD COLUMN in_ledger INTEGER NOT NULL DEFAULT 0 CHECK (in_ledger IN (0, 1));
        ALTER TABLE refunds ADD COLUMN in_ledger INTEGER NOT NULL DEFAULT 0 CHECK (in_ledger IN (0, 1));
        CREATE INDEX charges_not_in_ledger ON charges (charge_id) WHERE status = 'succeeded' AND in_ledger = 0;
        CREATE INDEX refunds_not_in_ledger ON refunds (refund_id) WHERE status = 'succeeded' AND in_ledger = 0;
        """
    )
}
