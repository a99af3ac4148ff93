import StrictJSON

/// A JSON Schema in the dialect of OpenAPI 3.1, made of Swift values, so that a limit in a document is the very constant that
/// the code checks.
public struct Schema: Sendable, Equatable {
    /// The component that the schema is written as, once; nil for one that is written where it stands.
    public private(set) var name: String?
    private var keywords: [JSONValue.Member]
    private var properties: [Property] = []
    private var isClosed = false
    private var items: [Schema] = []
    private var alternatives: [Schema] = []
    private var parts: [Schema] = []

    /// A member of an object.
    public struct Property: Sendable, Equatable {
        /// The member's name.
        public let name: String
        /// What its value may be.
        public let schema: Schema
        /// Whether it must be there.
        public let isRequired: Bool

        /// A member that must be there.
        public static func required(_ name: String, _ schema: Schema) -> Property {
            Property(name: name, schema: schema, isRequired: true)
        }

        /// A member that may be left out.
        public static func optional(_ name: String, _ schema: Schema) -> Property {
            Property(name: name, schema: schema, isRequired: false)
        }
    }

    private init(_ type: String?, _ description: String, _ keywords: [JSONValue.Member] = []) {
        self.keywords = type.map { [.init("type", .string($0))] } ?? []
        if !description.isEmpty { self.keywords.append(.init("description", .string(description))) }
        self.keywords += keywords
    }

    // MARK: - Kinds

    /// A string.
    ///
    /// - Parameters:
    ///   - length: in Unicode scalars.
    ///   - pattern: a regular expression that the whole string must match.
    ///   - format: for example `date-time`.
    public static func string(
        _ description: String = "", length: ClosedRange<Int>? = nil, pattern: String? = nil, format: String? = nil,
        example: String? = nil
    ) -> Schema {
        var keywords: [JSONValue.Member] = []
        if let length {
            keywords.append(.init("minLength", .number(String(length.lowerBound))))
            keywords.append(.init("maxLength", .number(String(length.upperBound))))
        }
        if let pattern { keywords.append(.init("pattern", .string(pattern))) }
        if let format { keywords.append(.init("format", .string(format))) }
        if let example { keywords.append(.init("examples", .array([.string(example)]))) }
        return Schema("string", description, keywords)
    }

    /// One of a few words.
    public static func word(_ description: String = "", of words: [String]) -> Schema {
        Schema("string", description, [.init("enum", .array(words.map { .string($0) }))])
    }

    /// A whole number.
    public static func integer(
        _ description: String = "", in range: ClosedRange<Int64>? = nil, example: Int64? = nil
    ) -> Schema {
        var keywords: [JSONValue.Member] = []
        if let range {
            keywords.append(.init("minimum", .number(String(range.lowerBound))))
            keywords.append(.init("maximum", .number(String(range.upperBound))))
        }
        if let example { keywords.append(.init("examples", .array([.number(String(example))]))) }
        return Schema("integer", description, keywords)
    }

    /// A decimal number. The limits are given as they are written, since binary floating point cannot hold every decimal.
    public static func decimal(
        _ description: String = "", minimum: String? = nil, maximum: String? = nil, multipleOf: String? = nil,
        example: String? = nil
    ) -> Schema {
        var keywords: [JSONValue.Member] = []
        if let minimum { keywords.append(.init("minimum", .number(minimum))) }
        if let maximum { keywords.append(.init("maximum", .number(maximum))) }
        if let multipleOf { keywords.append(.init("multipleOf", .number(multipleOf))) }
        if let example { keywords.append(.init("examples", .array([.number(example)]))) }
        return Schema("number", description, keywords)
    }

    /// True or false.
    public static func boolean(_ description: String = "") -> Schema { Schema("boolean", description) }

    /// An object.
    ///
    /// - Parameter isClosed: whether any other member is refused. What we send may gain members; what we take has none but
    ///   these (HT-02).
    public static func object(
        _ description: String, isClosed: Bool = false, _ properties: [Property]
    ) -> Schema {
        var schema = Schema("object", description)
        schema.properties = properties
        schema.isClosed = isClosed
        return schema
    }

    /// An object that needs no description.
    public static func object(isClosed: Bool = false, _ properties: [Property]) -> Schema {
        object("", isClosed: isClosed, properties)
    }

    /// An array.
    public static func array(
        _ description: String = "", of items: Schema, count: ClosedRange<Int>? = nil
    ) -> Schema {
        var keywords: [JSONValue.Member] = []
        if let count {
            keywords.append(.init("minItems", .number(String(count.lowerBound))))
            keywords.append(.init("maxItems", .number(String(count.upperBound))))
        }
        var schema = Schema("array", description, keywords)
        schema.items = [items]
        return schema
    }

    /// A value that exactly one of several schemas describes.
    public static func oneOf(_ description: String = "", of alternatives: [Schema]) -> Schema {
        var schema = Schema(nil, description)
        schema.alternatives = alternatives
        return schema
    }

    /// A value that all of several schemas describe.
    public static func allOf(_ description: String = "", of parts: [Schema]) -> Schema {
        var schema = Schema(nil, description)
        schema.parts = parts
        return schema
    }

    /// Any JSON value.
    public static func any(_ description: String = "") -> Schema { Schema(nil, description) }

    // MARK: - Variants

    /// The same schema as a component of this name.
    public func named(_ name: String) -> Schema {
        var schema = self
        schema.name = name
        return schema
    }

    /// The same schema, or null.
    public var orNull: Schema { .oneOf(of: [self, Schema("null", "")]) }

    // MARK: - JSON

    /// The schema where it is used: a reference if it has a name.
    public var json: JSONValue {
        name.map { .object([.init("$ref", .string("#/components/schemas/\($0)"))]) } ?? definition
    }

    /// The schema written out.
    public var definition: JSONValue {
        var members = keywords
        if !properties.isEmpty {
            members.append(.init("properties", .object(properties.map { .init($0.name, $0.schema.json) })))
        }
        let required = properties.filter(\.isRequired).map { JSONValue.string($0.name) }
        if !required.isEmpty { members.append(.init("required", .array(required))) }
        if isClosed { members.append(.init("additionalProperties", .bool(false))) }
        if let item = items.first { members.append(.init("items", item.json)) }
        if !alternatives.isEmpty { members.append(.init("oneOf", .array(alternatives.map(\.json)))) }
        if !parts.isEmpty { members.append(.init("allOf", .array(parts.map(\.json)))) }
        return .object(members)
    }

    /// Adds every named schema in this one, itself included, to a document's components.
    public func collect(into components: inout [String: Schema]) {
        if let name {
            guard components[name] == nil else { return }
            components[name] = self
        }
        for inner in properties.map(\.schema) + items + alternatives + parts { inner.collect(into: &components) }
    }
}
