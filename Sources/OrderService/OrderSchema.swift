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
        recordsOfTheirKeys,
    ]

    /// An order is the record of its key, and lies where it arrived.
    ///
    /// The order that a key stood for is its last attempt, also where the clock was set back between two and the ids say otherwise.
    /// Without rowids, as it was, the rows themselves are the tree that ids are looked up in: more pages are written, and an order of
    /// four lines, over a quarter of a page, takes a page to itself.
    private static let recordsOfTheirKeys = Migration(
        "orders as the records of their keys",
        """
        ALTER TABLE orders RENAME TO orders_by_id;
        CREATE TABLE orders (
            arrival INTEGER PRIMARY KEY,
            order_id TEXT NOT NULL UNIQUE,
            user_id TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status = 'pending' OR status = 'completed' OR status = 'failed'),
            operation_key TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            saga TEXT NOT NULL,
            total INTEGER,
            currency TEXT,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            owner TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            beat INTEGER NOT NULL DEFAULT 0,
            rounds INTEGER NOT NULL DEFAULT 0,
            due_at INTEGER NOT NULL,
            parked_for TEXT,
            parked_by TEXT,
            held INTEGER,
            held_currency TEXT,
            request_id TEXT,
            traceparent TEXT
        ) STRICT;
        INSERT INTO orders
            (order_id, user_id, status, operation_key, attempt, saga, total, currency, created_at, updated_at, owner, epoch,
            beat, rounds, due_at, parked_for, parked_by, held, held_currency, request_id, traceparent)
        SELECT order_id, user_id, status, operation_key, attempt, saga, total, currency, created_at, updated_at, owner, epoch,
            beat, rounds, due_at, parked_for, parked_by, held, held_currency, request_id, traceparent
        FROM orders_by_id JOIN (
            SELECT order_id AS id, row_number() OVER (
                PARTITION BY operation_key, user_id
                ORDER BY order_id IN (SELECT reference FROM idempotency_keys WHERE operation = 'checkout'), order_id
            ) AS attempt
            FROM orders_by_id
        ) ON id = order_id
        ORDER BY order_id;
        DROP TABLE orders_by_id;
        CREATE INDEX orders_by_user ON orders (user_id, order_id);
        CREATE INDEX orders_due ON orders (owner, due_at) WHERE status = 'pending';
        CREATE UNIQUE INDEX orders_by_key ON orders (operation_key, user_id, attempt);
        DELETE FROM idempotency_keys WHERE operation = 'checkout';
        """
    )
}
