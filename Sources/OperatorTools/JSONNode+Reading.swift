import StrictJSON

/// Reading what a service of perhaps another version has answered: whatever is not there is nil, and is left out.
extension JSONNode {
    package subscript(_ name: String) -> JSONNode? { member(name) }

    /// The string of a member.
    package func text(_ name: String) -> String? { self[name]?.string }

    /// The whole number of a member.
    package func integer(_ name: String) -> Int64? { self[name]?.number.flatMap { Int64($0) } }

    package func flag(_ name: String) -> Bool { self[name]?.bool == true }

    /// The elements of a member that is an array; none when it is not.
    package func elements(_ name: String) -> [JSONNode] { self[name]?.elements ?? [] }
}
