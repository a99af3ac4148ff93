import OpenAPI
import StrictJSON
import Testing

@Suite("Schema")
struct SchemaTests {
    private func text(_ value: JSONValue) -> String {
        String(decoding: JSONWriter.bytes { $0.value(value) }, as: UTF8.self)
    }

    @Test(
        "each kind is written with its limits, those of numbers as they were given",
        arguments: [
            (
                .string("A name.", length: 1...200),
                #"{"type":"string","description":"A name.","minLength":1,"maxLength":200}"#
            ),
            (
                .string(pattern: "^a$", format: "uuid", example: "a"),
                #"{"type":"string","pattern":"^a$","format":"uuid","examples":["a"]}"#
            ),
            (.word(of: ["a", "b"]), #"{"type":"string","enum":["a","b"]}"#),
            (
                .integer(in: 1...Int64.max, example: 2),
                #"{"type":"integer","minimum":1,"maximum":9223372036854775807,"examples":[2]}"#
            ),
            (
                .decimal(minimum: "0.01", multipleOf: "0.01", example: "20.00"),
                #"{"type":"number","minimum":0.01,"multipleOf":0.01,"examples":[20.00]}"#
            ),
            (.boolean(), #"{"type":"boolean"}"#), (.any(), "{}"),
            (
                .array(of: .boolean(), count: 1...100),
                #"{"type":"array","minItems":1,"maxItems":100,"items":{"type":"boolean"}}"#
            ),
            (.oneOf(of: [.boolean(), .integer()]), #"{"oneOf":[{"type":"boolean"},{"type":"integer"}]}"#),
            (.allOf(of: [.boolean()]), #"{"allOf":[{"type":"boolean"}]}"#),
            (.boolean().orNull, #"{"oneOf":[{"type":"boolean"},{"type":"null"}]}"#),
        ] as [(Schema, String)])
    func kinds(schema: Schema, expected: String) {
        #expect(text(schema.json) == expected)
    }

    @Test("an object lists its members, those that must be there, and refuses others only if it is closed")
    func object() {
        let members: [Schema.Property] = [.required("a", .boolean()), .optional("b", .boolean())]
        let open = #"{"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"boolean"}},"required":["a"]"#
        #expect(text(Schema.object(members).json) == open + "}")
        #expect(text(Schema.object(isClosed: true, members).json) == open + #","additionalProperties":false}"#)
    }

    @Test(
        "a named schema is a reference where it is used, and stands among the components once, with all that is inside it"
    )
    func named() {
        let inner = Schema.boolean().named("Inner")
        let outer = Schema.object([
            .required("a", inner), .optional("b", .array(of: inner)), .optional("c", inner.orNull),
            .optional("d", .allOf(of: [inner])),
        ]).named("Outer")
        #expect(text(outer.json) == ##"{"$ref":"#/components/schemas/Outer"}"##)
        #expect(text(outer.definition).contains(##""a":{"$ref":"#/components/schemas/Inner"}"##))
        var components: [String: Schema] = [:]
        outer.collect(into: &components)
        #expect(components.keys.sorted() == ["Inner", "Outer"])
        #expect(components["Inner"].map { text($0.definition) } == #"{"type":"boolean"}"#)
    }
}
