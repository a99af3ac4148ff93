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

    /// The whole number that it is, if it is written as one and fits.
    public var integer: Int64? { token.kind == .number ? text.integer(at: index) : nil }

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
    public func member(_ name: String) -> JSONNode? {
        var name = name
        return name.withUTF8 { name in
            text.find(name, in: index, expecting: nil).map { JSONNode(text, $0.index + 1) }
        }
    }

    /// A member of the object that it is with a name, its place among the members, and the place after it; the first, if the expected one
    /// has another name. - Parameter expected: which it is likely to be.
    func find(_ name: StaticString, expecting expected: MemberPlace? = nil) -> (
        place: Int, value: JSONNode, next: MemberPlace
    )? {
        let name = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        guard let found = text.find(name, in: index, expecting: expected) else { return nil }
        let next = MemberPlace(place: found.place + 1, index: Int(text.tokens[found.index + 1].next))
        return (found.place, JSONNode(text, found.index + 1), next)
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

/// Where a member of an object stands: its number among the members, and that of its name among the tokens.
struct MemberPlace {
    let place: Int
    let index: Int
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

    /// A number that is written as a whole one; nil also when it does not fit.
    func integer(at index: Int) -> Int64? {
        let token = tokens[index]
        return bytes.withUnsafeBufferPointer { bytes in
            let isNegative = bytes[Int(token.start)] == UInt8(ascii: "-")
            var number: Int64 = 0
            for position in Int(token.start) + (isNegative ? 1 : 0)..<Int(token.end) {
                guard case 0x30...0x39 = bytes[position] else { return nil }
                // Towards the sign that it has: the least number has no counterpart.
                let digit = Int64(bytes[position] - 0x30)
                let (tenfold, isTooLarge) = number.multipliedReportingOverflow(by: 10)
                let (sum, isLarger) = tenfold.addingReportingOverflow(isNegative ? -digit : digit)
                if isTooLarge || isLarger { return nil }
                number = sum
            }
            return number
        }
    }

    /// A member with a name in the object at an index: the expected one, else the first. Members are mostly asked for in the order in which
    /// they are written. The index is that of the name.
    func find(
        _ name: UnsafeBufferPointer<UInt8>, in object: Int, expecting expected: MemberPlace?
    ) -> MemberPlace? {
        if let expected, expected.index < tokens[object].next,
            bytes.withUnsafeBufferPointer({ isName(tokens[expected.index], at: expected.index, name, $0) })
        {
            return expected
        }
        return withMembers(of: object) { member, place, bytes in
            isName(member, at: place.index, name, bytes)
        }
    }

    /// The places of the members of an object whose name is that of a member before them.
    func repeated(in object: Int, upTo limit: Int) -> [Int] {
        var repeated: [Int] = []
        // Names that were seen, by what tells most of them apart; with escapes anything may be the same.
        var seen: UInt64 = 0
        var someAreEscaped = false
        _ = withMembers(of: object) { member, place, bytes in
            guard place.place < limit else { return true }
            someAreEscaped = someAreEscaped || member.isEscaped
            let bit: UInt64 = 1 << UInt64(bytes.sketch(of: member) & 63)
            defer { seen |= bit }
            if !someAreEscaped, seen & bit == 0 { return false }
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
        _ condition: (_ name: JSONToken, _ place: MemberPlace, UnsafeBufferPointer<UInt8>) -> Bool
    ) -> MemberPlace? {
        bytes.withUnsafeBufferPointer { bytes in
            tokens.withUnsafeBufferPointer { tokens in
                guard tokens[object].kind == .object else { return nil }
                let end = Int(tokens[object].next)
                var place = MemberPlace(place: 0, index: object + 1)
                while place.index < end {
                    if condition(tokens[place.index], place, bytes) { return place }
                    place = MemberPlace(place: place.place + 1, index: Int(tokens[place.index + 1].next))
                }
                return nil
            }
        }
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// A number that equal names have in common, and other names rarely.
    fileprivate func sketch(of name: JSONToken) -> UInt32 {
        guard name.end > name.start else { return 0 }
        return (name.end &- name.start) &+ 5 &* UInt32(self[Int(name.start)]) &+ 11 &* UInt32(self[Int(name.end) - 1])
    }

    /// Whether a token without escapes is the same text. Lengths first: they tell most names apart.
    fileprivate func equal(_ token: JSONToken, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let count = text.count
        guard token.end - token.start == count else { return false }
        let name = UnsafeBufferPointer(rebasing: self[token.range])
        if count < 8 {
            for index in 0..<count where name[index] != text[index] { return false }
            return true
        }
        var index = 0
        while index + 8 < count {
            guard EightBytes(name, at: index).word == EightBytes(text, at: index).word else { return false }
            index += 8
        }
        return EightBytes(name, at: count - 8).word == EightBytes(text, at: count - 8).word
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
