import StrictJSON
import Testing

@Suite("Object reader")
struct ObjectReaderTests {
    private func reader(_ text: String, at pointer: String = "#") throws -> ObjectReader {
        try ObjectReader(try JSONParser.parse(text.utf8), at: pointer)
    }

    private func issues(_ reader: ObjectReader) -> [ValidationIssue] {
        var reader = reader
        do throws(ValidationFailure) {
            try reader.finish()
            return []
        } catch {
            return error.issues
        }
    }

    @Test("members of the right type are read and there is no fault")
    func good() throws {
        var reader = try reader(#"{"flag":false,"name":"abc","count":7,"extra":[1]}"#)
        #expect(reader.integer("count", in: 1...10) == 7)
        #expect(reader.string("name", length: 1...3) == "abc")
        #expect(reader.bool("flag") == false)
        #expect(reader.value("extra") == .array([.number("1")]))
        #expect(reader.has("extra"))
        #expect(!reader.has("other"))
        #expect(issues(reader).isEmpty)
    }

    @Test("a member that is required and missing is a fault; an optional one is not")
    func missing() throws {
        var reader = try reader("{}")
        #expect(reader.integer("a", in: 0...1) == nil)
        #expect(reader.string("b", length: 0...1) == nil)
        #expect(reader.requiredValue("c") == nil)
        #expect(reader.integer("d", in: 0...1, required: false) == nil)
        #expect(reader.string("e", length: 0...1, required: false) == nil)
        #expect(reader.bool("f") == nil)
        #expect(reader.nested("g", required: false) { value, _ in value } == nil)
        #expect(reader.nested("h") { value, _ in value } == nil)
        #expect(
            issues(reader) == [
                ValidationIssue("#/a", "is required"), ValidationIssue("#/b", "is required"),
                ValidationIssue("#/c", "is required"), ValidationIssue("#/h", "is required"),
            ])
    }

    @Test(
        "a number that is not whole or not in range is a fault (HT-03)",
        arguments: [
            "0", "-1", "1.5", "1.0", "1e2", #""2""#, "2147483648", "1e400", "1000001", "9223372036854775808",
            "99999999999999999999", "null", "true", "[1]", "{}",
        ])
    func badInteger(value: String) throws {
        var reader = try reader(#"{"quantity":\#(value)}"#)
        #expect(reader.integer("quantity", in: 1...1_000_000) == nil)
        #expect(
            issues(reader) == [ValidationIssue("#/quantity", "must be a whole number from 1 to 1000000")])
    }

    @Test("both ends of a range are inside it")
    func range() throws {
        var reader = try reader(#"{"a":1,"b":1000000,"c":-9223372036854775808,"d":9223372036854775807}"#)
        #expect(reader.integer("a", in: 1...1_000_000) == 1)
        #expect(reader.integer("b", in: 1...1_000_000) == 1_000_000)
        #expect(reader.integer("c", in: .min ... .max) == .min)
        #expect(reader.integer("d", in: .min ... .max) == .max)
        #expect(issues(reader).isEmpty)
    }

    @Test("marks that combine into one character count one by one, so that a short string is short")
    func combiningMarks() throws {
        let marks = String(repeating: "\u{301}", count: 1000)
        var reader = try ObjectReader(.object([JSONValue.Member("name", .string("a\(marks)"))]))
        #expect(reader.string("name", length: 1...3) == nil)
    }

    @Test("a string of another length or type is a fault", arguments: [#""""#, #""abcd""#, "1", "null", "[]"])
    func badString(value: String) throws {
        var reader = try reader(#"{"name":\#(value)}"#)
        #expect(reader.string("name", length: 1...3) == nil)
        #expect(issues(reader) == [ValidationIssue("#/name", "must be a string of 1 to 3 characters")])
    }

    @Test("an optional member that is there must still be good")
    func badOptional() throws {
        var reader = try reader(#"{"a":"1","b":2,"c":3}"#)
        #expect(reader.integer("a", in: 0...9, required: false) == nil)
        #expect(reader.string("b", length: 0...9, required: false) == nil)
        #expect(reader.bool("c") == nil)
        #expect(issues(reader).map(\.pointer) == ["#/a", "#/b", "#/c"])
    }

    @Test("a member that nobody asked for is a fault, once")
    func unknown() throws {
        var reader = try reader(#"{"known":1,"more":2,"evenMore":3}"#)
        #expect(reader.integer("known", in: 0...9) == 1)
        #expect(
            issues(reader) == [
                ValidationIssue("#/more", "is not a known field"),
                ValidationIssue("#/evenMore", "is not a known field"),
            ])
    }

    @Test("a member given twice is a fault, also when both are equal")
    func duplicate() throws {
        var reader = try reader(#"{"a":1,"b":2,"a":1}"#)
        #expect(reader.integer("a", in: 0...9) == 1)
        #expect(reader.integer("b", in: 0...9) == 2)
        #expect(issues(reader) == [ValidationIssue("#/a", "is given more than once")])
    }

    @Test("a duplicate spelled with an escape is found")
    func escapedDuplicate() throws {
        var reader = try reader(#"{"a":1,"\u0061":2}"#)
        _ = reader.integer("a", in: 0...9)
        #expect(issues(reader) == [ValidationIssue("#/a", "is given more than once")])
    }

    @Test(
        "a pointer escapes tilde and slash (RFC 6901)",
        arguments: [("a/b", "#/a~1b"), ("a~b", "#/a~0b"), ("~1", "#/~01"), ("~/", "#/~0~1"), ("", "#/")])
    func pointers(name: String, pointer: String) throws {
        let reader = try reader(#"{"\#(name)":1}"#)
        #expect(reader.pointer(to: name) == pointer)
        #expect(issues(reader) == [ValidationIssue(pointer, "is not a known field")])
    }

    @Test("faults inside nested values point to where they are")
    func nested() throws {
        var outer = try reader(#"{"lines":[{"quantity":1},{"quantity":"2","x":1},7],"open":true}"#)
        let quantities: [Int64]? = outer.nested("lines") { value, pointer throws(ValidationFailure) in
            guard case .array(let lines) = value else { throw ValidationFailure(pointer, "must be an array") }
            var found: [Int64] = []
            var issues: [ValidationIssue] = []
            for (index, line) in lines.enumerated() {
                do throws(ValidationFailure) {
                    var reader = try ObjectReader(line, at: "\(pointer)/\(index)")
                    let quantity = reader.integer("quantity", in: 1...9)
                    try reader.finish()
                    if let quantity { found.append(quantity) }
                } catch {
                    issues += error.issues
                }
            }
            guard issues.isEmpty else { throw ValidationFailure(issues) }
            return found
        }
        #expect(quantities == nil)
        #expect(outer.bool("open") == true)
        #expect(
            issues(outer) == [
                ValidationIssue("#/lines/1/quantity", "must be a whole number from 1 to 9"),
                ValidationIssue("#/lines/1/x", "is not a known field"),
                ValidationIssue("#/lines/2", "must be an object"),
            ])
    }

    @Test("a nested value without faults is handed on")
    func nestedGood() throws {
        var reader = try reader(#"{"a":{"b":1}}"#)
        let value = reader.nested("a") { value, pointer throws(ValidationFailure) in
            #expect(pointer == "#/a")
            return value
        }
        #expect(value == .object([.init("b", .number("1"))]))
        #expect(issues(reader).isEmpty)
    }

    @Test("what is no object cannot be read", arguments: ["1", "null", "[]", #""text""#, "true"])
    func notAnObject(text: String) throws {
        let value = try JSONParser.parse(text.utf8)
        #expect(throws: ValidationFailure("#", "must be an object")) { try ObjectReader(value) }
        #expect(throws: ValidationFailure("#/lines/0", "must be an object")) {
            try ObjectReader(value, at: "#/lines/0")
        }
    }

    @Test("a caller's own fault is kept with the others, in order")
    func ownIssue() throws {
        var reader = try reader(#"{"a":1,"z":2}"#)
        _ = reader.integer("a", in: 0...9)
        reader.issue("a", "is odd")
        #expect(
            issues(reader) == [ValidationIssue("#/a", "is odd"), ValidationIssue("#/z", "is not a known field")])
    }

    @Test("at most 20 faults are told, the first ones")
    func cap() throws {
        let members = (0..<50).map { #""m\#($0)":0"# }.joined(separator: ",")
        let told = issues(try reader("{\(members)}"))
        #expect(told.map(\.pointer) == (0..<20).map { "#/m\($0)" })
    }
}
