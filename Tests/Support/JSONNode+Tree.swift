import StrictJSON

/// Values as they look after they were read, for what is expected of a reader.
extension JSONNode {
    /// The value as if it had arrived.
    public init(reading tree: JSONValue) {
        self = (try? JSONParser.parse(JSONWriter.bytes { $0.value(tree) })) ?? .null
    }

    /// An object.
    public static func object(_ members: [JSONValue.Member]) -> JSONNode { JSONNode(reading: .object(members)) }

    /// An array.
    public static func array(_ elements: [JSONValue]) -> JSONNode { JSONNode(reading: .array(elements)) }
}
