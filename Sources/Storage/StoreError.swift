import GRDB
import GRDBSQLite

/// Why the store did not do what it was asked. In each case nothing was written.
public enum StoreError: Error, Equatable {
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
    /// The disk failed to write or to synchronise, or the file is damaged. What is on the disk is not known any more; the
    /// process must end and recover by reading it anew (hazard 53).
    case fatal(String)
}

extension StoreError {
    /// The store's view of a result code of SQLite.
    init(code: Int32, message: String) {
        // The low byte of an extended code is its kind.
        switch code & 0xFF {
        case SQLITE_FULL: self = .full
        case SQLITE_CONSTRAINT: self = .constraint(message)
        case SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB: self = .fatal("\(message) (SQLite code \(code))")
        default: self = .failed("\(message) (SQLite code \(code))")
        }
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

    /// Whether the error concerns the whole transaction and not one statement of it.
    var failsGroup: Bool {
        switch self {
        case .full, .fatal: true
        case .constraint, .failed, .overloaded, .closed: false
        }
    }
}
