import ServiceKit
import Storage

/// The tables of Payment. That refunds never exceed their charge is a rule of the schema (hazard 48).
enum PaymentSchema {
    static let migrations = [
        Migration(
            "charges and refunds",
            """
            CREATE TABLE charges (
                charge_id TEXT PRIMARY KEY,
                user_id TEXT NOT NULL,
                order_id TEXT,
                method TEXT NOT NULL,
                amount INTEGER NOT NULL CHECK (amount >= 0),
                currency TEXT NOT NULL,
                refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
                status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'canceled')),
                decline_code TEXT,
                operation_key TEXT,
                created_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX charges_pending ON charges (charge_id) WHERE status = 'pending';

            CREATE TABLE refunds (
                refund_id TEXT PRIMARY KEY,
                charge_id TEXT NOT NULL REFERENCES charges,
                user_id TEXT NOT NULL,
                amount INTEGER NOT NULL CHECK (amount >= 0),
                status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded')),
                operation_key TEXT NOT NULL,
                created_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX refunds_by_charge ON refunds (charge_id);
            CREATE INDEX refunds_pending ON refunds (refund_id) WHERE status = 'pending';
            """
        ),
        Migration(
            "when open payments are asked about",
            """
            ALTER TABLE charges ADD COLUMN askings INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE charges ADD COLUMN ask_at INTEGER NOT NULL DEFAULT 0;
            DROP INDEX charges_pending;
            CREATE INDEX charges_pending ON charges (ask_at) WHERE status = 'pending';

            ALTER TABLE refunds ADD COLUMN askings INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE refunds ADD COLUMN ask_at INTEGER NOT NULL DEFAULT 0;
            DROP INDEX refunds_pending;
            CREATE INDEX refunds_pending ON refunds (ask_at) WHERE status = 'pending';
            """
        ),
        LedgerSchema.migration,
        LedgerCorrections.claims,
        LedgerCorrections.keysOfCallers,
        LedgerCorrections.movementsKept,
        LedgerCorrections.droppedCharges,
        LedgerCorrections.countedEntries,
        PaymentsTables.migration,
        OperatorLog.migration,
        OperatorLog.withoutEnd,
        PaymentsCorrections.trail,
        KeysForEver.migration,
        PaymentsCorrections.news,
        PaymentsCorrections.pauses,
        PaymentsCorrections.ages,
        PaymentsCorrections.details,
        PaymentsCorrections.requests,
        .comparing(
            "statuses and kinds compared",
            ListRule("charges", "status", in: ["pending", "succeeded", "failed", "canceled"]),
            ListRule(
                "accounts", "kind", in: ["wallet", "cash_in", "fees", "sales", "settlement", "clearing"]),
            ListRule("movements", "type", in: ["deposit", "withdrawal", "transfer"]),
            ListRule("payments", "kind", in: ["deposit", "withdraw", "external_payment", "refund"]),
            ListRule(
                "payments", "status",
                in: ["new", "processing", "succeeded", "failed", "canceled", "partially_refunded", "refunded"],
                space: "\n        "),
            ListRule("payments", "phase", in: ["send", "ask", "close"])),
        Migration(
            "operator actions on charges apart",
            """
            UPDATE operator_actions SET subject = 'charge:' || subject
            WHERE subject IN (SELECT charge_id FROM charges) AND subject NOT IN (SELECT payment_id FROM payments);
            """
        ),
        PaymentsCorrections.messages,
        Migration(
            "ages of open charges and refunds",
            """
            CREATE INDEX charges_by_age ON charges (created_at) WHERE status = 'pending';
            CREATE INDEX refunds_by_age ON refunds (created_at) WHERE status = 'pending';
            """
        ),
        PaymentsCorrections.evidence,
        PaymentsCorrections.doubts,
    ]
}
