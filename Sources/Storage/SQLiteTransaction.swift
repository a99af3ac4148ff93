import GRDB
import GRDBSQLite

/// The statements of one body, on the store's connection.
///
/// Statements are prepared once for the life of the connection, by the library, and driven through SQLite's own functions:
/// on the path of every request the library's arguments and rows cost more than the statements themselves
/// (docs/decisions/0005).
final class SQLiteTransaction: Transaction {
    private let database: Database
    private let statements: StatementCache
    /// The library's own connection.
    private let connection: SQLiteConnection?
    private(set) var hooks = TransactionHooks()
    /// The first error that SQLite may have answered with a rollback of the whole transaction.
    private var fatalToGroup: StoreError?

    /// Why the whole group is to be undone, if it is. Whatever a body makes of it, nothing may be written after it: that would
    /// be outside any transaction.
    var groupFailure: StoreError? {
        if let fatalToGroup { return fatalToGroup }
        return sqlite3_get_autocommit(connection) == 0 ? nil : .failed("the transaction ended before its commit")
    }

    init(_ database: Database, _ statements: StatementCache) {
        self.database = database
        self.statements = statements
        connection = database.sqliteConnection
    }

    func run(_ sql: String, _ arguments: [SQLValue]) throws -> Int {
        try withStatement(sql, arguments) { statement in
            while try step(statement) {}
        }
        return Int(sqlite3_changes(connection))
    }

    func first<T>(_ sql: String, _ arguments: [SQLValue], _ map: (any SQLRow) throws -> T) throws -> T? {
        try withStatement(sql, arguments) { statement in
            guard try step(statement) else { return nil }
            // A statement that writes and returns rows has made all its changes before it returns the first.
            return try map(SQLiteRow(statement: statement))
        }
    }

    func all<T>(_ sql: String, _ arguments: [SQLValue], _ map: (any SQLRow) throws -> T) throws -> [T] {
        try withStatement(sql, arguments) { statement in
            var results: [T] = []
            while try step(statement) { results.append(try map(SQLiteRow(statement: statement))) }
            return results
        }
    }

    func onCommit(_ effect: @escaping @Sendable () -> Void) { hooks.onCommit.append(effect) }

    func onRollback(_ undo: @escaping @Sendable () -> Void) { hooks.onRollback.append(undo) }

    private func withStatement<T>(
        _ sql: String, _ arguments: [SQLValue], _ body: (OpaquePointer) throws -> T
    ) throws -> T {
        if let groupFailure { throw groupFailure }
        let statement: OpaquePointer
        do {
            statement = try statements.statement(sql, on: database).sqliteStatement
        } catch {
            throw StoreError(error)
        }
        let mark = statements.values.count
        defer {
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
            statements.values.drop(to: mark)
        }
        for (index, argument) in arguments.enumerated() {
            let code = bind(argument, to: statement, at: Int32(index + 1))
            guard code == SQLITE_OK else { throw error(code) }
        }
        return try body(statement)
    }

    /// Whether there is another row.
    private func step(_ statement: OpaquePointer) throws -> Bool {
        switch sqlite3_step(statement) {
        case SQLITE_ROW: true
        case SQLITE_DONE: false
        case let code: throw error(code)
        }
    }

    private func bind(_ value: SQLValue, to statement: OpaquePointer, at index: Int32) -> Int32 {
        switch value {
        case .integer(let number): return sqlite3_bind_int64(statement, index, number)
        case .text(var text):
            return text.withUTF8 { utf8 in
                let (start, isKept) = statements.values.keep(UnsafeRawBufferPointer(utf8))
                let characters = start?.assumingMemoryBound(to: CChar.self)
                return sqlite3_bind_text(statement, index, characters, Int32(utf8.count), isKept ? nil : copyBytes)
            }
        case .blob(let bytes):
            return bytes.withUnsafeBytes { bytes in
                let (start, isKept) = statements.values.keep(bytes)
                guard let start else { return sqlite3_bind_zeroblob(statement, index, 0) }
                return sqlite3_bind_blob(statement, index, start, Int32(bytes.count), isKept ? nil : copyBytes)
            }
        case .null: return sqlite3_bind_null(statement, index)
        }
    }

    private func error(_ code: Int32) -> StoreError {
        let error = StoreError(database)
        if error.failsGroup || sqlite3_get_autocommit(connection) != 0 { fatalToGroup = error }
        return error
    }
}

/// What waits for the end of a transaction.
struct TransactionHooks {
    fileprivate(set) var onCommit: [@Sendable () -> Void] = []
    fileprivate(set) var onRollback: [@Sendable () -> Void] = []

    static func += (hooks: inout Self, more: Self) {
        hooks.onCommit += more.onCommit
        hooks.onRollback += more.onRollback
    }

    func committed() { onCommit.forEach { $0() } }

    /// The newest first.
    func rolledBack() { onRollback.reversed().forEach { $0() } }
}

/// SQLITE_TRANSIENT, which Swift cannot import: SQLite copies the bytes before the call returns.
private let copyBytes = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

/// The row that a statement stands on.
private struct SQLiteRow: SQLRow {
    let statement: OpaquePointer

    func integer(_ column: Int) -> Int64 { sqlite3_column_int64(statement, Int32(column)) }

    func optionalInteger(_ column: Int) -> Int64? { isNull(column) ? nil : integer(column) }

    func text(_ column: Int) -> String {
        guard let start = sqlite3_column_text(statement, Int32(column)) else { return "" }
        let count = Int(sqlite3_column_bytes(statement, Int32(column)))
        return String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    }

    func optionalText(_ column: Int) -> String? { isNull(column) ? nil : text(column) }

    func blob(_ column: Int) -> [UInt8] {
        guard let start = sqlite3_column_blob(statement, Int32(column)) else { return [] }
        let count = Int(sqlite3_column_bytes(statement, Int32(column)))
        return [UInt8](UnsafeRawBufferPointer(start: start, count: count))
    }

    private func isNull(_ column: Int) -> Bool { sqlite3_column_type(statement, Int32(column)) == SQLITE_NULL }
}
