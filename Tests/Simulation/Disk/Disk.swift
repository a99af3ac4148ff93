import GRDB
import Idempotency
import ServiceKit
import Storage

/// The disk of a service: a real SQLite database in memory, which outlives the processes that write it. Disks are used again
/// by run after run, so that a run costs neither a schema nor the preparation of its statements.
final class Disk: Sendable {
    let database: DatabaseQueue
    /// Opened the database, and is kept for what the database remembers of it.
    private let store: SQLiteStore
    private let tables: [String]

    init(_ migrations: [Migration]) throws {
        store = try SQLiteStore(
            path: nil, migrations: ServiceDefinition.sharedMigrations + migrations,
            loop: SimulatedLoop { _ in })
        database = store.database
        // The disk is emptied between runs. That no service deletes what may not be deleted is looked at in `Audit`.
        try database.write { database in
            let guards = try String.fetchAll(
                database, sql: "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%_never_deleted'")
            for trigger in guards { try database.execute(sql: "DROP TRIGGER \(trigger)") }
        }
        tables = try database.read { database in
            // The newest first: a table comes after those that it refers to.
            try String.fetchAll(
                database,
                sql: """
                    SELECT name FROM sqlite_master
                    WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'grdb_migrations' ORDER BY rowid DESC
                    """)
        }
    }

    /// Empties the disk. - Parameter checksConstraints: false for a schema that forgot its rules.
    func reset(checksConstraints: Bool = true) throws {
        try database.writeWithoutTransaction { database in
            try database.execute(sql: "PRAGMA ignore_check_constraints = \(checksConstraints ? 0 : 1)")
            try database.inTransaction {
                for table in tables { try database.cachedStatement(sql: "DELETE FROM \(table)").execute() }
                return .commit
            }
        }
    }

    /// All rows of a query, each mapped: for the checks, which look at the disk from outside.
    ///
    /// - Parameter sql: one of a few texts, since its statement is kept.
    func rows<Value>(_ sql: String, _ arguments: StatementArguments = [], _ map: (Row) -> Value) throws -> [Value] {
        try database.unsafeRead { database in
            let statement = try database.cachedStatement(sql: sql)
            var values: [Value] = []
            let rows = try Row.fetchCursor(statement, arguments: arguments)
            while let row = try rows.next() { values.append(map(row)) }
            return values
        }
    }
}

/// The disks of the three services, made once for many runs.
struct Disks: Sendable {
    let order: Disk
    let stock: Disk
    let payment: Disk
}
