import Storage

/// The tables of the mock provider. Nothing that was taken is ever forgotten; `ProviderBooks` bounds how much that is.
enum ProviderSchema {
    static let migrations = [
        Migration(
            "payments, refunds, movements and messages",
            """
            CREATE TABLE provider_payments (
                number INTEGER PRIMARY KEY,
                provider TEXT NOT NULL,
                reference TEXT NOT NULL,
                payment_id TEXT NOT NULL,
                kind TEXT,
                amount INTEGER CHECK (amount > 0),
                currency TEXT,
                token TEXT,
                refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND ifnull(amount, 0)),
                status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'declined', 'canceled')),
                decline_code TEXT,
                settle_at INTEGER,
                created_at INTEGER NOT NULL,
                UNIQUE (provider, reference),
                CHECK ((status = 'canceled') = (amount IS NULL))
            ) STRICT;
            CREATE INDEX provider_payments_pending ON provider_payments (settle_at) WHERE status = 'pending';

            CREATE TABLE provider_refunds (
                number INTEGER PRIMARY KEY,
                provider TEXT NOT NULL,
                reference TEXT NOT NULL,
                refund_id TEXT NOT NULL,
                payment_reference TEXT NOT NULL,
                amount INTEGER NOT NULL CHECK (amount > 0),
                currency TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                UNIQUE (provider, reference)
            ) STRICT;

            CREATE TABLE provider_movements (
                number INTEGER PRIMARY KEY,
                provider TEXT NOT NULL,
                kind TEXT NOT NULL CHECK (kind IN ('charge', 'payout', 'refund')),
                reference TEXT NOT NULL,
                amount INTEGER NOT NULL,
                currency TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                UNIQUE (provider, kind, reference)
            ) STRICT;

            CREATE TABLE webhook_messages (
                number INTEGER PRIMARY KEY,
                message_id TEXT NOT NULL UNIQUE,
                provider TEXT NOT NULL,
                body BLOB NOT NULL,
                copies INTEGER NOT NULL,
                attempts INTEGER NOT NULL DEFAULT 0,
                due_at INTEGER NOT NULL
            ) STRICT;
            CREATE INDEX webhook_messages_due ON webhook_messages (due_at, number);
            """
        ),
        .comparing(
            "statuses and kinds compared",
            ListRule("provider_payments", "status", in: ["pending", "succeeded", "declined", "canceled"]),
            ListRule("provider_movements", "kind", in: ["charge", "payout", "refund"])),
    ]
}
