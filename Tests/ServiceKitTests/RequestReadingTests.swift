import HTTPTypes
import Hummingbird
import Idempotency
import NIOCore
import ServiceKit
import StrictJSON
import TestSupport
import Testing

@Suite("Request reading")
struct RequestReadingTests {
    /// A service whose one route gives back how it understood the body.
    private func fixture() throws -> ServiceFixture {
        ServiceFixture(try TestEnvironment(migrations: [])) { routes in
            routes.post("/json") { request, context in
                guard let text = try request.json(context).string else { return .json { $0.object { _ in } } }
                return .json { $0.object { $0.integer("length", text.utf8.count) } }
            }
        }
    }

    private func answer(_ body: String, headers: [(name: String, value: String)]) async throws -> Answer {
        try await fixture().answer(.post, "/json", headers: HTTPFields(headers), body: body)
    }

    private func request(
        _ headers: [(name: String, value: String)], path: String = "/"
    ) throws -> Request {
        Request(
            head: HTTPRequest(
                method: .post, scheme: "http", authority: "localhost", path: path, headerFields: try HTTPFields(headers)
            ),
            body: RequestBody(buffer: ByteBuffer()))
    }

    // MARK: Bodies

    @Test(
        "JSON is read under its media type, in any case and with the charset that it always has (HT-07)",
        arguments: [
            "application/json", "APPLICATION/JSON", "Application/Json; Charset=UTF-8", "application/json;charset=utf-8",
            "application/json ; charset=\"utf-8\"", "application/json;\tcharset=UTF-8 ",
        ])
    func contentType(type: String) async throws {
        #expect(try await answer("{}", headers: [("Content-Type", type)]).status == 200)
    }

    @Test(
        "another media type, charset or parameter is a 415 (HT-07)",
        arguments: [
            nil, "", "text/plain", "application/jsonx", "application/json-patch+json", "application/problem+json",
            "json",
            "*/*", "application/json; charset=latin1", "application/json; charset=utf-16", "application/json;",
            "application/json; charset", "application/json; version=1", "application/json, application/json",
            "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        ] as [String?])
    func badContentType(type: String?) async throws {
        try await answer("{}", headers: type.map { [("Content-Type", $0)] } ?? []).expectProblem(.unsupportedMediaType)
    }

    @Test("two media types, or a body that is encoded further, are a 415 (HT-07)")
    func encoding() async throws {
        let json = (name: "Content-Type", value: "application/json")
        try await answer("{}", headers: [json, json]).expectProblem(.unsupportedMediaType)
        for coding in ["gzip", "identity", "br"] {
            try await answer("{}", headers: [json, ("Content-Encoding", coding)]).expectProblem(.unsupportedMediaType)
        }
    }

    @Test(
        "a body that is not one JSON value is a 400 (HT-01)",
        arguments: ["", " ", "{", "{}}", #"{"a":}"#, "nope", "\u{FEFF}{}", "{'a':1}"])
    func badJSON(body: String) async throws {
        let answer = try await answer(body, headers: [("Content-Type", "application/json")])
        try answer.expectProblem(.invalidJSON)
        #expect(try answer.member("retryable") == .bool(false))
    }

    @Test("a body of 64 KiB is read and one byte more is a 413 that closes the connection (HT-08)")
    func size() async throws {
        func body(_ bytes: Int) -> String { "\"" + String(repeating: "x", count: bytes - 2) + "\"" }
        let json = [(name: "Content-Type", value: "application/json")]
        let largest = try await answer(body(65_536), headers: json)
        #expect(largest.status == 200)
        #expect(try largest.member("length") == .number("65534"))
        for size in [65_537, 1_000_000] {
            let tooLarge = try await answer(body(size), headers: json)
            try tooLarge.expectProblem(.payloadTooLarge)
            #expect(tooLarge.header("Connection") == "close")
        }
    }

    // MARK: Keys

    @Test("a key is read in either spelling")
    func key() throws {
        for header in ["abc-123", "\"abc-123\""] {
            let request = try request([("Idempotency-Key", header)])
            #expect(try request.idempotencyKey().value == "abc-123")
            #expect(try request.optionalIdempotencyKey()?.value == "abc-123")
        }
    }

    @Test("IK-01: a key that must be there and is not is a 400; one that may be left out is nil")
    func missingKey() throws {
        let request = try request([])
        let problem = #expect(throws: Problem.self) { try request.idempotencyKey() }
        #expect(problem?.kind == .idempotencyKeyMissing)
        #expect(try request.optionalIdempotencyKey() == nil)
    }

    @Test(
        "IK-02 to IK-07: a key that is not valid, or sent twice, is a 400 that does not repeat it",
        arguments: [
            [""], [#""""#], ["sec ret"], ["sec,ret"], ["\"secret"], ["sécret"], [String(repeating: "s", count: 256)],
            ["secret", "secret"], ["secret", "secret2"],
        ])
    func badKey(values: [String]) throws {
        let request = try request(values.map { ("Idempotency-Key", $0) })
        for read in [{ _ = try request.idempotencyKey() }, { _ = try request.optionalIdempotencyKey() }] {
            let problem = #expect(throws: Problem.self) { try read() }
            #expect(problem?.kind == .idempotencyKeyInvalid)
            #expect(problem?.detail.contains("secret") == false)
        }
    }

    // MARK: Pages

    @Test(
        "a page is what the query asks for, 20 entries by default",
        arguments: [
            ("/orders", 20, nil), ("/orders?limit=1", 1, nil), ("/orders?limit=100", 100, nil),
            ("/orders?cursor=abc", 20, "abc"), ("/orders?limit=5&cursor=abc", 5, "abc"),
            ("/orders?cursor=\(String(repeating: "c", count: 128))", 20, String(repeating: "c", count: 128)),
        ])
    func page(path: String, limit: Int, cursor: String?) throws {
        let page = try request([], path: path).page()
        #expect(page.limit == limit)
        #expect(page.cursor == cursor)
    }

    @Test(
        "a page that cannot be is a 400",
        arguments: [
            "limit=0", "limit=101", "limit=-1", "limit=1.5", "limit=abc", "limit=", "limit=99999999999999999999",
            "cursor=",
            "cursor=\(String(repeating: "c", count: 129))", "offset=1", "Limit=1",
        ])
    func badPage(query: String) throws {
        let request = try request([], path: "/orders?\(query)")
        let problem = #expect(throws: Problem.self) { try request.page() }
        #expect(problem?.kind == .invalidParameter)
    }
}
