import StrictJSON
import Testing

@Suite("JSON parser")
struct JSONParserTests {
    private func parse(_ text: String) throws(JSONSyntaxError) -> JSONValue { try JSONParser.parse(text.utf8).tree }

    @Test(
        "each kind of value is read as it was written",
        arguments: [
            ("null", .null), ("true", .bool(true)), ("false", .bool(false)), (#""""#, .string("")),
            (#""text""#, .string("text")), ("[]", .array([])), ("{}", .object([])), ("[ ]", .array([])),
            ("{ }", .object([])), (" \t\r\n1 \t\r\n", .number("1")),
            ("[1,[2],{}]", .array([.number("1"), .array([.number("2")]), .object([])])),
            (
                #" { "a" : [ true , null ] , "b" : { "c" : "d" } } "#,
                .object([
                    .init("a", .array([.bool(true), .null])), .init("b", .object([.init("c", .string("d"))])),
                ])
            ),
        ] as [(String, JSONValue)])
    func values(text: String, value: JSONValue) throws {
        #expect(try parse(text) == value)
    }

    @Test(
        "the text of a number is kept, of any size and precision",
        arguments: [
            "0", "-0", "20.00", "1e400", "-1E-7", "1e+2", "0.1000", "123456789012345678901234567890", "0e0", "-0.0",
            "3.141592653589793238462643383279",
        ])
    func numbers(text: String) throws {
        #expect(try parse(text) == .number(text))
        #expect(try parse("[\(text)]") == .array([.number(text)]))
    }

    @Test("members keep their order and their duplicates")
    func duplicates() throws {
        let value = try parse(#"{"b":1,"a":2,"b":3}"#)
        #expect(
            value == .object([.init("b", .number("1")), .init("a", .number("2")), .init("b", .number("3"))]))
    }

    @Test(
        "escapes stand for their characters",
        arguments: [
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u0041\u00e9\u20AC""#, "Aé€"),
            (#""\u0000""#, "\u{0}"),
            (#""\ud83d\ude00""#, "😀"), (#""\uD83D\uDE00!""#, "😀!"), (#""a\u000ab""#, "a\nb"),
            (#""\uffff""#, "\u{FFFF}"),
            (#""\ud800\udc00\udbff\udfff""#, "\u{10000}\u{10FFFF}"), ("\"é€😀\u{7F}\"", "é€😀\u{7F}"),
        ])
    func escapes(text: String, expected: String) throws {
        let value = try parse(text)
        guard case .string(let string) = value else {
            Issue.record("not a string: \(value)")
            return
        }
        // By scalars: a string's own equality would overlook a change of normal form.
        #expect(Array(string.unicodeScalars) == Array(expected.unicodeScalars))
    }

    @Test("an escape in a member's name is undone")
    func escapedName() throws {
        #expect(try parse(#"{"\u0061":1}"#) == .object([.init("a", .number("1"))]))
    }

    @Test(
        "text that is not one JSON value is refused, and the error says how far it was good",
        arguments: [
            // No value at all.
            ("", 0), ("   ", 3), ("\u{FEFF}1", 0),
            // Words.
            ("tru", 3), ("nul", 3), ("True", 0), ("nan", 1), ("undefined", 0), ("truth", 3), ("'a'", 0),
            // Numbers.
            ("-", 1), ("+1", 0), (".5", 0), ("1.", 2), ("1.e1", 2), ("1e", 2), ("1e+", 3), ("--1", 1), ("01", 1),
            ("-01", 2), ("0x1", 1), ("1.5.2", 3), ("Infinity", 0), ("-Infinity", 1), ("NaN", 0),
            // Strings.
            (#"""#, 1), (#""abc"#, 4), (#""\x""#, 2), (#""\"#, 2), ("\"a\nb\"", 2), ("\"a\tb\"", 2), ("\"\u{0}\"", 1),
            ("\"\\n\u{1F}\"", 3), (#""\u12"#, 2), (#""\u12g4""#, 5),
            // Arrays.
            ("[", 1), ("[1", 2), ("[1,", 3), ("[1,]", 3), ("[,1]", 1), ("[1 2]", 3), ("[1}", 2), ("]", 0),
            // Objects.
            ("{", 1), (#"{"a"}"#, 4), (#"{"a":}"#, 5), (#"{"a":1"#, 6), (#"{"a":1,"#, 7), (#"{"a":1,}"#, 7),
            (#"{"a":1 "b":2}"#, 7), ("{a:1}", 1), ("{1:2}", 1), ("{,}", 1), (#"{"a" 1}"#, 5), (#"{"a":1]"#, 6),
            ("}", 0),
            // Comments are not JSON.
            ("/* */1", 0), ("1 // one", 2),
        ])
    func syntaxErrors(text: String, offset: Int) throws {
        let error = try #require(throws: JSONSyntaxError.self) { try parse(text) }
        #expect(error.offset == offset)
        #expect(!error.reason.isEmpty)
    }

    @Test("anything after the value is refused", arguments: ["1 2", "{}{}", "{}x", "[]]", "nullnull", "1,", "1\u{0}"])
    func trailing(text: String) throws {
        let error = try #require(throws: JSONSyntaxError.self) { try parse(text) }
        #expect(error.reason == "more text after the value")
    }

    @Test(
        "half of a surrogate pair is refused",
        arguments: [
            #""\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#, #""\ud83d\u0041""#, #""\ud83d\ud83d""#, #""\ude00""#,
            #""\ude00\ud83d""#, #""\udbff\u""#,
        ])
    func surrogates(text: String) {
        #expect(throws: JSONSyntaxError.self) { try parse(text) }
    }

    @Test(
        "bytes that are not UTF-8 are refused",
        arguments: [
            [0x80], [0xC0, 0x80], [0xC3], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF],
            [0x61, 0xE9, 0x62],
        ] as [[UInt8]])
    func invalidUTF8(bytes: [UInt8]) {
        let quote = UInt8(ascii: "\"")
        #expect(throws: JSONSyntaxError.self) { try JSONParser.parse([quote] + bytes + [quote]) }
        #expect(throws: JSONSyntaxError.self) { try JSONParser.parse(Array(#""\n"#.utf8) + bytes + [quote]) }
        #expect(throws: JSONSyntaxError.self) {
            try JSONParser.parse(Array(#"{""#.utf8) + bytes + Array(#"":1}"#.utf8))
        }
    }

    @Test("the end of a string and what may not stand in it are found at every place", arguments: 0..<26)
    func everyPlace(length: Int) throws {
        let filling = String(repeating: "a", count: length)
        #expect(try parse("[\"\(filling)\",1]") == .array([.string(filling), .number("1")]))
        #expect(try parse("[\"\(filling)\\n\(filling)\"]") == .array([.string("\(filling)\n\(filling)")]))
        for byte in [0x00, 0x1F, 0x0A] as [UInt8] {
            let bytes = Array("\"\(filling)".utf8) + [byte] + Array("bbbbbbbbbbbb\"".utf8)
            let error = #expect(throws: JSONSyntaxError.self) { try JSONParser.parse(bytes) }
            #expect(error?.offset == length + 1)
        }
        let broken = Array("\"\(filling)".utf8) + [0xFF] + Array("bbbbbbbbbbbb\"".utf8)
        #expect(throws: JSONSyntaxError.self) { try JSONParser.parse(broken) }
    }

    @Test("a byte order mark before the value is refused")
    func byteOrderMark() {
        #expect(throws: JSONSyntaxError.self) { try JSONParser.parse([0xEF, 0xBB, 0xBF] + Array("{}".utf8)) }
    }

    @Test("arrays and objects nest as deep as the limit and no deeper")
    func depth() throws {
        let limit = JSONParser.maximumDepth
        func nestedArrays(_ levels: Int) -> String {
            String(repeating: "[", count: levels) + "1" + String(repeating: "]", count: levels)
        }
        func nestedObjects(_ levels: Int) -> String {
            String(repeating: #"{"a":"#, count: levels) + "1" + String(repeating: "}", count: levels)
        }
        #expect(throws: Never.self) { try parse(nestedArrays(limit)) }
        #expect(throws: Never.self) { try parse(nestedObjects(limit)) }
        let nothingInside = String(repeating: "[", count: limit + 1) + String(repeating: "]", count: limit + 1)
        for text in [nestedArrays(limit + 1), nestedObjects(limit + 1), nothingInside] {
            let error = try #require(throws: JSONSyntaxError.self) { try parse(text) }
            #expect(error.reason == "nested too deeply")
        }
    }

    @Test("a hostile depth ends in an error and not in a full stack")
    func hostileDepth() {
        #expect(throws: JSONSyntaxError.self) { try parse(String(repeating: "[", count: 65_536)) }
        #expect(throws: JSONSyntaxError.self) { try parse(String(repeating: #"{"a":"#, count: 10_000)) }
    }

    @Test("every cut of a message is refused")
    func cuts() throws {
        let text = Array(#"{"itemId":1,"lines":[{"name":"\u00e9\n","price":-1.5e3},true,null]}"#.utf8)
        #expect(throws: Never.self) { try JSONParser.parse(text) }
        for length in 0..<text.count {
            #expect(throws: JSONSyntaxError.self) { try JSONParser.parse(text.prefix(length)) }
        }
    }
}
