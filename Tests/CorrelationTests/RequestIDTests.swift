import Correlation
import Testing

@Suite("Request id")
struct RequestIDTests {
    @Test(
        "an id of letters, digits, dots, underscores and dashes is kept as it is (NX-04)",
        arguments: ["a", "abc-123", "A.b_C-9", "-", "...", String(repeating: "x", count: 128)])
    func valid(value: String) throws {
        let id = try #require(RequestID(value))
        #expect(id.value == value)
        #expect(id.description == value)
    }

    @Test(
        "an id of another form is refused",
        arguments: [
            "", " ", "a b", "a,b", "a/b", "a:b", "a\"b", "a\r\nb", "a\u{0}", "é", "abc ", "a+b", "a=b", "{}", "\u{661}",
            String(repeating: "x", count: 129),
        ])
    func invalid(value: String) {
        #expect(RequestID(value) == nil)
    }

    @Test("a new id is 32 hexadecimal digits, itself well-formed, and no two are equal")
    func made() {
        let ids = (0..<1000).map { _ in RequestID() }
        #expect(Set(ids).count == 1000)
        for id in ids {
            #expect(id.value.utf8.count == 32)
            #expect(RequestID(id.value) == id)
        }
        #expect(RequestID { 0xAB }.value == "00000000000000ab00000000000000ab")
    }
}
