/// A value of a JSON text that was read: a place in the text, and no copy of it.
///
/// Strings and numbers are made when they are asked for. Most of a message is names, which are only compared, and braces, of which nobody
/// needs more than where they stand.
public struct JSONNode: Sendable {
    private let text: JSONText
    private let index: Int

    init(_ text: JSONText, _ index: Int = 0) {
        self.text = text
        self.index = index
    }

    /// Nothing, for a value that is not there.
    public static let null = JSONNode(
        JSONText(Array("null".utf8), [JSONToken(kind: .null, start: 0, end: 4, next: 1)]))

    private var token: JSONToken { text.tokens[index] }

    /// Whether it is null.
    public var isNull: Bool { token.kind == .null }

    /// Whether it is an object.
    public var isObject: Bool { token.kind == .object }

    /// The string that it is, with its escapes undone.
    public var string: String? { token.kind == .string ? text.string(at: index) : nil }

    /// The text of the number that it is, for example `20.00`; valid in JSON's syntax and of any size.
    public var number: String? { token.kind == .number ? text.string(at: index) : nil }

    /// The truth value that it is.
    public var bool: Bool? {
        switch token.kind {
        case .true: true
        case .false: false
        default: nil
        }
    }

    /// The elements of the array that it is.
    public var elements: [JSONNode]? {
        guard token.kind == .array else { return nil }
        var elements: [JSONNode] = []
        var next = index + 1
        while next < token.next {
            elements.append(JSONNode(text, next))
            next = Int(text.tokens[next].next)
        }
        return elements
    }

    /// The first value with a name in the object that it is.
    public func member(_ name: String) -> JSONNode? { find(name)?.value }

    /// The first member with a name in the object that it is, and its place among the members.
    func find(_ name: String) -> (place: Int, value: JSONNode)? {
        text.find(name, in: index).map { ($0.place, JSONNode(text, $0.index + 1)) }
    }

    /// The places of the members whose name is that of a member before them. - Parameter limit: how many members are looked at.
    func repeated(upTo limit: Int) -> [Int] { text.repeated(in: index, upTo: limit) }

    /// How many members the object that it is has.
    var memberCount: Int { text.memberCount(of: index) }

    /// The members of the object that it is, with their duplicates; none if it is something else.
    var members: [(name: String, value: JSONNode)] {
        guard isObject else { return [] }
        var members: [(name: String, value: JSONNode)] = []
        var next = index + 1
        while next < token.next {
            members.append((text.string(at: next), JSONNode(text, next + 1)))
            next = Int(text.tokens[next + 1].next)
        }
        return members
    }

    /// The same value with everything in it made.
    public var tree: JSONValue {
        switch token.kind {
        case .null: return .null
        case .true: return .bool(true)
        case .false: return .bool(false)
        case .number: return .number(text.string(at: index))
        case .string: return .string(text.string(at: index))
        case .array: return .array((elements ?? []).map(\.tree))
        case .object: return .object(members.map { JSONValue.Member($0.name, $0.value.tree) })
        }
    }
}

extension JSONNode: Equatable {
    /// Whether both say the same, however they are written.
    public static func == (left: JSONNode, right: JSONNode) -> Bool { left.tree == right.tree }
}

/// A text that is one JSON value, and what stands where in it.
final class JSONText: Sendable {
    private let bytes: [UInt8]
    /// Values and names in the order of the text; the first is the whole.
    let tokens: [JSONToken]

    init(_ bytes: [UInt8], _ tokens: [JSONToken]) {
        self.bytes = bytes
        self.tokens = tokens
    }

    /// A string with its escapes undone, or a number as it is written.
    func string(at index: Int) -> String {
        let token = tokens[index]
        return bytes.withUnsafeBufferPointer { bytes in
            if token.isEscaped { return JSONParser.unescaped(bytes, token) }
            return String(decoding: UnsafeBufferPointer(rebasing: bytes[token.range]), as: UTF8.self)
        }
    }

    /// The first member with a name in the object at an index; the index is that of the name.
    func find(_ name: String, in object: Int) -> (place: Int, index: Int)? {
        var name = name
        return name.withUTF8 { name in
            withMembers(of: object) { member, place, bytes in
                isName(member, at: place.index, name, bytes)
            }
        }
    }

    /// The places of the members of an object whose name is that of a member before them.
    func repeated(in object: Int, upTo limit: Int) -> [Int] {
        var repeated: [Int] = []
        _ = withMembers(of: object) { member, place, bytes in
            guard place.place < limit else { return true }
            let unescaped = member.isEscaped ? string(at: place.index) : nil
            let first = withMembers(of: object) { earlier, other, _ in
                if other.index == place.index { return true }
                if var unescaped { return unescaped.withUTF8 { isName(earlier, at: other.index, $0, bytes) } }
                return isName(earlier, at: other.index, UnsafeBufferPointer(rebasing: bytes[member.range]), bytes)
            }
            if let first, first.index != place.index { repeated.append(place.place) }
            return false
        }
        return repeated
    }

    /// Whether the name at an index is this one.
    private func isName(
        _ token: JSONToken, at index: Int, _ name: UnsafeBufferPointer<UInt8>, _ bytes: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        guard token.isEscaped else { return bytes.equal(token, name) }
        // An escape is longer than what it stands for.
        return token.range.count > name.count && string(at: index).utf8.elementsEqual(name)
    }

    /// How many members an object has.
    func memberCount(of object: Int) -> Int {
        var count = 0
        _ = withMembers(of: object) { _, _, _ in
            count += 1
            return false
        }
        return count
    }

    /// The first member of an object for which `condition` holds.
    @inline(__always)
    private func withMembers(
        of object: Int,
        _ condition: (_ name: JSONToken, _ place: (place: Int, index: Int), UnsafeBufferPointer<UInt8>) -> Bool
    ) -> (place: Int, index: Int)? {
        bytes.withUnsafeBufferPointer { bytes in
            tokens.withUnsafeBufferPointer { tokens in
                guard tokens[object].kind == .object else { return nil }
                let end = Int(tokens[object].next)
                var place = (place: 0, index: object + 1)
                while place.index < end {
                    if condition(tokens[place.index], place, bytes) { return place }
                    place = (place.place + 1, Int(tokens[place.index + 1].next))
                }
                return nil
            }
        }
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// Whether a token without escapes is the same text. Lengths first: they tell most names apart.
    fileprivate func equal(_ token: JSONToken, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard token.end - token.start == text.count else { return false }
        let start = Int(token.start)
        for offset in 0..<text.count where self[start + offset] != text[offset] { return false }
        return true
    }
}

/// A value or a name in a JSON text.
struct JSONToken {
    enum Kind: UInt8 { case null, `true`, `false`, number, string, array, object }

    let kind: Kind
    /// Whether a string has escapes.
    var isEscaped = false
    /// Where it begins; a string behind its quote.
    let start: UInt32
    /// Where it ends; a string before its quote.
    var end: UInt32
    /// The number of the token after this one and all that is in it.
    var next: UInt32

    var range: Range<Int> { Int(start)..<Int(end) }
}
