import CSQLite

/// How SQLite keeps its memory, for the whole process.
enum SQLiteMemory {
    /// Without the count of what is in use, which nobody reads, SQLite takes no lock whenever it allocates or frees, which it does for
    /// every statement (docs/measurements.md). Too late once a connection has been opened, and then no harm.
    static let isUncounted: Bool = csqlite_count_memory(0) == SQLITE_OK
}
