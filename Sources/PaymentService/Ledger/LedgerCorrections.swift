import Storage

/// What the schema of the ledger did not hold to in its first version.
enum LedgerCorrections {
    /// An account that was opened in nobody's name may become its user's, once; nothing else of what it is ever changes.
    static let claims = Migration(
        "accounts are claimed",
        """
        DROP TRIGGER accounts_never_renamed;
        CREATE TRIGGER accounts_never_renamed
        BEFORE UPDATE OF account_number, account_id, kind, currency, debit_sign, user_id ON accounts BEGIN
            SELECT RAISE(ABORT, 'an account stays what it is');
        END;
        CREATE TRIGGER accounts_claimed_once
        BEFORE UPDATE OF opened_by ON accounts WHEN OLD.opened_by IS NOT '' OR NEW.opened_by IS NOT OLD.user_id BEGIN
            SELECT RAISE(ABORT, 'an account is claimed by its own user, and once');
        END;
        """
    )

    /// Keys were those of the user whose account moved, and are those of the caller now. What may have been moved in nobody's name
    /// is known under both, so that whoever moved it moves nothing twice.
    static let keysOfCallers = Migration(
        "keys of movements by caller",
        """
        INSERT OR IGNORE INTO movements
            (movement_id, type, user_id, operation_key, fingerprint, status, receipt, created_at)
        SELECT movement_id || ' in nobody''s name', type, '', operation_key, fingerprint, status, receipt, created_at
        FROM movements
        WHERE type IN ('deposit', 'withdrawal') AND user_id IN (SELECT user_id FROM accounts WHERE opened_by = '')
        ORDER BY created_at;
        """
    )

    static let movementsKept = Migration(
        "movements are kept",
        """
        CREATE TRIGGER movements_never_changed BEFORE UPDATE ON movements BEGIN
            SELECT RAISE(ABORT, 'a movement is never changed');
        END;
        CREATE TRIGGER movements_never_deleted BEFORE DELETE ON movements BEGIN
            SELECT RAISE(ABORT, 'a movement is never deleted');
        END;
        """
    )

    /// With a charge that is dropped goes the record of whose it was and in which currency; its last event keeps that. The index
    /// has only these events in it, so that no other costs more.
    static let droppedCharges = Migration(
        "dropped charges are known by their events",
        """
        ALTER TABLE payment_events ADD COLUMN user_id TEXT;
        ALTER TABLE payment_events ADD COLUMN currency TEXT;
        CREATE INDEX payment_events_dropped ON payment_events (payment_id, sequence) WHERE type = 'dropped';
        """
    )

    static let countedEntries = Migration(
        "entries of accounts are counted",
        """
        ALTER TABLE ledger_sums ADD COLUMN entries INTEGER NOT NULL DEFAULT 0;
        """
    )
}
