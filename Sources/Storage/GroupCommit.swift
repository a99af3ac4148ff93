import GRDB
import GRDBSQLite

/// Commits groups of bodies on a store's connection, each group in one transaction and with one synchronisation. Used by one
/// thread at a time.
final class GroupCommit: Sendable {
    private let database: DatabaseQueue
    private let statements = StatementCache()
    private let log: WriteAheadLog
    private let onFatal: @Sendable (StoreError) -> Void

    init(_ database: DatabaseQueue, _ log: WriteAheadLog, onFatal: @escaping @Sendable (StoreError) -> Void) {
        self.database = database
        self.log = log
        self.onFatal = onFatal
    }

    /// Runs the bodies and commits what they wrote. - Returns: for each body the error that its caller is to get, if any.
    func commit(_ group: [SQLiteStore.Work]) -> [(any Error)?] {
        do {
            do {
                try runTogether(group)
                return Array(repeating: nil, count: group.count)
            } catch is BodyFailure {
                return try runApart(group)
            }
        } catch {
            let storeError = StoreError(error)
            if case .fatal = storeError { onFatal(storeError) }
            return Array(repeating: storeError, count: group.count)
        }
    }

    /// Whether the log has grown so long that it is to be moved into the database.
    var checkpointIsDue: Bool { log.isDue }

    /// Moves the log into the database when it has grown long. A disk that is full can do that later; one that fails cannot be
    /// trusted with the next commit (hazard 53).
    func checkpointIfDue() {
        guard log.isDue else { return }
        do {
            try database.inDatabase(log.checkpoint)
        } catch {
            let storeError = StoreError(error)
            if case .fatal = storeError { onFatal(storeError) }
        }
    }

    /// After the last commit, before the connection is closed.
    func end() throws {
        try database.inDatabase { connection in
            // What is not moved stays in the log and is safe there; but that the disk fails is to be known.
            do { try log.checkpoint(connection) } catch StoreError.full {}
        }
        statements.removeAll()
    }

    /// Thrown out of a transaction when one body of a group failed for a reason of its own.
    private struct BodyFailure: Error {}

    /// Runs the bodies in one transaction without a savepoint each: nearly all of them succeed.
    private func runTogether(_ group: [SQLiteStore.Work]) throws {
        try inTransaction { connection, hooks in
            for work in group {
                let transaction = SQLiteTransaction(connection, statements)
                defer { hooks += transaction.hooks }
                var hasFailed = false
                do { try work.body(transaction) } catch { hasFailed = true }
                if let failure = transaction.groupFailure { throw failure }
                if hasFailed { throw BodyFailure() }
            }
        }
    }

    /// Runs the bodies again, each in a savepoint, so that one that fails undoes only its own writes. - Returns: for each
    /// body the error it threw.
    private func runApart(_ group: [SQLiteStore.Work]) throws -> [(any Error)?] {
        var outcomes: [(any Error)?] = []
        try inTransaction { connection, hooks in
            for work in group {
                let transaction = SQLiteTransaction(connection, statements)
                try connection.run("SAVEPOINT body")
                var outcome: (any Error)?
                do { try work.body(transaction) } catch { outcome = error }
                if outcome == nil {
                    hooks += transaction.hooks
                } else {
                    transaction.hooks.rolledBack()
                }
                if let failure = transaction.groupFailure { throw failure }
                if outcome != nil { try connection.run("ROLLBACK TO body") }
                outcomes.append(outcome)
                try connection.run("RELEASE body")
            }
        }
        return outcomes
    }

    /// One transaction on the connection. The hooks are told how it ends.
    private func inTransaction(_ body: (Database, _ hooks: inout TransactionHooks) throws -> Void) throws {
        var hooks = TransactionHooks()
        var isCommitting = false
        do {
            try database.inDatabase { connection in
                // Not the library's own transactions, which prepare these statements anew each time.
                try connection.cachedStatement(sql: "BEGIN IMMEDIATE").execute()
                do {
                    try body(connection, &hooks)
                    isCommitting = true
                    try connection.cachedStatement(sql: "COMMIT").execute()
                } catch {
                    // After some errors SQLite has rolled back by itself.
                    if connection.isInsideTransaction { try? connection.cachedStatement(sql: "ROLLBACK").execute() }
                    throw error
                }
            }
            hooks.committed()
        } catch {
            hooks.rolledBack()
            // The commit's own error comes from the library, which does not say what the system said.
            guard let error = error as? DatabaseError else { throw error }
            let (code, message) = (error.extendedResultCode.rawValue, error.message ?? "no message")
            let systemError = database.inDatabase { sqlite3_system_errno($0.sqliteConnection) }
            throw isCommitting
                ? StoreError(ofCommit: code, message: message, systemError: systemError)
                : StoreError(code: code, message: message, systemError: systemError)
        }
    }
}

extension Database {
    fileprivate func run(_ sql: String) throws {
        do {
            try cachedStatement(sql: sql).execute()
        } catch {
            throw StoreError(error)
        }
    }
}
