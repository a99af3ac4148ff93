import ServiceKit
import Storage

/// The tables of Stock. The rules that must hold whatever the code does stand in the schema (INV-5).
enum StockSchema {
    static let migrations = [
        Migration(
            "items and reservations",
            """
            CREATE TABLE items (
                item_id INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                price INTEGER NOT NULL CHECK (price > 0),
                currency TEXT NOT NULL,
                on_hand INTEGER NOT NULL CHECK (on_hand >= reserved),
                reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
                completed INTEGER NOT NULL DEFAULT 0 CHECK (completed >= 0),
                received INTEGER NOT NULL CHECK (received = on_hand + completed)
            ) STRICT;

            CREATE TABLE reservations (
                reservation_id TEXT PRIMARY KEY,
                status TEXT NOT NULL CHECK (status IN ('reserved', 'completed', 'canceled')),
                lines TEXT NOT NULL,
                total INTEGER,
                currency TEXT,
                created_at INTEGER NOT NULL,
                expires_at INTEGER
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX reservations_expiry ON reservations (expires_at) WHERE status = 'reserved';

            CREATE TABLE refused_reservations (
                reservation_id TEXT PRIMARY KEY,
                code TEXT NOT NULL,
                pointer TEXT NOT NULL,
                detail TEXT NOT NULL,
                refused_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX refused_reservations_age ON refused_reservations (refused_at);
            """
        ),
        OperatorLog.migration,
        OperatorLog.withoutEnd,
        .comparing(
            "statuses of reservations compared",
            ListRule("reservations", "status", in: ["reserved", "completed", "canceled"])),
        // Nothing is known of what was refused before this.
        Migration("lines of refused reservations", "ALTER TABLE refused_reservations ADD COLUMN lines TEXT;"),
        // Nobody knows whose those are that were made before this.
        Migration(
            "users of reservations",
            """
            ALTER TABLE reservations ADD COLUMN user_id TEXT;
            ALTER TABLE refused_reservations ADD COLUMN user_id TEXT;
            """),
    ]
}
