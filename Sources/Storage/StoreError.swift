import GRDB
import GRDBSQLite

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// SQLITE_IOERR_SHMSIZE, a macro that Swift cannot import.
private let indexCannotGrow = SQLITE_IOERR | 19 << 8
/// SQLITE_IOERR_WRITE and SQLITE_IOERR_FSYNC, the same.
private let notWritten = SQLITE_IOERR | 3 << 8
private let notSynchronised = SQLITE_IOERR | 4 << 8

/// Why the store did not do what it was asked. Nothing was written, but where a case says otherwise.
public enum StoreError: Error, Equatable, CustomStringConvertible {
    /// The disk, or the bound set on the file, is full.
    case full
    /// More work is waiting than the store accepts.
    case overloaded
    /// The store is being closed.
    case closed
    /// A constraint of the schema refused the write: SQLite's message.
    case constraint(String)
    /// Another failure that leaves the store usable.
    case failed(String)
    /// The file is the store of something else, or lacks a step of the schema that came before one which it has.
    case foreign(String)
    /// The disk was full when the commit was already in the log, whole and synchronised, and only its entry into the log's index was missing.
    /// This process does not see it, and its next commit writes over it; but if the process ends before that, the next one finds it
    /// there. So it is neither done nor undone: repeated under its key, it is done once.
    case uncertain(String)
    /// The disk failed to write or to synchronise, or the file is damaged. What is on the disk is not known any more; the
    /// process must end and recover by reading it anew (hazard 53).
    ///
    /// - isDamaged: whether it is what is stored that is wrong, so that another start does not help.
    case fatal(String, isDamaged: Bool)

    public var description: String {
        switch self {
        case .full: "the disk is full: make room; what was stored is safe"
        case .overloaded: "too much work is waiting for the store"
        case .closed: "the store is closed"
        case .uncertain(let message):
            "\(message): the disk is full, and whether this was stored is known to the next process; make room"
        case .constraint(let message), .failed(let message), .foreign(let message), .fatal(let message, _): message
        }
    }
}

extension StoreError {
    /// The store's view of a commit that has failed.
    ///
    /// SQLite writes what is committed to the log, synchronises it, and enters it in the index then (`sqlite3WalFrames`). An index that
    /// cannot grow leaves a whole commit in the log, which the next process to read it takes for one; and what could not be synchronised for want
    /// of room, as where a file system finds room only then, is as unknown as behind any other failure to (hazard 53).
    init(ofCommit code: Int32, message: String, systemError: Int32) {
        let error = StoreError(code: code, message: message, systemError: systemError)
        switch error {
        case .full where code == notSynchronised: self = StoreError(code: code, message: message)
        case .full where code & 0xFF == SQLITE_IOERR && code != notWritten: self = .uncertain(message)
        default: self = error
        }
    }

    /// The store's view of a result code of SQLite.
    ///
    /// - Parameter systemError: what the system said to the last failing call; 0 when it is not known.
    init(code: Int32, message: String, systemError: Int32 = 0) {
        // The low byte of an extended code is its kind.
        switch code & 0xFF {
        case SQLITE_FULL: self = .full
        // A used-up quota is a full disk. The index of the log is no part of what is stored: that it cannot grow means no room.
        case SQLITE_IOERR where systemError == ENOSPC || systemError == EDQUOT || code == indexCannotGrow: self = .full
        case SQLITE_CONSTRAINT: self = .constraint(message)
        case SQLITE_IOERR:
            self = .fatal(
                """
                \(message) (SQLite code \(code)): look at the disk and the system's log, then start the service again; what was \
                answered is safe
                """, isDamaged: false)
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            self = .fatal(
                """
                \(message) (SQLite code \(code)): the store is damaged, and another start does not help. Copy its files, then put a \
                backup in their place (docs/operations.md, Backup and restore)
                """, isDamaged: true)
        default: self = .failed("\(message) (SQLite code \(code))")
        }
    }

    /// The store's view of what a connection has just answered.
    init(_ connection: Database) {
        self.init(
            code: sqlite3_extended_errcode(connection.sqliteConnection),
            message: String(cString: sqlite3_errmsg(connection.sqliteConnection)),
            systemError: sqlite3_system_errno(connection.sqliteConnection))
    }

    /// The store's view of any error.
    init(_ error: any Error) {
        switch error {
        case let error as StoreError: self = error
        case let error as DatabaseError:
            self.init(code: error.extendedResultCode.rawValue, message: error.message ?? "no message")
        default: self = .failed(String(describing: error))
        }
    }

    /// Whether what was asked may be stored all the same.
    public var leavesDoubt: Bool {
        switch self {
        case .uncertain, .fatal: true
        case .full, .constraint, .failed, .foreign, .overloaded, .closed: false
        }
    }

    /// Whether the error concerns the whole transaction and not one statement of it.
    var failsGroup: Bool {
        switch self {
        case .full, .uncertain, .fatal: true
        case .constraint, .failed, .foreign, .overloaded, .closed: false
        }
    }
}
