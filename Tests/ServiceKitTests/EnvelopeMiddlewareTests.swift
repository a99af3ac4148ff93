import Correlation
import HTTPTypes
import Hummingbird
import Resilience
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

private struct SecretError: Error, CustomStringConvertible {
    let description = "password=hunter2 at /var/lib/stock.sqlite"
}

@Suite("Envelope")
struct EnvelopeMiddlewareTests {
    /// A service whose routes succeed, show what they were given, or fail in one way each.
    private func fixture(drain: DrainState = DrainState()) throws -> ServiceFixture {
        let test = try TestEnvironment(migrations: [])
        return ServiceFixture(test, drain: drain) { routes in
            routes.get("/context") { [time = test.time] _, context in
                .json { json in
                    json.object { json in
                        json.string("user", context.user)
                        json.string("requestId", context.requestID.value)
                        json.string("traceId", context.trace.traceID)
                        if let deadline = context.deadline {
                            json.integer("remaining", deadline.remaining(on: time).wholeMilliseconds)
                        }
                    }
                }
            }
            routes.put("/context") { _, _ in .json { $0.object { _ in } } }
            routes.post("/items/:id/restock") { _, _ in .json { $0.object { _ in } } }
            routes.get("/problem") { _, _ in throw Problem(.insufficientStock, "Only 1 is left.") }
            routes.get("/invalid") { _, _ in throw ValidationFailure("#/quantity", "is required") }
            routes.get("/store-full") { _, _ in throw StoreError.full }
            routes.get("/store-failed") { _, _ in throw StoreError.failed("SELECT secret FROM accounts") }
            routes.get("/unexpected") { _, _ in throw SecretError() }
        }
    }

    private func logged(_ fixture: ServiceFixture, _ message: String) throws -> [[String: JSONValue]] {
        try fixture.test.log.events(message)
    }

    // MARK: Names of the request

    @Test("a client's well-formed request id is used and given back (NX-04)")
    func requestID() async throws {
        let answer = try await fixture().answer(
            .get, "/context", headers: HTTPFields([("X-Request-ID", "abc.DEF_1-2")]))
        #expect(answer.status == 200)
        #expect(answer.header("X-Request-ID") == "abc.DEF_1-2")
        #expect(try answer.member("requestId") == .string("abc.DEF_1-2"))
    }

    @Test(
        "a request id that is missing or not well-formed is replaced by a new one",
        arguments: [nil, "", "a b", "a,b", "é", String(repeating: "x", count: 129)] as [String?])
    func newRequestID(sent: String?) async throws {
        let fixture = try fixture()
        let headers = try HTTPFields(sent.map { [("X-Request-ID", $0)] } ?? [])
        let first = try #require(try await fixture.answer(.get, "/context", headers: headers).header("X-Request-ID"))
        let second = try #require(try await fixture.answer(.get, "/context", headers: headers).header("X-Request-ID"))
        #expect(first.utf8.count == 32)
        #expect(first != second)
        #expect(first != sent)
    }

    @Test("two request ids are none: a new one is made")
    func twoRequestIDs() async throws {
        let headers = try HTTPFields([("X-Request-ID", "a"), ("X-Request-ID", "b")])
        let id = try #require(try await fixture().answer(.get, "/context", headers: headers).header("X-Request-ID"))
        #expect(id.utf8.count == 32)
    }

    @Test("the trace of the caller is continued, and an invalid one is replaced (OP-04)")
    func trace() async throws {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let fixture = try fixture()
        let continued = try await fixture.answer(.get, "/context", headers: HTTPFields([("traceparent", header)]))
        #expect(try continued.member("traceId") == .string("4bf92f3577b34da6a3ce929d0e0e4736"))
        let replaced = try await fixture.answer(.get, "/context", headers: HTTPFields([("traceparent", header + "x")]))
        #expect(try replaced.member("traceId") != .string("4bf92f3577b34da6a3ce929d0e0e4736"))
    }

    @Test("each request is one line of the log, with its route's template and not its path")
    func log() async throws {
        let fixture = try fixture()
        _ = try await fixture.answer(
            .post, "/items/17/restock",
            headers: HTTPFields([
                ("X-Request-ID", "request-1"),
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ]))
        let line = try #require(try logged(fixture, "request").first)
        #expect(line["level"] == .string("info"))
        #expect(line["service"] == .string("test"))
        #expect(line["method"] == .string("POST"))
        #expect(line["route"] == .string("/items/{id}/restock"))
        #expect(line["status"] == .number("200"))
        #expect(line["duration_ms"] == .number("0.000"))
        #expect(line["request_id"] == .string("request-1"))
        #expect(line["trace_id"] == .string("4bf92f3577b34da6a3ce929d0e0e4736"))
        #expect(line["span_id"] != nil)
        #expect(try logged(fixture, "request").count == 1)
    }

    // MARK: Problems

    @Test("a problem that a route throws becomes its document, with the request's id and path")
    func problem() async throws {
        let answer = try await fixture().answer(
            .get, "/problem?a=b", headers: HTTPFields([("X-Request-ID", "request-1")]))
        try answer.expectProblem(.insufficientStock)
        #expect(try answer.member("detail") == .string("Only 1 is left."))
        #expect(try answer.member("instance") == .string("/problem"))
        #expect(try answer.member("requestId") == .string("request-1"))
        #expect(answer.header("X-Request-ID") == "request-1")
    }

    @Test("a command that is not valid becomes a 422 with its faults")
    func invalid() async throws {
        let answer = try await fixture().answer(.get, "/invalid")
        try answer.expectProblem(.validationFailed)
        #expect(
            try answer.member("errors")
                == .array([
                    .object([.init("pointer", .string("#/quantity")), .init("detail", .string("is required"))])
                ]))
    }

    @Test(
        "an unknown path is a 404, with a request id like every answer (HT-10)", arguments: ["/nowhere", "/", "/items"])
    func notFound(path: String) async throws {
        let answer = try await fixture().answer(.get, path)
        try answer.expectProblem(.notFound)
        #expect(answer.header("Allow") == nil)
        #expect(answer.header("X-Request-ID") != nil)
        #expect(try answer.member("instance") == .string(path))
    }

    @Test(
        "a known path with another method is a 405 that lists the right ones (HT-09)",
        arguments: [
            (HTTPRequest.Method.post, "/context", "GET, HEAD, PUT"), (.delete, "/context", "GET, HEAD, PUT"),
            (.options, "/context", "GET, HEAD, PUT"), (.get, "/items/1/restock", "POST"),
            (.post, "/health", "GET, HEAD"), (.delete, "/health/ready", "GET, HEAD"),
        ])
    func methodNotAllowed(method: HTTPRequest.Method, path: String, allow: String) async throws {
        let answer = try await fixture().answer(method, path)
        try answer.expectProblem(.methodNotAllowed)
        #expect(answer.header("Allow") == allow)
    }

    @Test(
        "a path with a slash too many is a 404 and reaches no route (HT-10, hazard 67)",
        arguments: ["/context/", "//context", "/context//", "/health/", "/health//ready", "//", "/items//restock"])
    func slashes(path: String) async throws {
        try await fixture().answer(.get, path).expectProblem(.notFound)
    }

    @Test("a store that refuses work is a 503 that may be sent again, and the reason stays in the log (IK-23)")
    func storeError() async throws {
        for path in ["/store-full", "/store-failed"] {
            let fixture = try fixture()
            let answer = try await fixture.answer(.get, path)
            try answer.expectProblem(.storeUnavailable)
            #expect(answer.header("Retry-After") == "1")
            #expect(try answer.member("retryable") == .bool(true))
            #expect(!answer.body.contains("secret"))
            let line = try #require(try logged(fixture, "the store refused a transaction").first)
            #expect(line["level"] == .string("error"))
            #expect(line["error"] != nil)
        }
    }

    @Test("an unexpected error is a 500 without anything internal, and the whole of it is in the log (HT-15)")
    func unexpected() async throws {
        let fixture = try fixture()
        let answer = try await fixture.answer(.get, "/unexpected", headers: HTTPFields([("X-Request-ID", "request-1")]))
        try answer.expectProblem(.internalError)
        #expect(!answer.body.contains("hunter2"))
        #expect(!answer.body.contains("sqlite"))
        #expect(!answer.body.contains("SecretError"))
        let line = try #require(try logged(fixture, "unexpected error").first)
        #expect(line["error"] == .string("password=hunter2 at /var/lib/stock.sqlite"))
        #expect(line["request_id"] == .string("request-1"))
    }

    // MARK: HEAD

    @Test("HEAD on a GET route has the headers of the answer and no body (HT-11)")
    func head() async throws {
        let fixture = try fixture()
        let get = try await fixture.answer(.get, "/context", headers: HTTPFields([("X-Request-ID", "r")]))
        let head = try await fixture.answer(.head, "/context", headers: HTTPFields([("X-Request-ID", "r")]))
        #expect(head.status == get.status)
        #expect(head.header("Content-Type") == "application/json")
        #expect(head.header("X-Request-ID") == "r")
        #expect(head.body.isEmpty)
    }

    @Test(
        "a problem answered to HEAD has no body", arguments: [("/nowhere", 404), ("/problem", 409), ("/context/", 404)])
    func headProblem(path: String, status: Int) async throws {
        let answer = try await fixture().answer(.head, path)
        #expect(answer.status == status)
        #expect(answer.header("Content-Type") == "application/problem+json")
        #expect(answer.body.isEmpty)
    }

    // MARK: The user

    @Test(
        "a user is taken as named, and nobody is the empty name",
        arguments: [nil, "ada", "Ada.Lovelace_1:x@example-1.org", String(repeating: "u", count: 128)] as [String?])
    func user(name: String?) async throws {
        let headers = try HTTPFields(name.map { [("X-User-ID", $0)] } ?? [])
        let answer = try await fixture().answer(.get, "/context", headers: headers)
        #expect(answer.status == 200)
        #expect(try answer.member("user") == .string(name ?? ""))
    }

    @Test(
        "a user id that is not one well-formed value is a 400",
        arguments: [
            [""], ["a b"], ["a,b"], ["a/b"], ["é"], ["a\"b"], ["*"], [String(repeating: "u", count: 129)],
            ["ada", "ada"],
            ["ada", "bob"],
        ])
    func badUser(values: [String]) async throws {
        let headers = try HTTPFields(values.map { ("X-User-ID", $0) })
        try await fixture().answer(.get, "/context", headers: headers).expectProblem(.userIDInvalid)
    }

    // MARK: The deadline

    @Test(
        "the time that the caller has left becomes the request's deadline, two minutes at the most (OP-06)",
        arguments: [
            ("1", 1), ("1500", 1500), ("120000", 120_000), ("120001", 120_000), ("9223372036854775807", 120_000),
        ])
    func deadline(sent: String, remaining: Int) async throws {
        let headers = try HTTPFields([("X-Request-Timeout-Ms", sent)])
        let answer = try await fixture().answer(.get, "/context", headers: headers)
        #expect(try answer.member("remaining") == .number(String(remaining)))
    }

    @Test("a request without a time-out has no deadline")
    func noDeadline() async throws {
        let answer = try await fixture().answer(.get, "/context")
        #expect(answer.status == 200)
        #expect(try answer.member("remaining") == nil)
    }

    @Test("a request whose caller has no time left is not executed", arguments: ["0", "-1", "-9223372036854775808"])
    func deadlineExceeded(sent: String) async throws {
        let headers = try HTTPFields([("X-Request-Timeout-Ms", sent)])
        try await fixture().answer(.get, "/context", headers: headers).expectProblem(.deadlineExceeded)
    }

    // MARK: Stopping

    @Test("a service that is stopping takes no new request, but its health can be asked (HT-13)")
    func draining() async throws {
        let fixture = try fixture(drain: try await DrainState.stopped())
        for path in ["/context", "/nowhere"] {
            let answer = try await fixture.answer(.get, path)
            try answer.expectProblem(.draining)
            #expect(answer.header("Retry-After") == "1")
        }
        #expect(try await fixture.answer(.get, "/health").status == 200)
        #expect(try await fixture.answer(.get, "/health/live").status == 200)
    }
}
