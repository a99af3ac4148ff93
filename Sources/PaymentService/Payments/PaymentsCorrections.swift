import Storage

/// What the schema of payments through providers did not hold to in its first version.
enum PaymentsCorrections {
    /// The trails of payments stood among those of charges, by an id alone, and whoever makes a charge chooses its id: so anybody
    /// could read what became of another user's payment, and write into it (INV-15). They have a table of their own. What is there
    /// already moves to it; where both trails are mixed, an event is taken for the payment's that only a payment can have, or that
    /// is about a refund or an amount of this payment.
    static let trail = Migration(
        "payments have trails of their own",
        """
        CREATE TABLE payments_trail (
            payment_id TEXT NOT NULL REFERENCES payments,
            sequence INTEGER NOT NULL,
            type TEXT NOT NULL,
            refund_id TEXT,
            amount INTEGER,
            code TEXT,
            at INTEGER NOT NULL,
            PRIMARY KEY (payment_id, sequence)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO payments_trail (payment_id, sequence, type, refund_id, amount, code, at)
        SELECT event.payment_id, row_number() OVER (PARTITION BY event.payment_id ORDER BY event.sequence), event.type,
            event.refund_id, event.amount, event.code, event.at
        \(eventsOfPayments);
        DROP TRIGGER payment_events_never_deleted;
        DELETE FROM payment_events WHERE (payment_id, sequence) IN (
            SELECT event.payment_id, event.sequence \(eventsOfPayments));
        CREATE TRIGGER payment_events_never_deleted BEFORE DELETE ON payment_events BEGIN
            SELECT RAISE(ABORT, 'an event is never deleted');
        END;
        CREATE TRIGGER payments_trail_never_changed BEFORE UPDATE ON payments_trail BEGIN
            SELECT RAISE(ABORT, 'an event is never changed');
        END;
        CREATE TRIGGER payments_trail_never_deleted BEFORE DELETE ON payments_trail BEGIN
            SELECT RAISE(ABORT, 'an event is never deleted');
        END;
        """)

    /// A message of a provider that came while the payment was being asked about was lost; and any made a payment due before the
    /// time that the provider itself had named.
    static let news = Migration(
        "news of payments",
        """
        ALTER TABLE payments ADD COLUMN has_news INTEGER NOT NULL DEFAULT 0 CHECK (has_news IN (0, 1));
        ALTER TABLE payments ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
        """)

    /// How long a provider wants to be left alone was known of one payment only, and all others went on to ask.
    static let pauses = Migration(
        "pauses of providers",
        """
        CREATE TABLE provider_pauses (
            provider TEXT PRIMARY KEY,
            until INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """)

    /// What is open is found by its age, which no repetition changes, and in the order of ids.
    static let ages = Migration(
        "ages of open payments",
        """
        CREATE INDEX payments_by_age ON payments (provider, created_at) WHERE status IN ('new', 'processing');
        CREATE INDEX payments_open ON payments (payment_id) WHERE status IN ('new', 'processing');
        """)

    /// What a provider says in its own words is for operators, and not for customers.
    static let details = Migration(
        "details of providers' refusals",
        """
        ALTER TABLE payments ADD COLUMN last_detail TEXT;
        """)

    /// By which request a payment was made; and one that nobody has sent after all may still be canceled.
    static let requests = Migration(
        "requests of payments",
        """
        ALTER TABLE payments ADD COLUMN request_id TEXT;
        ALTER TABLE payments ADD COLUMN traceparent TEXT;
        DROP TRIGGER payments_never_go_back;
        CREATE TRIGGER payments_never_go_back BEFORE UPDATE OF status ON payments
        WHEN NEW.status <> OLD.status AND NOT (
            OLD.status = 'new' AND NEW.status IN ('processing', 'canceled')
            OR OLD.status = 'processing' AND NEW.status IN ('succeeded', 'failed')
            OR OLD.status = 'processing' AND NEW.status = 'canceled' AND OLD.lease_owner IS NULL AND OLD.attempts = 0
                AND OLD.may_be_taken = 0
            OR OLD.status IN ('succeeded', 'partially_refunded') AND NEW.status IN ('partially_refunded', 'refunded'))
        BEGIN
            SELECT RAISE(ABORT, 'a status never goes backwards');
        END;
        """)

    /// A message that money had moved was forgotten when it came before the provider's answer; and an attempt that was turned away is no reason
    /// why a customer may not cancel.
    static let messages = Migration(
        "what messages say of open payments",
        """
        ALTER TABLE payments ADD COLUMN said_moved INTEGER NOT NULL DEFAULT 0 CHECK (said_moved IN (0, 1));
        DROP TRIGGER payments_never_go_back;
        CREATE TRIGGER payments_never_go_back BEFORE UPDATE OF status ON payments
        WHEN NEW.status <> OLD.status AND NOT (
            OLD.status = 'new' AND NEW.status = 'processing'
            OR OLD.status = 'processing' AND NEW.status IN ('succeeded', 'failed')
            OR (OLD.status = 'new' OR OLD.status = 'processing') AND NEW.status = 'canceled' AND OLD.lease_owner IS NULL
                AND OLD.may_be_taken = 0 AND OLD.said_moved = 0
            OR OLD.status IN ('succeeded', 'partially_refunded') AND NEW.status IN ('partially_refunded', 'refunded'))
        BEGIN
            SELECT RAISE(ABORT, 'a status never goes backwards');
        END;
        """)

    /// Earlier versions took "too many requests" from anybody, a proxy too, for proof that the provider took nothing, and forgot messages
    /// that said otherwise. What was sent so and is not settled may have been taken: it is asked about, or closed, before anything is given
    /// back. An asking that never left took nothing.
    static let evidence = Migration(
        "payments that were sent may have been taken",
        """
        UPDATE payments SET may_be_taken = 1 WHERE status = 'processing' AND attempts > 0 AND (
            attempts > 100
            OR EXISTS (SELECT 1 FROM payments_trail AS event WHERE event.payment_id = payments.payment_id
                AND event.type = 'unanswered' AND event.code NOT LIKE 'the provider cannot be reached:%'));
        """)

    /// What earlier versions gave up on such evidence says so of itself: after an answer that anybody may have given, the last of which
    /// stands in the reason alone, or after more askings than the trail keeps.
    static let doubts = Migration(
        "payments that were given up may have been taken",
        """
        UPDATE dead_letters SET reason = '\(DeadLetter.doubt)' || reason
        WHERE resolution IS NULL AND reason <> 'the provider has taken nothing, and will take nothing any more'
            AND reason NOT LIKE '%refund-exceeds-payment%' AND (
                reason LIKE 'the provider asks to be left alone%'
                OR reason LIKE 'refused: http-%' OR reason LIKE 'http-%'
                OR EXISTS (SELECT 1 FROM payments WHERE payments.payment_id = dead_letters.payment_id AND attempts > 100)
                OR EXISTS (SELECT 1 FROM payments_trail AS event WHERE event.payment_id = dead_letters.payment_id
                    AND event.type = 'unanswered' AND event.code NOT LIKE 'the provider cannot be reached:%'));
        """)

    private static let eventsOfPayments = """
        FROM payments CROSS JOIN payment_events AS event ON event.payment_id = payments.payment_id
        WHERE event.type IN ('created', 'processing', 'taken_over', 'unanswered', 'waiting', 'closing', 'dead_lettered',
                'retried', 'discarded')
            OR event.refund_id IN (SELECT payment_id FROM payments)
            OR event.type IN ('succeeded', 'failed', 'canceled') AND event.amount = payments.amount
        """
}
