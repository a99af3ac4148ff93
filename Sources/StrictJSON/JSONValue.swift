/// A JSON value as a tree: members in order and with their duplicates, numbers as their text.
///
/// For documents that are built, such as OpenAPI's. Messages are read through `JSONNode` and not by Foundation's
/// decoder, which hides duplicate members and rounds numbers: the contract refuses the first (HT-02) and forbids the
/// second (docs/contract.md, "Money").
public enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    /// The number's text, for example `20.00`. It is valid in JSON's syntax and of any size.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([Member])

    /// One name and value of an object.
    public struct Member: Equatable, Sendable {
        /// The name, unescaped.
        public let name: String
        /// The value.
        public let value: JSONValue

        /// A member of an object.
        public init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }
}

/// The text is not one JSON value.
public struct JSONSyntaxError: Error, Equatable {
    /// How many bytes were good.
    public let offset: Int
    /// What was wrong there, for a person.
    public let reason: String
}
