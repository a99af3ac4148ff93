import Idempotency
import Testing

@Suite("Idempotency key")
struct IdempotencyKeyTests {
    @Test(
        "IK-03, IK-05: a bare key and the same key in quotes are one key",
        arguments: [
            "abc-123", "a", "0", "8e03978e-40d5-43dd-bc93-6894a57f9324", "!#$%&()*+-./:;<=>?@[]^_`{|}~",
            String(repeating: "k", count: 255),
        ])
    func bareAndQuoted(value: String) throws {
        let bare = try IdempotencyKey(headerValue: value)
        let quoted = try IdempotencyKey(headerValue: "\"\(value)\"")
        #expect(bare.value == value)
        #expect(bare == quoted)
        #expect(bare == IdempotencyKey(stored: value))
    }

    @Test(
        "blanks around the value belong to the header and not to the key",
        arguments: [" abc ", "\tabc", "abc \t ", " \"abc\" "])
    func surroundingBlanks(header: String) throws {
        #expect(try IdempotencyKey(headerValue: header).value == "abc")
    }

    @Test(
        "a quoted key may have what a bare one may not: commas, quotes and backslashes",
        arguments: [
            (#""a,b""#, "a,b"), (#""a\"b""#, #"a"b"#), (#""a\\b""#, #"a\b"#), (#""\"\"""#, #""""#), (#""'a'""#, "'a'"),
        ])
    func quoted(header: String, value: String) throws {
        #expect(try IdempotencyKey(headerValue: header).value == value)
    }

    @Test("IK-02: an empty key is refused", arguments: ["", " ", "\t \t", #""""#, #" "" "#])
    func empty(header: String) {
        #expect(throws: IdempotencyKeyError.empty) { try IdempotencyKey(headerValue: header) }
    }

    @Test("IK-03: 255 characters are counted after unquoting, and 256 are refused")
    func length() throws {
        let longest = String(repeating: "k", count: 255)
        #expect(throws: IdempotencyKeyError.tooLong) { try IdempotencyKey(headerValue: longest + "k") }
        #expect(throws: IdempotencyKeyError.tooLong) { try IdempotencyKey(headerValue: "\"\(longest)k\"") }
        let escaped = String(repeating: #"\""#, count: 255)
        #expect(try IdempotencyKey(headerValue: "\"\(escaped)\"").value == String(repeating: "\"", count: 255))
        #expect(throws: IdempotencyKeyError.tooLong) { try IdempotencyKey(headerValue: "\"\(escaped)k\"") }
    }

    @Test(
        "IK-04: blanks, control characters and characters outside ASCII are refused in both forms",
        arguments: ["a b", "a\tb", "a\u{0}b", "a\rb", "a\nb", "a\r\nb", "a\u{1F}", "a\u{7F}", "é", "a😀", "a\u{A0}b"])
    func invalidCharacter(value: String) {
        #expect(throws: IdempotencyKeyError.invalidCharacter) { try IdempotencyKey(headerValue: value) }
        #expect(throws: IdempotencyKeyError.invalidCharacter) { try IdempotencyKey(headerValue: "\"\(value)\"") }
    }

    @Test(
        "IK-04: blanks inside the quotes are refused, also at their edges",
        arguments: [#"" abc""#, #""abc ""#, #"" ""#])
    func blankInQuotes(header: String) {
        #expect(throws: IdempotencyKeyError.invalidCharacter) { try IdempotencyKey(headerValue: header) }
    }

    @Test(
        "IK-04, IK-06, IK-07: commas in the bare form, bad quotation, unknown escapes and lists are refused",
        arguments: [
            "a,b", ",", "abc,", "\"a", "\"", "a\"", "a\"b", "'a'", "a'b", #"a\b"#, #""a\nb""#, #""a\x41""#, #""a\"#,
            #""a\""#,
            #""a"b"#, #""a""b""#, #""a", "b""#, #""a","b""#, #""a";p=1"#,
        ])
    func malformed(header: String) {
        #expect(throws: IdempotencyKeyError.malformed) { try IdempotencyKey(headerValue: header) }
    }

    @Test("keys differ by case")
    func caseSensitive() throws {
        #expect(try IdempotencyKey(headerValue: "abc") != IdempotencyKey(headerValue: "ABC"))
    }
}
