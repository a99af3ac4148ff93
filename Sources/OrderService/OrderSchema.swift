import ServiceKit
import Storage

/// The tables of Order.
enum OrderSchema {
    static let migrations = [
        Migration(
            "orders",
            """
            CREATE TABLE orders (
                order_id TEXT PRIMARY KEY,
                user_id TEXT NOT NULL,
                status TEXT NOT NULL CHECK (status IN ('pending', 'completed', 'failed')),
                operation_key TEXT NOT NULL,
                saga TEXT NOT NULL,
                total INTEGER,
                currency TEXT,
                created_at INTEGER NOT NULL,
                updated_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX orders_by_user ON orders (user_id, order_id);
            CREATE INDEX orders_pending ON orders (order_id) WHERE status = 'pending';
            """
        ),
        Migration(
            "order leases",
            """
            ALTER TABLE orders ADD COLUMN owner TEXT NOT NULL DEFAULT '';
            ALTER TABLE orders ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE orders ADD COLUMN beat INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE orders ADD COLUMN rounds INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE orders ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE orders ADD COLUMN parked_for TEXT;
            DROP INDEX orders_pending;
            CREATE INDEX orders_due ON orders (owner, due_at) WHERE status = 'pending';
            """
        ),
        Migration(
            "order money in limbo",
            """
            ALTER TABLE orders ADD COLUMN held INTEGER;
            ALTER TABLE orders ADD COLUMN held_currency TEXT;
            """
        ),
        Migration(
            "failed attempts and parking by hand",
            """
            CREATE TABLE saga_attempts (
                order_id TEXT NOT NULL,
                sequence INTEGER NOT NULL,
                at INTEGER NOT NULL,
                call TEXT NOT NULL,
                attempt INTEGER NOT NULL,
                answer TEXT NOT NULL,
                PRIMARY KEY (order_id, sequence)
            ) STRICT, WITHOUT ROWID;
            ALTER TABLE orders ADD COLUMN parked_by TEXT;
            """
        ),
        OperatorLog.migration,
        Migration(
            "order origin",
            """
            ALTER TABLE orders ADD COLUMN request_id TEXT;
            ALTER TABLE orders ADD COLUMN traceparent TEXT;
            """
        ),
        OperatorLog.withoutEnd,
        .comparing(
            "statuses of orders compared", ListRule("orders", "status", in: ["pending", "completed", "failed"])),
    ]
}
