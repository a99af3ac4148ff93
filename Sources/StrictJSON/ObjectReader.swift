/// One thing that is wrong with a message: where, and what is expected there.
public struct ValidationIssue: Equatable, Sendable {
    /// A JSON Pointer in a URI fragment (RFC 6901, section 6), for example `#/lines/0/quantity`.
    public let pointer: String
    /// What is wrong, for a person.
    public let detail: String

    /// The pointer of a member of the value that is being read.
    static func pointer(to name: String) -> String {
        let hexadecimal = Array("0123456789ABCDEF".utf8)
        var pointer = Array("#/".utf8)
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "~"): pointer += "~0".utf8
            case UInt8(ascii: "/"): pointer += "~1".utf8
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                pointer.append(byte)
            // What else a fragment may hold as it is (RFC 3986, section 3.5).
            case _ where "-._!$&'()*+,;=:@?".utf8.contains(byte): pointer.append(byte)
            default: pointer += [UInt8(ascii: "%"), hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
            }
        }
        return String(decoding: pointer, as: UTF8.self)
    }

    /// An issue at a place.
    public init(_ pointer: String, _ detail: String) {
        self.pointer = pointer
        self.detail = detail
    }
}

/// A well-formed message that does not say what it must.
public struct ValidationFailure: Error, Equatable {
    /// The most issues that are told.
    static let maximumIssues = 20

    /// At least one issue, in the order of the fields read; at most 20.
    public let issues: [ValidationIssue]

    /// The issues, cut at 20.
    public init(_ issues: [ValidationIssue]) {
        self.issues = Array(issues.prefix(Self.maximumIssues))
    }

    /// One issue.
    public init(_ pointer: String, _ detail: String) {
        self.init([ValidationIssue(pointer, detail)])
    }

    /// The same issues seen from the value that has this one as a member or element: `#/quantity` inside `lines` is
    /// `#/lines/quantity`. So a value is read without knowing where it stands, and only a fault costs the making of a pointer.
    fileprivate func inside(_ name: String) -> [ValidationIssue] {
        let pointer = ValidationIssue.pointer(to: name)
        return issues.map { ValidationIssue(pointer + $0.pointer.dropFirst(), $0.detail) }
    }
}

/// Takes the members of an object out of a message and collects every fault on the way: a missing or mistyped member,
/// one given twice, one that nobody asked for (HT-02). Pointers begin at the object itself.
///
/// A reading function answers nil when the member is absent or faulty; call `finish` before using what was read.
public struct ObjectReader {
    /// No message has this many members: whatever comes after them is an unknown field.
    private static let maximumMembers = 64

    private let object: JSONNode
    /// The places of the members that are given more than once, after the first of each.
    private let repeated: [Int]
    /// One bit for each member that was asked for.
    private var read: UInt64 = 0
    /// The member after the one that was asked for last.
    private var next: MemberPlace?
    private var issues: [ValidationIssue]

    /// Reads the members of `value`. - Throws: `ValidationFailure` when it is not an object.
    public init(_ value: JSONNode) throws(ValidationFailure) {
        guard value.isObject else { throw ValidationFailure("#", "must be an object") }
        object = value
        // Those beyond the limit are refused in any case, so that this stays small.
        repeated = value.repeated(upTo: Self.maximumMembers)
        let members = repeated.isEmpty ? [] : value.members
        issues = repeated.map { place in
            ValidationIssue(ValidationIssue.pointer(to: members[place].name), "is given more than once")
        }
    }

    /// Whether the member is there at all.
    public func has(_ name: StaticString) -> Bool { object.find(name) != nil }

    /// Notes a fault of a member.
    public mutating func issue(_ name: StaticString, _ detail: String) {
        issue(named: name.description, detail)
    }

    private mutating func issue(named name: String, _ detail: String) {
        issues.append(ValidationIssue(ValidationIssue.pointer(to: name), detail))
    }

    /// The member's value, whatever it is.
    public mutating func value(_ name: StaticString) -> JSONNode? {
        guard let (place, value, next) = object.find(name, expecting: next) else { return nil }
        self.next = next
        if place < Self.maximumMembers { read |= 1 << UInt64(place) }
        return value
    }

    /// A member that must be there.
    public mutating func requiredValue(_ name: StaticString) -> JSONNode? {
        let found = value(name)
        if found == nil { issue(name, "is required") }
        return found
    }

    /// A whole number within a range; a fraction, a string or a number of another size is a fault (HT-03).
    public mutating func integer(_ name: StaticString, in range: ClosedRange<Int64>, required: Bool = true) -> Int64? {
        guard let value = required ? requiredValue(name) : value(name) else { return nil }
        guard let number = value.integer, range.contains(number) else {
            issue(name, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    /// A string whose length is within a range. Counted in Unicode scalars: what looks like one character may be made of
    /// any number of them.
    public mutating func string(_ name: StaticString, length: ClosedRange<Int>, required: Bool = true) -> String? {
        guard let value = required ? requiredValue(name) : value(name) else { return nil }
        guard let text = value.string, text.hasScalars(in: length) else {
            issue(name, "must be a string of \(length.lowerBound) to \(length.upperBound) characters")
            return nil
        }
        return text
    }

    /// True or false.
    public mutating func bool(_ name: StaticString) -> Bool? {
        guard let value = value(name) else { return nil }
        guard let flag = value.bool else {
            issue(name, "must be true or false")
            return nil
        }
        return flag
    }

    /// Reads a member by a function that may find faults inside it, with pointers that begin at the member.
    public mutating func nested<T>(
        _ name: StaticString, required: Bool = true, _ read: (JSONNode) throws(ValidationFailure) -> T
    ) -> T? {
        guard let value = required ? requiredValue(name) : value(name) else { return nil }
        do {
            return try read(value)
        } catch {
            issues += error.inside(name.description)
            return nil
        }
    }

    /// Reads each element of a member that is an array, and collects the faults of all of them.
    ///
    /// - Parameters:
    ///   - count: how many there may be.
    ///   - noun: what they are, for a person.
    ///   - read: one element; its pointers begin at the element.
    public mutating func elements<T>(
        _ name: StaticString, count: ClosedRange<Int> = 0...Int.max, of noun: String = "elements",
        required: Bool = true,
        _ read: (JSONNode) throws(ValidationFailure) -> T
    ) -> [T]? {
        nested(name, required: required) { value throws(ValidationFailure) in
            guard let elements = value.elements, count.contains(elements.count) else {
                let bounds = count.upperBound == Int.max ? "" : " of \(count.lowerBound) to \(count.upperBound) \(noun)"
                throw ValidationFailure("#", "must be an array\(bounds)")
            }
            var values: [T] = []
            values.reserveCapacity(elements.count)
            var issues: [ValidationIssue] = []
            for (index, element) in elements.enumerated() {
                do throws(ValidationFailure) {
                    values.append(try read(element))
                } catch {
                    issues += error.inside(String(index))
                    if issues.count >= ValidationFailure.maximumIssues { break }
                }
            }
            guard issues.isEmpty else { throw ValidationFailure(issues) }
            return values
        }
    }

    /// Adds a fault for each member nobody asked for. - Throws: `ValidationFailure` if there was any fault.
    public mutating func finish() throws(ValidationFailure) {
        // As many members as were asked for: nobody looks at their names.
        if issues.isEmpty, object.memberCount == read.nonzeroBitCount { return }
        for (place, member) in object.members.enumerated() {
            let isKnown = place < Self.maximumMembers && read & 1 << UInt64(place) != 0
            // A member given twice has been spoken of already.
            if !isKnown, !repeated.contains(place) { issue(named: member.name, "is not a known field") }
            if issues.count >= ValidationFailure.maximumIssues { break }
        }
        guard issues.isEmpty else { throw ValidationFailure(issues) }
    }
}

extension String {
    /// Whether it has so many Unicode scalars. They are counted only where the number of bytes, which is the same for ASCII and up to
    /// four times as large for other text, leaves it open.
    fileprivate func hasScalars(in range: ClosedRange<Int>) -> Bool {
        let bytes = utf8.count
        if bytes < range.lowerBound { return false }
        if bytes <= range.upperBound, (bytes + 3) / 4 >= range.lowerBound { return true }
        return range.contains(unicodeScalars.count)
    }
}
