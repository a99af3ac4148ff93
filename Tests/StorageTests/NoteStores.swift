import NIOCore
import NIOPosix
import Storage

/// What a test's own body throws.
struct BodyError: Error, Equatable {
    var number = 0
}

/// Opens stores with a table of notes, and one whose rows must have a note once the transaction ends.
struct NoteStores {
    let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.any()

    func open(_ path: String? = nil, maximumPages: Int? = nil) throws -> SQLiteStore {
        try SQLiteStore(path: path, migrations: [Self.schema], loop: loop, maximumPages: maximumPages)
    }

    private static let schema = Migration(
        "notes",
        """
        CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE, data BLOB) STRICT;
        CREATE TABLE marks (note INTEGER NOT NULL REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED) STRICT;
        """)
}

extension Transaction {
    func insert(_ body: String, data: [UInt8] = []) throws {
        try run("INSERT INTO notes (body, data) VALUES (?, ?)", [.text(body), .blob(data)])
    }

    func bodies() throws -> [String] {
        try all("SELECT body FROM notes ORDER BY id LIMIT 100000", []) { $0.text(0) }
    }
}

extension SQLiteStore {
    func bodies() async throws -> [String] { try await transaction { try $0.bodies() } }
}

extension Result where Failure == any Error {
    /// What an asynchronous function returned or threw.
    init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
