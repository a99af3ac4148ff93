import Correlation
import Resilience
import ServiceClient
import StrictJSON
import TestSupport
import Testing

private struct ReadingError: Error {}

@Suite("Service caller")
struct ServiceCallerTests {
    private let time = ManualTime()
    private let trace = TraceContext(continuing: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

    private func caller(_ transport: ScriptedTransport) -> ServiceCaller {
        let single = SingleCalls(
            baseURL: "http://127.0.0.1:3133", transport: transport, attemptTimeout: .seconds(2), time: time)
        return ServiceCaller(carrier: single, refusalCodes: ["insufficient-stock", "payment-declined"])
    }

    private func context(user: String = "", remaining: Duration = .seconds(30)) throws -> CallContext {
        CallContext(
            requestID: try #require(RequestID("request-1")), trace: trace, user: user,
            deadline: Deadline(after: remaining, on: time))
    }

    /// What one call answered by `result` throws.
    private func failure(_ result: Result<ServiceResponse, TransportError>) async throws -> CallFailure {
        let context = try context()
        return try await #require(throws: CallFailure.self) {
            try await caller(ScriptedTransport(result)).post("/reserve", key: "k", body: [], context: context) { $0 }
        }
    }

    private static func problem(
        _ status: Int, _ code: String, retryAfter: Duration? = nil, more: String = ""
    ) -> ServiceResponse {
        let text = #"{"type":"/problems/\#(code)","status":\#(status),"detail":"why","code":"\#(code)"\#(more)}"#
        return ServiceResponse(status: status, body: Array(text.utf8), retryAfter: retryAfter)
    }

    // MARK: What an answer means

    @Test("a 200 that can be read is the call's value")
    func success() async throws {
        let transport = ScriptedTransport(.success(ServiceResponse(status: 200, body: Array(#"{"a":1}"#.utf8))))
        let value = try await caller(transport).post("/reserve", key: nil, body: [], context: context()) { $0 }
        #expect(value == .object([.init("a", .number("1"))]))
    }

    @Test("a 200 that is no JSON, or not what the contract says, leaves the outcome unknown")
    func unreadableSuccess() async throws {
        for body in ["", "<html>", "{}x"] {
            let response = ServiceResponse(status: 200, body: Array(body.utf8))
            #expect(try await failure(.success(response)) == .unknown(.garbled))
        }
        let transport = ScriptedTransport(.success(ServiceResponse(status: 200, body: Array("{}".utf8))))
        let context = try context()
        await #expect(throws: CallFailure.unknown(.garbled)) {
            try await caller(transport).post("/reserve", key: nil, body: [], context: context) { _ in
                throw ReadingError()
            }
        }
    }

    @Test("another success than 200 is not what the contract says", arguments: [201, 202, 204, 302])
    func otherSuccess(status: Int) async throws {
        let response = ServiceResponse(status: status, body: Array("{}".utf8))
        #expect(try await failure(.success(response)) == .unknown(.garbled))
    }

    @Test("a problem that the service refuses for good by is a refusal with its reason")
    func refused() async throws {
        #expect(
            try await failure(.success(Self.problem(409, "insufficient-stock")))
                == .refused(Refusal(code: "insufficient-stock", detail: "why")))
        let declined = Self.problem(402, "payment-declined", more: #","declineCode":"card_declined""#)
        #expect(
            try await failure(.success(declined))
                == .refused(Refusal(code: "payment-declined", detail: "why", declineCode: "card_declined")))
    }

    @Test(
        "a problem by which our services promise that nothing was executed is such a failure",
        arguments: [
            (503, "store-unavailable"), (503, "draining"), (503, "overloaded"), (503, "deadline-exceeded"),
            (429, "too-many-requests"),
        ])
    func notExecuted(status: Int, code: String) async throws {
        #expect(
            try await failure(.success(Self.problem(status, code, retryAfter: .seconds(3))))
                == .notExecuted(.unavailable, retryAfter: .seconds(3)))
        #expect(try await failure(.success(Self.problem(status, code))) == .notExecuted(.unavailable))
    }

    @Test("that the provider is not available is told apart, because it is said of the id and not of one attempt")
    func providerUnavailable() async throws {
        let problem = Self.problem(503, "provider-unavailable", retryAfter: .seconds(1))
        #expect(
            try await failure(.success(problem)) == .notExecuted(.providerUnavailable, retryAfter: .seconds(1)))
    }

    @Test(
        "any other problem leaves the outcome unknown",
        arguments: [
            (409, "request-in-progress", .inProgress), (504, "outcome-unknown", CallTrouble.inProgress),
            (504, "gateway-timeout", .timedOut), (500, "internal-error", .garbled), (502, "bad-gateway", .garbled),
            (404, "not-found", .garbled), (400, "invalid-json", .garbled), (503, "from-the-future", .garbled),
            // A refusal of another service.
            (404, "item-not-found", .garbled), (409, "reservation-state-conflict", .garbled),
        ] as [(Int, String, CallTrouble)])
    func unknown(status: Int, code: String, trouble: CallTrouble) async throws {
        #expect(
            try await failure(.success(Self.problem(status, code, retryAfter: .seconds(1))))
                == .unknown(trouble, retryAfter: .seconds(1)))
    }

    @Test(
        "an answer that is no problem document of ours leaves the outcome unknown, whatever its status",
        arguments: [
            (409, "insufficient-stock"), (404, ""), (503, "<html>503 Service Temporarily Unavailable</html>"),
            (500, "[]"), (409, #"{"status":409}"#), (409, #"{"code":"insufficient-stock"}"#),
            (409, #"{"status":"409","code":"insufficient-stock"}"#), (409, #"{"status":409,"code":7}"#),
            // The status in the document is another one: it was made for another answer.
            (409, #"{"status":404,"code":"insufficient-stock"}"#),
            (502, #"{"status":503,"code":"draining"}"#),
        ])
    func noProblem(status: Int, body: String) async throws {
        let response = ServiceResponse(status: status, body: Array(body.utf8), retryAfter: .seconds(9))
        #expect(try await failure(.success(response)) == .unknown(.garbled, retryAfter: .seconds(9)))
    }

    @Test(
        "only a request that was never sent is known not to have left (hazard 12)",
        arguments: [
            (.notSent("refused"), .notSent(.unreachable)), (.notSentInTime, .notSent(.timedOut)),
            (.timedOut, .unknown(.timedOut)), (.connectionLost("reset"), .unknown(.connectionLost)),
            (.responseTooLarge, .unknown(.garbled)),
            (.notHTTP, .unknown(.garbled)),
        ] as [(TransportError, CallFailure)])
    func transportError(error: TransportError, expected: CallFailure) async throws {
        #expect(try await failure(.failure(error)) == expected)
    }

    // MARK: What is sent

    @Test("the command is posted once, with its key, its request and its user")
    func request() async throws {
        let transport = ScriptedTransport(.success(ServiceResponse(status: 200, body: Array("{}".utf8))))
        let body = Array(#"{"itemId":1}"#.utf8)
        _ = try await caller(transport).post("/reserve", key: "key-1", body: body, context: context(user: "ada")) { $0 }
        let request = try #require(transport.requests.first)
        #expect(transport.requests.count == 1)
        #expect(request.method == "POST")
        #expect(request.url == "http://127.0.0.1:3133/reserve")
        #expect(request.body == body)
        #expect(request.values("Content-Type") == ["application/json"])
        #expect(request.values("Idempotency-Key") == ["key-1"])
        #expect(request.values("X-Request-ID") == ["request-1"])
        #expect(request.values("X-User-ID") == ["ada"])
    }

    @Test("a call without key or user sends no such header")
    func withoutKeyAndUser() async throws {
        let transport = ScriptedTransport(.success(ServiceResponse(status: 200, body: Array("{}".utf8))))
        _ = try await caller(transport).post("/release", key: nil, body: [], context: context()) { $0 }
        let request = try #require(transport.requests.first)
        #expect(request.values("Idempotency-Key") == [])
        #expect(request.values("X-User-ID") == [])
    }

    @Test("a call is a span of its own in the trace of its request (OP-04)")
    func traceparent() async throws {
        let ok = Result<ServiceResponse, TransportError>.success(ServiceResponse(status: 200, body: Array("{}".utf8)))
        let transport = ScriptedTransport(ok, ok)
        let context = try context()
        for _ in 0..<2 { _ = try await caller(transport).post("/reserve", key: nil, body: [], context: context) { $0 } }
        var spans: Set<String> = [trace.spanID]
        for request in transport.requests {
            let values = request.values("traceparent")
            #expect(values.count == 1)
            let parts = try #require(values.first).split(separator: "-").map(String.init)
            try #require(parts.count == 4)
            #expect(parts[0] == "00")
            #expect(parts[1] == "4bf92f3577b34da6a3ce929d0e0e4736")
            #expect(parts[3] == "01")
            spans.insert(parts[2])
        }
        #expect(spans.count == 3)
    }

    @Test(
        "the time-out is that of an attempt or the time left, whichever is less, and travels with the call (OP-06)",
        arguments: [
            (Duration.seconds(30), "2000", Duration.seconds(2)), (.seconds(2), "2000", .seconds(2)),
            (.milliseconds(1999), "1999", .milliseconds(1999)), (.milliseconds(500), "500", .milliseconds(500)),
            (.milliseconds(1), "1", .milliseconds(1)), (.microseconds(400), "1", .microseconds(400)),
        ])
    func timeout(remaining: Duration, header: String, timeout: Duration) async throws {
        let transport = ScriptedTransport(.success(ServiceResponse(status: 200, body: Array("{}".utf8))))
        _ = try await caller(transport).post(
            "/reserve", key: nil, body: [], context: context(remaining: remaining)
        ) { $0 }
        let request = try #require(transport.requests.first)
        #expect(request.values("X-Request-Timeout-Ms") == [header])
        #expect(request.timeout == timeout)
    }

    @Test("without time left nothing is sent, and the call is known not to have left")
    func noTimeLeft() async throws {
        let transport = ScriptedTransport()
        let context = try context(remaining: .seconds(1))
        time.advance(by: .seconds(1))
        await #expect(throws: CallFailure.notSent(.timedOut)) {
            try await caller(transport).post("/reserve", key: nil, body: [], context: context) { $0 }
        }
        #expect(transport.requests.isEmpty)
    }
}
