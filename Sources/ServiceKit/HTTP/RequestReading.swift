import Hummingbird
import Idempotency
import NIOCore
import ServiceClient
import StrictJSON

extension Request {
    /// The largest body, in bytes (HT-08).
    public static var maximumBodyBytes: Int { 64 * 1024 }

    /// The largest body that this request may have, in bytes: a batch of commands is larger than one.
    package var maximumBodyBytes: Int {
        uri.path == CommandBatch.path ? CommandBatch.maximumBytes : Self.maximumBodyBytes
    }

    /// The JSON value in the body. - Throws: `Problem` for HT-01 and HT-07.
    public func json(_ context: ServiceContext) throws -> JSONNode {
        try checkContentType()
        do throws(JSONSyntaxError) {
            return try JSONParser.parse(context.body.readableBytesView)
        } catch {
            throw Problem(.invalidJSON, "The body is not JSON: at byte \(error.offset), \(error.reason).")
        }
    }

    /// `application/json`, alone or with `charset=utf-8`, in any case; sent once and without a content coding (HT-07).
    private func checkContentType() throws {
        let refusal = Problem(
            .unsupportedMediaType, "Send the body as Content-Type: application/json, in UTF-8 and not encoded further.")
        let types = headers[values: .contentType]
        guard types.count == 1, headers[.contentEncoding] == nil else { throw refusal }
        if types[0] == "application/json" { return }
        let parts = types[0].lowercased().split(separator: ";", omittingEmptySubsequences: false)
            .map { $0.trimming(while: { $0 == " " || $0 == "\t" }) }
        guard parts[0] == "application/json" else { throw refusal }
        for parameter in parts.dropFirst() {
            guard parameter == "charset=utf-8" || parameter == "charset=\"utf-8\"" else { throw refusal }
        }
    }

    /// The key, which must be there. - Throws: `Problem` for IK-01 to IK-07.
    public func idempotencyKey() throws -> IdempotencyKey {
        guard let key = try optionalIdempotencyKey() else { throw Problem.keyMissing }
        return key
    }

    /// The key, if there is one. - Throws: `Problem` for IK-02 to IK-07.
    public func optionalIdempotencyKey() throws -> IdempotencyKey? {
        let lines = headers[values: .idempotencyKey]
        guard let line = lines.first else { return nil }
        guard lines.count == 1 else {
            throw Problem(
                .idempotencyKeyInvalid, "The Idempotency-Key header is sent \(lines.count) times; send it once.")
        }
        return try IdempotencyKey(line: line)
    }

    /// How many entries a page of a list may have.
    public static var pageLimits: ClosedRange<Int> { 1...100 }

    /// The page asked for by `limit` (20 by default) and `cursor`. - Throws: `Problem` for a bad value.
    public func page() throws -> (limit: Int, cursor: String?) {
        var limit = 20
        var cursor: String?
        try checkQueryHasNoRepetition()
        for (name, value) in uri.queryParameters {
            switch name {
            case "limit":
                guard let number = Int(value), Self.pageLimits.contains(number) else {
                    throw Problem(.invalidParameter, "limit must be a whole number from 1 to 100.")
                }
                limit = number
            case "cursor":
                guard (1...128).contains(value.utf8.count) else { throw Problem.badCursor }
                cursor = String(value)
            default:
                throw Problem(.invalidParameter, "The only query parameters are limit and cursor.")
            }
        }
        return (limit, cursor)
    }

    /// A parameter that is there twice says nothing: which one counts would be a guess.
    ///
    /// - Parameter lists: names that may be there several times.
    /// - Throws: `Problem`.
    public func checkQueryHasNoRepetition(except lists: Set<Substring> = []) throws {
        var names: Set<Substring> = []
        for (name, _) in uri.queryParameters where !lists.contains(name) && !names.insert(name).inserted {
            throw Problem(.invalidParameter, "A query parameter may be there once.")
        }
    }
}

extension Problem {
    /// A place in a list that no page of it gave out.
    public static var badCursor: Problem {
        Problem(.invalidParameter, "cursor must be the nextCursor of an earlier page.")
    }
}

extension Int64 {
    /// A place in a list that is numbered from 0: 1 to 18 digits and nothing else, not even a sign.
    public init?(cursor: String) {
        guard (1...18).contains(cursor.utf8.count), cursor.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        self.init(cursor)
    }
}

extension Substring {
    fileprivate func trimming(while predicate: (Character) -> Bool) -> Substring {
        var text = self.drop(while: predicate)
        while let last = text.last, predicate(last) { text.removeLast() }
        return text
    }
}
