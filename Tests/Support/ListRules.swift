import Storage

/// The tables of a service's schema whose rules make SQLite build a temporary table at every write: a list of more than two
/// values behind `IN` (decision 24).
///
/// - Parameter migrations: those of the service, besides the ones that every service has.
public func tablesWithListRules(_ migrations: [Migration]) async throws -> [String] {
    let store = try SQLiteStore.ofService(at: nil, migrations)
    let tables = try await store.transaction { transaction in
        try transaction.all("SELECT name, sql FROM sqlite_schema WHERE type = 'table' LIMIT 1000", []) { row in
            (name: row.text(0), sql: row.text(1))
        }
    }
    try store.close()
    return tables.filter { $0.sql.contains(/IN\s*\([^(),]+,[^(),]+,[^()]+\)/) }.map(\.name)
}
