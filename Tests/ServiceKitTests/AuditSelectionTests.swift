import AuditAPI
import Hummingbird
import NIOCore
import ServiceKit
import Testing

@Suite("What an audit route is asked for")
struct AuditSelectionTests {
    private func request(_ query: String) -> Request {
        Request(
            head: HTTPRequest(method: .get, scheme: "http", authority: "localhost", path: "/audit/x?\(query)"),
            body: RequestBody(buffer: ByteBuffer()))
    }

    @Test("nothing asked for is the first page, as large as a page may be")
    func first() throws {
        let selection = try request("").auditSelection()
        #expect(selection.ids.isEmpty)
        #expect(selection.cursor == nil)
        #expect(selection.limit == AuditLimits.page.upperBound)
        #expect(selection.keys.isEmpty)
    }

    @Test("a page is asked for by limit and cursor, which may be any id that a service has taken")
    func page() throws {
        let selection = try request("limit=3&cursor=a%20b%26%C3%BC").auditSelection()
        #expect(selection.limit == 3)
        #expect(selection.cursor == "a b&ü")
        let long = String(repeating: "%F0%9F%98%80", count: 128)
        #expect(try request("cursor=\(long)").auditSelection().cursor?.utf8.count == 512)
    }

    @Test("records are asked for by their ids, and where a route takes keys, with these")
    func byID() throws {
        let selection = try request("id=a&key=k&id=b%22").auditSelection(takesKeys: true)
        #expect(selection.ids == ["a", "b\""])
        #expect(selection.keys == ["k"])
        #expect(selection.idsJSON == #"["a","b\""]"#)
        #expect(selection.keysJSON == #"["k"]"#)
    }

    @Test(
        "what cannot be is a 400",
        arguments: [
            "limit=0", "limit=201", "limit=x", "cursor=", "id=", "key=k", "other=1",
            "cursor=\(String(repeating: "c", count: 513))",
            Array(repeating: "id=a", count: 65).joined(separator: "&"),
        ])
    func bad(query: String) {
        let problem = #expect(throws: Problem.self) { try request(query).auditSelection() }
        #expect(problem?.kind == .invalidParameter)
    }

    @Test("a route that gives no records by id refuses to be asked for them")
    func noIDs() {
        #expect(throws: Problem.self) { try request("id=1").auditSelection(byID: false) }
    }
}
