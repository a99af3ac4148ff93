import Resilience
import StrictJSON

/// What an audit reads; the raw value is the service's name.
public enum AuditedService: String, CaseIterable, Sendable {
    case order, stock, payment
    /// The payment providers, whose books Payment's ledger is compared with; not one of ours.
    case provider
}

/// One record of a service as its audit route shows it: exactly what the comparison of the services needs.
///
/// Writing and reading stand together, so that the services and the audit cannot drift apart. Points of time are whole
/// milliseconds since 1970 (names that end in `Ms`); amounts are in minor units.
public protocol AuditEntry: Hashable, Sendable {
    /// Whose record it is.
    static var service: AuditedService { get }
    /// The route that shows these records.
    static var path: String { get }
    /// Names the record; pages are in the order of the ids.
    var id: String { get }
    /// Writes the record as an object.
    func write(to json: inout JSONWriter)
    /// Reads what `write` has written. - Throws: `ValidationFailure`.
    init(json: JSONNode) throws(ValidationFailure)
}

/// Bounds of the audit routes.
public enum AuditLimits {
    /// How many entries a page may have. Each page is read in one turn of the service's only loop: a larger one would make
    /// checkouts wait.
    public static let page: ClosedRange<Int> = 1...200
    /// How many entries may be asked for by id at once.
    public static let ids = 64
    /// A page ends once it has this many bytes. With one more entry, or with as many of the largest entries as may be asked
    /// for by id, it stays below what a client takes (2 MiB: `CurlTransport.maximumResponseBytes`).
    public static let pageBytes = 256 * 1024
    /// The longest id in bytes: 128 characters of any kind.
    public static let idBytes = 512
}

/// A part of a service's records.
public struct AuditPage<Entry: AuditEntry>: Sendable {
    /// When the records were read, by the service's own clock: their ages need no other.
    public let readAt: Timestamp
    /// The records in the order of their ids.
    public let entries: [Entry]
    /// Where the next page begins; nil when there is none.
    public let nextCursor: String?

    /// A page.
    public init(readAt: Timestamp, entries: [Entry], nextCursor: String? = nil) {
        self.readAt = readAt
        self.entries = entries
        self.nextCursor = nextCursor
    }

    /// `{"readAtMs":…,"entries":[…],"nextCursor":…}`, cut after `limit` entries or `AuditLimits.pageBytes`.
    ///
    /// - Parameter found: the entries found, one more than `limit` when there are more.
    public static func json(readAt: Timestamp, found: [Entry], limit: Int) -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                var written = 0
                json.integer("readAtMs", readAt.milliseconds)
                json.array("entries") { json in
                    for entry in found.prefix(limit) where json.count < AuditLimits.pageBytes {
                        entry.write(to: &json)
                        written += 1
                    }
                }
                if written > 0, written < found.count {
                    json.string("nextCursor", found[written - 1].id)
                } else {
                    json.null("nextCursor")
                }
            }
        }
    }

    /// Every entry asked for by its id and found; never cut.
    public static func json(readAt: Timestamp, asked found: [Entry]) -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.integer("readAtMs", readAt.milliseconds)
                json.array("entries") { json in found.forEach { $0.write(to: &json) } }
                json.null("nextCursor")
            }
        }
    }

    /// Reads a page. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let readAt = reader.timestamp("readAtMs")
        let entries = reader.elements("entries", Entry.init(json:))
        let nextCursor = reader.optionalText("nextCursor")
        try reader.finish()
        guard let readAt, let entries else { throw ValidationFailure("#", "is not a page of records") }
        self.init(readAt: readAt, entries: entries, nextCursor: nextCursor)
    }
}

extension ObjectReader {
    mutating func timestamp(_ name: StaticString, required: Bool = true) -> Timestamp? {
        integer(name, in: Int64.min...Int64.max, required: required).map { Timestamp(milliseconds: $0) }
    }

    /// An id that the services have accepted.
    mutating func id(_ name: StaticString, required: Bool = true) -> String? {
        string(name, length: 0...AuditLimits.idBytes, required: required)
    }

    mutating func wholeNumber(_ name: StaticString) -> Int64? { integer(name, in: Int64.min...Int64.max) }

    /// A string, or null.
    mutating func optionalText(_ name: StaticString) -> String? {
        if value(name)?.isNull == true { return nil }
        return id(name)
    }
}
