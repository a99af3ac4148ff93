import Storage

/// The tables of payments through providers. What must hold whatever the code does is a rule here:
///
/// - A key makes one payment for ever (`payments_by_key`), a dead letter is made anew once (`retry_of`).
/// - Refunds are never more than their payment (hazard 48).
/// - A status never goes backwards (INV-17).
/// - Nothing is held for a payment that has ended.
enum PaymentsTables {
    static let migration = Migration(
        "payments through providers",
        """
        CREATE TABLE payments (
            payment_id TEXT PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('deposit', 'withdraw', 'external_payment', 'refund')),
            direction TEXT NOT NULL CHECK (direction IN ('in', 'out')),
            user_id TEXT NOT NULL,
            made_by TEXT NOT NULL,
            account_number INTEGER NOT NULL,
            account_id TEXT NOT NULL,
            provider TEXT NOT NULL,
            amount INTEGER NOT NULL CHECK (amount > 0),
            currency TEXT NOT NULL,
            fee INTEGER NOT NULL CHECK (fee BETWEEN 0 AND amount),
            fee_remainder INTEGER NOT NULL,
            token TEXT,
            refund_of TEXT REFERENCES payments CHECK ((refund_of IS NULL) = (kind <> 'refund')),
            retry_of TEXT REFERENCES payments,
            key_user TEXT,
            operation TEXT,
            operation_key TEXT,
            fingerprint BLOB,
            status TEXT NOT NULL CHECK (status IN
                ('new', 'processing', 'succeeded', 'failed', 'canceled', 'partially_refunded', 'refunded')),
            phase TEXT NOT NULL CHECK (phase IN ('send', 'ask', 'close')),
            attempts INTEGER NOT NULL CHECK (attempts >= 0),
            rounds INTEGER NOT NULL CHECK (rounds >= 0),
            may_be_taken INTEGER NOT NULL CHECK (may_be_taken IN (0, 1)),
            due_at INTEGER NOT NULL,
            lease_owner TEXT,
            epoch INTEGER NOT NULL,
            held INTEGER NOT NULL CHECK (held >= 0),
            refunding INTEGER NOT NULL CHECK (refunding >= 0),
            refunded INTEGER NOT NULL CHECK (refunded >= 0),
            fee_back INTEGER NOT NULL CHECK (fee_back BETWEEN 0 AND fee),
            last_error TEXT,
            decline_code TEXT,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            CHECK (refunded <= amount AND refunding <= amount - refunded),
            CHECK (held = 0 OR status IN ('new', 'processing'))
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX payments_by_key ON payments (key_user, operation, operation_key)
            WHERE operation_key IS NOT NULL;
        CREATE UNIQUE INDEX payments_by_retry ON payments (retry_of) WHERE retry_of IS NOT NULL;
        CREATE INDEX payments_due ON payments (provider, due_at) WHERE status IN ('new', 'processing');
        CREATE INDEX payments_held ON payments (provider, currency, held) WHERE held > 0;
        CREATE INDEX payments_by_refund ON payments (refund_of) WHERE refund_of IS NOT NULL;
        CREATE INDEX payments_by_user ON payments (user_id, payment_id) WHERE refund_of IS NULL;
        CREATE INDEX payments_by_user_and_status ON payments (user_id, status, payment_id) WHERE refund_of IS NULL;
        CREATE INDEX payments_by_nobody ON payments (payment_id) WHERE refund_of IS NULL AND made_by = '';
        CREATE INDEX payments_by_nobody_and_status ON payments (status, payment_id)
            WHERE refund_of IS NULL AND made_by = '';
        CREATE TRIGGER payments_never_go_back BEFORE UPDATE OF status ON payments
        WHEN NEW.status <> OLD.status AND NOT (
            OLD.status = 'new' AND NEW.status IN ('processing', 'canceled')
            OR OLD.status = 'processing' AND NEW.status IN ('succeeded', 'failed')
            OR OLD.status IN ('succeeded', 'partially_refunded') AND NEW.status IN ('partially_refunded', 'refunded'))
        BEGIN
            SELECT RAISE(ABORT, 'a status never goes backwards');
        END;
        CREATE TRIGGER payments_never_deleted BEFORE DELETE ON payments BEGIN
            SELECT RAISE(ABORT, 'a payment is never deleted');
        END;

        CREATE TABLE dead_letters (
            payment_id TEXT PRIMARY KEY REFERENCES payments,
            reason TEXT NOT NULL,
            died_at INTEGER NOT NULL,
            resolution TEXT CHECK (resolution IN ('retried', 'discarded')),
            resolved_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX dead_letters_open ON dead_letters (payment_id) WHERE resolution IS NULL;

        CREATE TABLE webhook_messages (
            provider TEXT NOT NULL,
            message_id TEXT NOT NULL,
            received_at INTEGER NOT NULL,
            PRIMARY KEY (provider, message_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX webhook_messages_by_time ON webhook_messages (received_at);
        """)
}
