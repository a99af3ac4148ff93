import AuditAPI
import Hummingbird
import Resilience
import StrictJSON

/// Which records a request to an audit route asks for: a page of them all (`limit`, `cursor`), or some by their ids
/// (`id`, repeated).
public struct AuditSelection: Sendable, Equatable {
    /// The records asked for by id; empty when a page is asked for.
    public let ids: [String]
    /// The page's entries come after this id.
    public let cursor: String?
    /// How many entries the page may have.
    public let limit: Int
    /// The values of `key`, for the route that takes it.
    public let keys: [String]

    /// `ids` as a JSON array, which SQLite takes as one argument: `IN (SELECT value FROM json_each(?))`.
    public var idsJSON: String { Self.json(ids) }
    /// `keys` in the same way.
    public var keysJSON: String { Self.json(keys) }

    private static func json(_ texts: [String]) -> String {
        let bytes = JSONWriter.bytes { json in json.array { json in texts.forEach { json.string($0) } } }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension Request {
    /// What the query of an audit route asks for. - Throws: `Problem` for a bad value.
    ///
    /// - Parameters:
    ///   - byID: whether the route also gives records by their ids.
    ///   - takesKeys: whether it takes `key`, which is repeated like `id`.
    public func auditSelection(byID: Bool = true, takesKeys: Bool = false) throws -> AuditSelection {
        var (ids, keys): ([String], [String]) = ([], [])
        var cursor: String?
        var limit = AuditLimits.page.upperBound
        try checkQueryHasNoRepetition(except: ["id", "key"])
        for (name, value) in uri.queryParameters {
            switch name {
            case "limit":
                guard let number = Int(value), AuditLimits.page.contains(number) else {
                    throw Problem(
                        .invalidParameter, "limit must be a whole number from 1 to \(AuditLimits.page.upperBound).")
                }
                limit = number
            case "cursor": cursor = try Self.auditID(name, value)
            case "id" where byID: ids.append(try Self.auditID(name, value))
            case "key" where takesKeys: keys.append(try Self.auditID(name, value))
            default: throw Problem(.invalidParameter, "There is no query parameter of this name here: \(name).")
            }
        }
        guard ids.count <= AuditLimits.ids, keys.count <= AuditLimits.ids else {
            throw Problem(.invalidParameter, "At most \(AuditLimits.ids) records may be asked for by id at once.")
        }
        return AuditSelection(ids: ids, cursor: cursor, limit: limit, keys: keys)
    }

    private static func auditID(_ name: Substring, _ value: Substring) throws -> String {
        guard (1...AuditLimits.idBytes).contains(value.utf8.count) else {
            throw Problem(.invalidParameter, "\(name) must have 1 to \(AuditLimits.idBytes) bytes.")
        }
        return String(value)
    }
}

extension Response {
    /// The records found for a selection. - Parameter found: in the order of their ids; of a page, one more than its limit
    /// when there are more.
    public static func audit<Entry: AuditEntry>(
        _ selection: AuditSelection, readAt: Timestamp, found: [Entry]
    ) -> Response {
        selection.ids.isEmpty
            ? json(AuditPage.json(readAt: readAt, found: found, limit: selection.limit))
            : json(AuditPage.json(readAt: readAt, asked: found))
    }
}
