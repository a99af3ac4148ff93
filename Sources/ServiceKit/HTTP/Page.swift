import Hummingbird
import StrictJSON

/// A page of a list.
public struct Page<Entry: Sendable>: Sendable {
    /// What was found.
    public let entries: [Entry]
    /// Where the next page begins; nil when there is none.
    public let nextCursor: String?

    /// The page of what was found.
    ///
    /// - Parameters:
    ///   - found: one more than `limit` when there are more.
    ///   - scannedTo: where a bounded search stopped without having come to the end; nil when there was nothing more to look at.
    ///   - id: what the page after an entry goes on from.
    public init(_ found: [Entry], limit: Int, scannedTo: String? = nil, id: (Entry) -> String) {
        entries = Array(found.prefix(limit))
        nextCursor = found.count > limit ? entries.last.map(id) : scannedTo
    }

    /// The page as JSON. - Parameter name: the member with the entries.
    public func response(_ name: StaticString, _ write: (Entry, inout JSONWriter) -> Void) -> Response {
        .json { json in
            json.object { json in
                json.array(name) { json in for entry in entries { write(entry, &json) } }
                if let nextCursor { json.string("nextCursor", nextCursor) } else { json.null("nextCursor") }
            }
        }
    }
}
