import StrictJSON

/// Reading what a service of perhaps another version has answered: whatever is not there is nil, and is left out.
extension JSONValue {
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The string of a member.
    package func text(_ name: String) -> String? {
        guard case .string(let text)? = self[name] else { return nil }
        return text
    }

    /// The whole number of a member.
    package func integer(_ name: String) -> Int64? {
        guard case .number(let text)? = self[name] else { return nil }
        return Int64(text)
    }

    package func flag(_ name: String) -> Bool { self[name] == .bool(true) }

    /// The elements of a member that is an array; none when it is not.
    package func elements(_ name: String) -> [JSONValue] {
        guard case .array(let elements)? = self[name] else { return [] }
        return elements
    }
}
