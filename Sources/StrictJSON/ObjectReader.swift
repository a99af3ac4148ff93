/// One thing that is wrong with a message: where, and what is expected there.
public struct ValidationIssue: Equatable, Sendable {
    /// A JSON Pointer in a URI fragment (RFC 6901, section 6), for example `#/lines/0/quantity`.
    public let pointer: String
    /// What is wrong, for a person.
    public let detail: String

    /// An issue at a place.
    public init(_ pointer: String, _ detail: String) {
        self.pointer = pointer
        self.detail = detail
    }
}

/// A well-formed message that does not say what it must.
public struct ValidationFailure: Error, Equatable {
    /// At least one issue, in the order of the fields read; at most 20.
    public let issues: [ValidationIssue]

    /// The issues, cut at 20.
    public init(_ issues: [ValidationIssue]) {
        self.issues = Array(issues.prefix(20))
    }

    /// One issue.
    public init(_ pointer: String, _ detail: String) {
        self.init([ValidationIssue(pointer, detail)])
    }
}

/// Takes the members of an object out of a message and collects every fault on the way: a missing or mistyped member,
/// one given twice, one that nobody asked for (HT-02).
///
/// A reading function answers nil when the member is absent or faulty; call `finish` before using what was read.
public struct ObjectReader {
    private let pointer: String
    private let members: [JSONValue.Member]
    private var read: Set<String> = []
    private var issues: [ValidationIssue] = []

    /// Reads the members of `value`. - Throws: `ValidationFailure` when it is not an object.
    public init(_ value: JSONValue, at pointer: String = "#") throws(ValidationFailure) {
        guard case .object(let members) = value else {
            throw ValidationFailure(pointer == "#" ? "#" : pointer, "must be an object")
        }
        self.pointer = pointer
        self.members = members
        var seen: Set<String> = []
        for member in members where !seen.insert(member.name).inserted {
            issue(member.name, "is given more than once")
        }
    }

    /// Whether the member is there at all.
    public func has(_ name: String) -> Bool { members.contains { $0.name == name } }

    /// The pointer of a member.
    public func pointer(to name: String) -> String {
        "\(pointer)/" + name.replacing("~", with: "~0").replacing("/", with: "~1")
    }

    /// Notes a fault of a member.
    public mutating func issue(_ name: String, _ detail: String) {
        issues.append(ValidationIssue(pointer(to: name), detail))
    }

    /// The member's value, whatever it is.
    public mutating func value(_ name: String) -> JSONValue? {
        read.insert(name)
        return members.first { $0.name == name }?.value
    }

    /// A member that must be there.
    public mutating func requiredValue(_ name: String) -> JSONValue? {
        let found = value(name)
        if found == nil { issue(name, "is required") }
        return found
    }

    /// A whole number within a range; a fraction, a string or a number of another size is a fault (HT-03).
    public mutating func integer(_ name: String, in range: ClosedRange<Int64>, required: Bool = true) -> Int64? {
        guard let value = required ? requiredValue(name) : value(name) else { return nil }
        guard case .number(let text) = value, let number = Int64(text), range.contains(number) else {
            issue(name, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    /// A string whose length is within a range. Counted in Unicode scalars: what looks like one character may be made of
    /// any number of them.
    public mutating func string(_ name: String, length: ClosedRange<Int>, required: Bool = true) -> String? {
        guard let value = required ? requiredValue(name) : value(name) else { return nil }
        guard case .string(let text) = value, length.contains(text.unicodeScalars.count) else {
            issue(name, "must be a string of \(length.lowerBound) to \(length.upperBound) characters")
            return nil
        }
        return text
    }

    /// True or false.
    public mutating func bool(_ name: String) -> Bool? {
        guard let value = value(name) else { return nil }
        guard case .bool(let flag) = value else {
            issue(name, "must be true or false")
            return nil
        }
        return flag
    }

    /// Reads a member by a function that may find faults inside it.
    public mutating func nested<T>(
        _ name: String,
        required: Bool = true,
        _ read: (JSONValue, _ pointer: String) throws(ValidationFailure) -> T
    ) -> T? {
        guard let value = required ? requiredValue(name) : value(name) else { return nil }
        do {
            return try read(value, pointer(to: name))
        } catch {
            issues.append(contentsOf: error.issues)
            return nil
        }
    }

    /// Adds a fault for each member nobody asked for. - Throws: `ValidationFailure` if there was any fault.
    public mutating func finish() throws(ValidationFailure) {
        for member in members where read.insert(member.name).inserted {
            issue(member.name, "is not a known field")
        }
        guard issues.isEmpty else { throw ValidationFailure(issues) }
    }
}
