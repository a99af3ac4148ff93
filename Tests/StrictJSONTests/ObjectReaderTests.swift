import StrictJSON
import Testing

@Suite("Object reader")
struct ObjectReaderTests {
    private func reader(_ text: String) throws -> ObjectReader {
        try ObjectReader(try JSONParser.parse(text.utf8))
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
        #expect(reader.value("extra")?.tree == .array([.number("1")]))
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
        #expect(reader.nested("g", required: false) { $0 } == nil)
        #expect(reader.nested("h") { $0 } == nil)
        #expect(reader.elements("i", required: false) { $0 } == nil)
        #expect(reader.elements("j") { $0 } == nil)
        #expect(
            issues(reader) == [
                ValidationIssue("#/a", "is required"), ValidationIssue("#/b", "is required"),
                ValidationIssue("#/c", "is required"), ValidationIssue("#/h", "is required"),
                ValidationIssue("#/j", "is required"),
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
        var reader = try reader(#"{"name":"a\#(marks)"}"#)
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

    @Test("a member given three times is two faults, and the first value is the one that is read")
    func triplicate() throws {
        var reader = try reader(#"{"a":1,"a":2,"a":3}"#)
        #expect(reader.integer("a", in: 0...9) == 1)
        let fault = ValidationIssue("#/a", "is given more than once")
        #expect(issues(reader) == [fault, fault])
    }

    @Test("a member that nobody asked for and that is given twice is both faults")
    func unknownDuplicate() throws {
        let reader = try reader(#"{"a":1,"a":2}"#)
        #expect(
            issues(reader) == [
                ValidationIssue("#/a", "is given more than once"), ValidationIssue("#/a", "is not a known field"),
            ])
    }

    @Test("a duplicate spelled with an escape is found")
    func escapedDuplicate() throws {
        var reader = try reader(#"{"a":1,"\u0061":2}"#)
        _ = reader.integer("a", in: 0...9)
        #expect(issues(reader) == [ValidationIssue("#/a", "is given more than once")])
    }

    @Test(
        "a pointer escapes tilde and slash, and what a fragment may not hold (RFC 6901, sections 3 and 6)",
        arguments: [
            ("a/b", "#/a~1b"), ("a~b", "#/a~0b"), ("~1", "#/~01"), ("~/", "#/~0~1"), ("", "#/"),
            ("a b%é", "#/a%20b%25%C3%A9"), ("a%20b", "#/a%2520b"), ("-._!$&'()*+,;=:@?", "#/-._!$&'()*+,;=:@?"),
        ] as [(StaticString, String)])
    func pointers(name: StaticString, pointer: String) throws {
        #expect(issues(try reader(#"{"\#(name)":1}"#)) == [ValidationIssue(pointer, "is not a known field")])
        var outer = try reader(#"{"\#(name)":{"\#(name)":1}}"#)
        outer.nested(name) { value throws(ValidationFailure) in
            var inner = try ObjectReader(value)
            try inner.finish()
        }
        #expect(issues(outer).map(\.pointer) == [pointer + pointer.dropFirst()])
    }

    @Test("faults inside nested values point to where they are")
    func nested() throws {
        var outer = try reader(#"{"lines":[{"quantity":1},{"quantity":"2","x":1},7],"open":true}"#)
        #expect(outer.elements("lines", quantity) == nil)
        #expect(outer.bool("open") == true)
        #expect(
            issues(outer) == [
                ValidationIssue("#/lines/1/quantity", "must be a whole number from 1 to 9"),
                ValidationIssue("#/lines/1/x", "is not a known field"),
                ValidationIssue("#/lines/2", "must be an object"),
            ])
    }

    private func quantity(_ line: JSONNode) throws(ValidationFailure) -> Int64? {
        var reader = try ObjectReader(line)
        let quantity = reader.integer("quantity", in: 1...9)
        try reader.finish()
        return quantity
    }

    @Test("faults at any depth point to where they are")
    func deeplyNested() throws {
        var outer = try reader(#"{"a":{"b":[{"c":0},{"c":1}]}}"#)
        outer.nested("a") { value throws(ValidationFailure) in
            var middle = try ObjectReader(value)
            _ = middle.elements("b") { value throws(ValidationFailure) in
                var inner = try ObjectReader(value)
                _ = inner.integer("c", in: 1...9)
                try inner.finish()
            }
            middle.issue("d", "is odd")
            try middle.finish()
        }
        #expect(issues(outer).map(\.pointer) == ["#/a/b/0/c", "#/a/d"])
    }

    @Test("a member given twice is a fault however its name is written, and of each name the first is read")
    func repeatedNames() throws {
        var reader = try reader(#"{"a":1,"b":2,"\u0061":3,"a":4,"c":5,"\u0063":6}"#)
        #expect(reader.integer("a", in: 1...9) == 1)
        #expect(reader.integer("b", in: 1...9) == 2)
        #expect(reader.integer("c", in: 1...9) == 5)
        let issue = "is given more than once"
        #expect(
            issues(reader) == [
                ValidationIssue("#/a", issue), ValidationIssue("#/a", issue), ValidationIssue("#/c", issue),
            ])
    }

    @Test("as many members as were asked for are not enough when another is there instead")
    func otherMember() throws {
        var reader = try reader(#"{"a":1,"x":2}"#)
        _ = reader.integer("a", in: 1...9)
        _ = reader.integer("b", in: 1...9, required: false)
        #expect(issues(reader) == [ValidationIssue("#/x", "is not a known field")])
    }

    @Test("a nested value without faults is handed on")
    func nestedGood() throws {
        var reader = try reader(#"{"a":{"b":1}}"#)
        #expect(reader.nested("a") { $0 }?.tree == .object([.init("b", .number("1"))]))
        #expect(issues(reader).isEmpty)
    }

    @Test("elements without faults are handed on in their order")
    func elements() throws {
        var reader = try reader(#"{"a":[{"quantity":3},{"quantity":1},{"quantity":2}],"none":[]}"#)
        #expect(reader.elements("a", count: 3...3, quantity) == [3, 1, 2])
        #expect(reader.elements("none", quantity) == [])
        #expect(issues(reader).isEmpty)
    }

    @Test(
        "what is no array, or one of another length, is one fault and no element is read",
        arguments: ["[]", "[7,7,7]", "{}", "1", "null", #""[7]""#])
    func badArray(value: String) throws {
        var reader = try reader(#"{"lines":\#(value)}"#)
        let read: [JSONNode]? = reader.elements("lines", count: 1...2, of: "lines") { value in
            Issue.record("an element was read")
            return value
        }
        #expect(read == nil)
        #expect(issues(reader) == [ValidationIssue("#/lines", "must be an array of 1 to 2 lines")])
    }

    @Test("an array of any length that is none says so without a length")
    func noArray() throws {
        var reader = try reader(#"{"a":1}"#)
        #expect(reader.elements("a") { $0 } == nil)
        #expect(issues(reader) == [ValidationIssue("#/a", "must be an array")])
    }

    @Test("an array of faults is read no further than their limit")
    func elementsCap() throws {
        let elements = Array(repeating: "{}", count: 50).joined(separator: ",")
        var reader = try reader(#"{"a":[\#(elements)]}"#)
        var count = 0
        let read: [Int]? = reader.elements("a") { _ throws(ValidationFailure) in
            count += 1
            throw ValidationFailure("#/x", "is wrong")
        }
        #expect(read == nil)
        #expect(count == 20)
        #expect(issues(reader).map(\.pointer) == (0..<20).map { "#/a/\($0)/x" })
    }

    @Test("what is no object cannot be read", arguments: ["1", "null", "[]", #""text""#, "true"])
    func notAnObject(text: String) throws {
        let value = try JSONParser.parse(text.utf8)
        #expect(throws: ValidationFailure("#", "must be an object")) { try ObjectReader(value) }
        var outer = try reader(#"{"lines":[\#(text)]}"#)
        _ = outer.elements("lines") { value throws(ValidationFailure) in _ = try ObjectReader(value) }
        #expect(issues(outer) == [ValidationIssue("#/lines/0", "must be an object")])
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

    @Test("64 members are read; any after them is a fault, whether it was asked for or is there already")
    func memberLimit() throws {
        let names: [StaticString] = [
            "m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11",
            "m12", "m13", "m14", "m15", "m16", "m17", "m18", "m19", "m20", "m21", "m22", "m23",
            "m24", "m25", "m26", "m27", "m28", "m29", "m30", "m31", "m32", "m33", "m34", "m35",
            "m36", "m37", "m38", "m39", "m40", "m41", "m42", "m43", "m44", "m45", "m46", "m47",
            "m48", "m49", "m50", "m51", "m52", "m53", "m54", "m55", "m56", "m57", "m58", "m59",
            "m60", "m61", "m62", "m63",
        ]
        let members = names.map { #""\#($0)":1"# }.joined(separator: ",")
        func read(_ text: String, _ names: [StaticString]) throws -> [ValidationIssue] {
            var reader = try reader(text)
            for name in names { #expect(reader.integer(name, in: 1...1) == 1) }
            return issues(reader)
        }
        #expect(try read("{\(members)}", names) == [])
        for name: StaticString in ["more", "m0"] {
            #expect(
                try read("{\(members),\"\(name)\":1}", names + [name])
                    == [ValidationIssue("#/\(name)", "is not a known field")])
        }
    }

    @Test("of more members than anybody reads only the first faults are told, however often a name is given")
    func manyDuplicates() throws {
        let members = Array(repeating: #""a":1"#, count: 5000).joined(separator: ",")
        let told = issues(try reader("{\(members)}"))
        #expect(told == Array(repeating: ValidationIssue("#/a", "is given more than once"), count: 20))
    }

    @Test("members are found in whatever order they are asked for, and again")
    func anyOrder() throws {
        let names: [StaticString] = ["a", "b", "c", "dd"]
        let text = #"{"a":0,"b":{"a":9,"c":9},"c":2,"\u0064d":3}"#
        for first in names {
            for second in names {
                for third in names {
                    var reader = try reader(text)
                    for name in [first, second, third] {
                        let found = reader.value(name)
                        let value = try #require(found)
                        let place = names.firstIndex { $0.description == name.description }
                        if place != 1 { #expect(value.integer == place.map(Int64.init)) }
                        #expect(reader.value("x") == nil)
                    }
                }
            }
        }
    }

    @Test("which names are given more than once is seen, whatever they have in common and however they are written")
    func repeatedAmongSimilar() throws {
        // All texts of up to three of these letters, some with the same length, first and last letter.
        let letters = ["a", "b", "k"]
        let names =
            letters + letters.flatMap { x in letters.map { x + $0 } }
            + letters.flatMap { x in letters.flatMap { y in letters.map { x + y + $0 } } }
        for name in names {
            for others in [names, names.reversed()] {
                let distinct = others.filter { $0 != name }.prefix(30).map { "\"\($0)\":1" }
                let escaped = name.unicodeScalars.map { "\\u00" + String($0.value, radix: 16) }.joined()
                for again in [name, escaped] {
                    let text = "{\(([#""\#(name)":1"#] + distinct + [#""\#(again)":2"#]).joined(separator: ","))}"
                    let told = issues(try reader(text)).filter { $0.detail == "is given more than once" }
                    #expect(told == [ValidationIssue("#/\(name)", "is given more than once")])
                    let once = "{\(([#""\#(again)":1"#] + distinct).joined(separator: ","))}"
                    #expect(!issues(try reader(once)).contains { $0.detail == "is given more than once" })
                }
            }
        }
    }
}
