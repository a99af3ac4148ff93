import GRDB
import GRDBSQLite
import Synchronization

/// The length of a store's write-ahead log, and the moving of it into the database.
final class WriteAheadLog: Sendable {
    /// A checkpoint each 8 MiB of log. Nothing is committed meanwhile; a longer log is moved less often, and then it takes longer
    /// (docs/decisions/0005).
    static let pagesForCheckpoint = 2000
    /// How much longer the log grows before the next try when it could not be moved, because the disk is full.
    static let pagesForRetry = 1024

    private struct State {
        var pages = 0
        var due = WriteAheadLog.pagesForCheckpoint
    }

    private let state = Mutex(State())

    /// Whether it is long enough to be moved.
    var isDue: Bool { state.withLock { $0.pages >= $0.due } }

    /// Lets SQLite tell the length after each commit. The log must live as long as the connection.
    func watch(_ connection: Database) {
        sqlite3_wal_hook(
            connection.sqliteConnection,
            { context, _, _, pages in
                guard let context else { return SQLITE_OK }
                let log = Unmanaged<WriteAheadLog>.fromOpaque(context).takeUnretainedValue()
                log.state.withLock { $0.pages = Int(pages) }
                return SQLITE_OK
            },
            Unmanaged.passUnretained(self).toOpaque())
    }

    /// Moves the log into the database and synchronises both. - Throws: `StoreError`; the log is as good as before then.
    func checkpoint(_ connection: Database) throws {
        let code = sqlite3_wal_checkpoint_v2(
            connection.sqliteConnection, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
        guard code == SQLITE_OK else {
            state.withLock { $0.due = $0.pages + Self.pagesForRetry }
            throw StoreError(connection)
        }
        state.withLock { $0 = State() }
    }
}
