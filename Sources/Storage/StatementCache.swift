import GRDB
import GRDBSQLite

/// The prepared statements of one connection, found again by their text. Used by one thread at a time, like the connection.
///
/// The library has such a cache, which hashes the text at each use: some hundred bytes, for every statement of every request. Here a text is
/// found by its length and then compared, which for a literal in the code is to see that it is the very same.
/// Unchecked, because its users take turns, as they do with the connection: whoever commits a group has both to themselves
/// (`SQLiteStore.nextGroup`), and hands them on under a lock.
final class StatementCache: @unchecked Sendable {
    /// How many are kept; there are fewer texts in any service. All others are left to the library.
    private static let maximum = 512

    private var byLength = [[(sql: String, statement: Statement)]](repeating: [], count: 64)
    private var count = 0
    /// The values of the statements that are under way.
    var values = BoundValues()

    /// The statement of a text, prepared at its first use. - Throws: what the library throws.
    func statement(_ sql: String, on database: Database) throws -> Statement {
        let length = sql.utf8.count & 63
        for known in byLength[length] where known.sql == sql { return known.statement }
        let statement = try database.cachedStatement(sql: sql)
        if count < Self.maximum {
            byLength[length].append((sql, statement))
            count += 1
        }
        return statement
    }

    /// Lets go of all of them: a connection is not closed while it has statements.
    func removeAll() {
        for length in byLength.indices { byLength[length] = [] }
        count = 0
    }
}
