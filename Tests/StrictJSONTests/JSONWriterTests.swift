import StrictJSON
import Testing

@Suite("JSON writer")
struct JSONWriterTests {
    private func text(_ write: (inout JSONWriter) -> Void) -> String {
        String(decoding: JSONWriter.bytes(write), as: UTF8.self)
    }

    @Test("members are written in the order given, with commas between them")
    func members() {
        let written = text { json in
            json.object { json in
                json.string("name", "sample item")
                json.string("made in place", plain: 3) { room in
                    for index in 0..<3 { room[index] = 0x61 + UInt8(index) }
                }
                json.integer("quantity", -2)
                json.number("fee", "20.00")
                json.bool("open", true)
                json.bool("closed", false)
                json.null("nothing")
                json.object("empty") { _ in }
                json.array("none") { _ in }
                json.object("price") { json in
                    json.integer("amount", Int64.max)
                    json.string("currency", "USD")
                }
                json.array("lines") { json in
                    json.object { $0.integer("itemId", 1) }
                    json.object { $0.integer("itemId", 2) }
                    json.array { $0.number("3") }
                    json.string("four")
                }
                json.string("last", "")
            }
        }
        #expect(
            written == """
                {"name":"sample item","made in place":"abc","quantity":-2,"fee":20.00,"open":true,"closed":false,"nothing":null,"empty":{},\
                "none":[],"price":{"amount":9223372036854775807,"currency":"USD"},\
                "lines":[{"itemId":1},{"itemId":2},[3],"four"],"last":""}
                """)
    }

    @Test(
        "a whole number has all its digits", arguments: [0, 7, 9, 10, -1, -10, 99, 100, 12_345, .max, .min] as [Int64])
    func integers(number: Int64) {
        #expect(text { json in json.object { $0.integer("n", number) } } == #"{"n":\#(String(number))}"#)
    }

    @Test("a sum may be larger than any of its parts", arguments: [.max, .min, 0] as [Int128])
    func sums(number: Int128) {
        #expect(text { json in json.object { $0.integer("n", number) } } == #"{"n":\#(String(number))}"#)
    }

    @Test("a text grows beyond the room that it began with", arguments: [0, 1, 2, 16, 512], [0, 1, 15, 16, 17, 5000])
    func growth(capacity: Int, length: Int) {
        let long = String(repeating: "x", count: length)
        var json = JSONWriter(capacity: capacity)
        json.array { json in
            json.string(long)
            json.raw(Array(long.utf8))
            json.number(long)
            json.object { $0.string("p", plain: length) { room in room.update(repeating: UInt8(ascii: "x")) } }
        }
        #expect(json.bytes == Array("[\"\(long)\",\(long),\(long),{\"p\":\"\(long)\"}]".utf8))
    }

    @Test("a value written before is put in as it is")
    func raw() {
        let written = text { json in
            json.object { json in
                json.name("first")
                json.raw(Array(#"{"a":1}"#.utf8))
                json.array("all") { json in
                    json.raw(Array("1".utf8))
                    json.raw(Array("2".utf8))
                }
            }
        }
        #expect(written == #"{"first":{"a":1},"all":[1,2]}"#)
    }

    @Test(
        "characters that could end a line or a string are escaped",
        arguments: [
            ("\r", #"\r"#), ("\n", #"\n"#), ("\r\n", #"\r\n"#), ("\t", #"\t"#), ("\"", #"\""#), (#"\"#, #"\\"#),
            ("\u{0}", #"\u0000"#), ("\u{8}", #"\u0008"#), ("\u{C}", #"\u000c"#), ("\u{1B}[31m", #"\u001b[31m"#),
            ("\u{1F}", #"\u001f"#), ("\u{7F}", #"\u007f"#), ("/", "/"), ("é😀", "é😀"),
        ])
    func escapes(value: String, written: String) {
        #expect(text { $0.string(value) } == "\"\(written)\"")
    }

    @Test(
        "what is to be escaped may stand anywhere in a string, and what is around it stays as it is",
        arguments: [
            ("", ""), ("plain", "plain"), ("\"a", #"\"a"#), ("a\"", #"a\""#), ("a\"b", #"a\"b"#), ("\"\"", #"\"\""#),
            ("a\n\nb", #"a\n\nb"#), ("\n", #"\n"#), ("a\u{0}b\\c\u{7F}d", #"a\u0000b\\c\u007fd"#),
            ("é\t😀\r\nß", #"é\t😀\r\nß"#), (#"\u0041"#, #"\\u0041"#), ("e\u{301}\"\u{301}", "e\u{301}\\\"\u{301}"),
            (String(repeating: "a", count: 1000) + "\"", String(repeating: "a", count: 1000) + #"\""#),
        ])
    func runs(value: String, written: String) {
        #expect(text { $0.string(value) }.utf8.elementsEqual("\"\(written)\"".utf8))
        #expect(text { json in json.object { $0.string(escaping: value, value) } } == "{\"\(written)\":\"\(written)\"}")
    }

    @Test("what is to be escaped is found at every place of a string of every length", arguments: 0..<26)
    func everyPlace(length: Int) throws {
        for place in 0..<length {
            for special in ["\u{0}", "\u{1F}", "\"", "\\", "\u{7F}", "é", "\u{80}", " ", "!", "#", "[", "]", "~"] {
                let string =
                    String(repeating: "a", count: place) + special + String(repeating: "a", count: length - place - 1)
                let bytes = JSONWriter.bytes { $0.string(string) }
                #expect(bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
                #expect(try JSONParser.parse(bytes).string == string)
            }
        }
    }

    @Test("a line feed ends a line after its value")
    func line() {
        let written = text { json in
            json.object { $0.string("a", "b\n") }
            json.endLine()
        }
        #expect(written == #"{"a":"b\n"}"# + "\n")
    }

    @Test("no string puts a control character into the text")
    func noControlCharacters() {
        let everything = String(String.UnicodeScalarView((0...0xFF).map { Unicode.Scalar(UInt8($0)) }))
        let bytes = JSONWriter.bytes { json in
            json.object { $0.string(escaping: everything, everything) }
        }
        #expect(bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
    }

    @Test("what is written reads back as the same value")
    func roundTrip() throws {
        let everything = String(String.UnicodeScalarView((0...0x2FF).compactMap { Unicode.Scalar(UInt32($0)) }))
        for string in ["", "plain", everything, "\r\n\"\\/\u{2028}\u{2029}", "😀\u{10FFFF}\u{FFFF}\u{0}"] {
            let bytes = JSONWriter.bytes { json in
                json.object { json in
                    json.string(escaping: string, string)
                    json.array("list") { json in
                        json.string(string)
                        json.number("1e400")
                    }
                }
            }
            let expected = JSONValue.object([
                .init(string, .string(string)), .init("list", .array([.string(string), .number("1e400")])),
            ])
            #expect(try JSONParser.parse(bytes).tree == expected)
        }
    }

    @Test(
        "a decimal has all the digits after its point",
        arguments: [
            (2000, 2, "20.00"), (-5, 2, "-0.05"), (0, 2, "0.00"), (99, 2, "0.99"), (100, 2, "1.00"), (500, 0, "500"),
            (-1, 0, "-1"),
            (1250, 3, "1.250"), (7, 3, "0.007"), (.max, 2, "92233720368547758.07"), (.min, 3, "-9223372036854775.808"),
        ] as [(Int64, Int, String)])
    func decimals(units: Int64, exponent: Int, expected: String) {
        let written = text { json in
            json.object { json in
                json.decimal("a", units, exponent: exponent)
                json.decimal("b", 1, exponent: 0)
            }
        }
        #expect(written == "{\"a\":\(expected),\"b\":1}")
    }

    @Test("a character is escaped wherever among others it stands")
    func escapesAnywhere() throws {
        for character in ["\"", "\\", "\u{7F}", "\n", "\u{0}", "\u{1F}", "é", "\u{80}", " ", "!", "~"] {
            for before in 0..<20 {
                for after in [0, 1, 7, 8, 9] {
                    let string =
                        String(repeating: "x", count: before) + character + String(repeating: "y", count: after)
                    let written = text { $0.string(string) }
                    #expect(try JSONParser.parse(written.utf8).string == string)
                    #expect(written.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
                    let isPlain = ![UInt8](string.utf8).contains { $0 < 0x20 || $0 == 0x22 || $0 == 0x5C || $0 == 0x7F }
                    #expect((written == "\"\(string)\"") == isPlain)
                }
            }
        }
    }
}
