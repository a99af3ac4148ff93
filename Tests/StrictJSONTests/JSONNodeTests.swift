import StrictJSON
import Testing

@Suite("JSON node")
struct JSONNodeTests {
    private func node(_ text: String) throws -> JSONNode { try JSONParser.parse(text.utf8) }

    @Test("a value is what it is and nothing else")
    func kinds() throws {
        let elements = try #require(try node(#"[null,true,false,-1.50,"é\n",[],{}]"#).elements)
        #expect(elements.map(\.isNull) == [true, false, false, false, false, false, false])
        #expect(elements.map(\.bool) == [nil, true, false, nil, nil, nil, nil])
        #expect(elements.map(\.number) == [nil, nil, nil, "-1.50", nil, nil, nil])
        #expect(elements.map(\.string) == [nil, nil, nil, nil, "é\n", nil, nil])
        #expect(elements.map { $0.elements?.count } == [nil, nil, nil, nil, nil, 0, nil])
        #expect(elements.map(\.isObject) == [false, false, false, false, false, false, true])
        #expect(JSONNode.null.isNull)
    }

    @Test("a member is found behind values that hold members of the same name")
    func nested() throws {
        let value = try node(#"{"b":{"a":1},"c":[{"a":2},[{"a":3}]],"a":4,"d":{}}"#)
        #expect(value.member("a")?.number == "4")
        #expect(value.member("b")?.member("a")?.number == "1")
        #expect(value.member("d")?.member("a") == nil)
        #expect(value.member("e") == nil)
        #expect(value.member("c")?.member("a") == nil)
        #expect(value.member("c")?.elements?.last?.elements?.first?.member("a")?.number == "3")
    }

    @Test(
        "a name is found however it is written",
        arguments: [
            (#""name""#, "name"), (#""\u006eame""#, "name"), (#""nam\u0065""#, "name"), (#""a\"b""#, "a\"b"),
            (#""é\ud83d\ude00""#, "é😀"), (#""""#, ""),
            (#""a name that is longer than fifteen bytes""#, "a name that is longer than fifteen bytes"),
        ])
    func names(written: String, name: String) throws {
        let value = try node("{\"x\":0,\(written):1}")
        #expect(value.member(name)?.number == "1")
        #expect(value.member(name + "z") == nil)
        #expect(value.tree == .object([.init("x", .number("0")), .init(name, .number("1"))]))
    }

    @Test("names of one length are told apart by any of their characters", arguments: 1..<26)
    func names(length: Int) throws {
        let name = String(repeating: "a", count: length)
        for place in 0..<length {
            let other = String(repeating: "a", count: place) + "b" + String(repeating: "a", count: length - place - 1)
            let object = try node(#"{"\#(other)":1,"\#(name)":2}"#)
            #expect(object.member(name)?.number == "2")
            #expect(object.member(other)?.number == "1")
        }
    }

    @Test("the first of several members with a name is found")
    func first() throws {
        #expect(try node(#"{"a":1,"\u0061":2,"a":3}"#).member("a")?.number == "1")
    }

    @Test(
        "a whole number is read to the last that fits, and nothing else is one",
        arguments: [
            ("0", 0), ("-0", 0), ("7", 7), ("-12", -12), ("9223372036854775807", .max), ("-9223372036854775808", .min),
            ("9223372036854775808", nil), ("-9223372036854775809", nil), ("99999999999999999999", nil),
            ("18446744073709551616", nil), ("1.0", nil), ("1e3", nil), ("1E0", nil), (#""1""#, nil), ("null", nil),
            ("[1]", nil),
        ] as [(String, Int64?)])
    func integers(text: String, number: Int64?) throws {
        #expect(try node(text).integer == number)
        #expect(try node(" \(text) ").integer == number)
    }

    @Test("two values are equal when they say the same, whatever stands between")
    func equality() throws {
        #expect(try node(#"{"a":[1,"é"]}"#) == node(#" { "\u0061" : [ 1 , "\u00e9" ] } "#))
        #expect(try node(#"{"a":1,"b":2}"#) != node(#"{"b":2,"a":1}"#))
        #expect(try node("1.0") != node("1"))
    }
}
