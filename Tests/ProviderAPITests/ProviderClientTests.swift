import Correlation
import Money
import ProviderAPI
import Resilience
import ServiceClient
import StrictJSON
import TestSupport
import Testing

@Suite("Provider client")
struct ProviderClientTests {
    private let time = ManualTime()
    private let command = ProviderCommand(
        reference: "ref-1", kind: .charge, amount: Money(minorUnits: 2000, currency: .usd), token: "tok_visa")
    private let refund = ProviderRefundCommand(
        reference: "refund-1", paymentReference: "ref-1", amount: Money(minorUnits: 500, currency: .usd))

    private func client(_ transport: ScriptedTransport) -> ProviderClient {
        ProviderClient(
            baseURL: "http://provider/stripe", transport: transport, attemptTimeout: .seconds(1), time: time)
    }

    private func context(remaining: Duration = .seconds(30)) throws -> CallContext {
        CallContext(
            requestID: try #require(RequestID("request-1")), trace: TraceContext(continuing: nil), user: "ann",
            deadline: Deadline(after: remaining, on: time))
    }

    private static func payment(
        _ status: String, reference: String = "ref-1", kind: String = "charge", amount: Int = 2000, refunded: Int = 0,
        more: String = ""
    ) -> String {
        """
        {"id":"pp_1","reference":"\(reference)","kind":"\(kind)","status":"\(status)",\
        "amount":{"amount":\(amount),"currency":"USD"},"refunded":{"amount":\(refunded),"currency":"USD"}\(more)}
        """
    }

    private static func problem(_ status: Int, _ code: String, more: String = "") -> String {
        #"{"type":"/problems/\#(code)","status":\#(status),"detail":"why","code":"\#(code)"\#(more)}"#
    }

    private static func response(
        _ status: Int, _ body: String, retryAfter: Duration? = nil
    ) -> Result<ServiceResponse, TransportError> {
        .success(ServiceResponse(status: status, body: Array(body.utf8), retryAfter: retryAfter))
    }

    private func outcome(_ result: Result<ServiceResponse, TransportError>) async throws -> ProviderReply {
        await client(ScriptedTransport(result)).pay(command, try context())
    }

    // MARK: What is sent

    @Test("a payment goes out with its reference as its key, within the time of one attempt")
    func sends() async throws {
        let transport = ScriptedTransport(Self.response(200, Self.payment("succeeded")))
        _ = await client(transport).pay(command, try context())
        let request = try #require(transport.requests.first)
        #expect(request.method == "POST")
        #expect(request.url == "http://provider/stripe/v1/payments")
        #expect(request.values("Idempotency-Key") == ["ref-1"])
        #expect(request.values("X-Request-ID") == ["request-1"])
        #expect(request.values("X-User-ID").isEmpty)
        #expect(request.timeout == .seconds(1))
        #expect(request.isSentOnce)
        #expect(try ProviderCommand(json: try JSONParser.parse(request.body)) == command)
    }

    @Test("the other calls go to the routes of their references")
    func routes() async throws {
        let transport = ScriptedTransport()
        let client = client(transport)
        _ = await client.payment(command, try context())
        _ = await client.cancel(command, try context())
        _ = await client.refund(refund, try context())
        _ = await client.refundStatus(refund, try context())
        #expect(
            transport.requests.map { "\($0.method) \($0.url.dropFirst("http://provider/stripe".count))" } == [
                "GET /v1/payments/ref-1", "POST /v1/payments/ref-1/cancel", "POST /v1/refunds",
                "GET /v1/refunds/refund-1",
            ])
        // Money is moved by one copy of a request; of the others any answer holds, whichever copy it was given to.
        #expect(transport.requests.map(\.isSentOnce) == [false, false, true, false])
    }

    @Test("nothing is sent when no time is left, and no longer waited for than there is")
    func deadline() async throws {
        let transport = ScriptedTransport()
        #expect(await client(transport).pay(command, try context(remaining: .zero)) == .notSent(.timedOut))
        #expect(transport.requests.isEmpty)
        _ = await client(transport).pay(command, try context(remaining: .milliseconds(300)))
        #expect(transport.requests.first?.timeout == .milliseconds(300))
    }

    // MARK: What an answer means

    @Test("success, but not of money that somebody has given back before we knew of it")
    func succeeded() async throws {
        let outcome = try await outcome(Self.response(200, Self.payment("succeeded", more: #","later":1"#)))
        #expect(outcome == .succeeded)
        let afterwards = try await self.outcome(Self.response(200, Self.payment("refunded", refunded: 2000)))
        #expect(
            afterwards
                == .contradicted("charge of 2000 USD, 2000 of which were given back, instead of charge of 2000 USD"))
        let inPart = try await self.outcome(Self.response(200, Self.payment("succeeded", refunded: 1)))
        #expect(
            inPart == .contradicted("charge of 2000 USD, 1 of which were given back, instead of charge of 2000 USD"))
    }

    @Test("pending is neither success nor failure")
    func pending() async throws {
        #expect(try await outcome(Self.response(200, Self.payment("pending"))) == .pending)
    }

    @Test("a decline, as a problem and as a payment that was looked up")
    func declined() async throws {
        let problem = Self.problem(402, "payment-declined", more: #","declineCode":"insufficient_funds""#)
        #expect(try await outcome(Self.response(402, problem)) == .declined(code: "insufficient_funds"))
        let payment = Self.payment("declined", more: #","declineCode":"card_declined""#)
        let client = client(ScriptedTransport(Self.response(200, payment)))
        #expect(await client.payment(command, try context()) == .declined(code: "card_declined"))
    }

    @Test("a tombstone, as the answer of a cancel and as what a late payment meets")
    func canceled() async throws {
        #expect(try await outcome(Self.response(409, Self.problem(409, "payment-canceled"))) == .canceled)
        let canceled = #"{"reference":"ref-1","status":"canceled"}"#
        let client = client(ScriptedTransport(Self.response(200, canceled), Self.response(200, canceled)))
        #expect(await client.cancel(command, try context()) == .canceled)
        let other = ProviderCommand(reference: "ref-2", kind: .charge, amount: command.amount)
        #expect(await client.cancel(other, try context()) == .unknown(.garbled))
    }

    @Test("a cancel that comes too late answers with the payment")
    func canceledTooLate() async throws {
        let client = client(ScriptedTransport(Self.response(200, Self.payment("succeeded"))))
        #expect(await client.cancel(command, try context()) == .succeeded)
    }

    @Test("not found is the word of the provider's own problem document")
    func notFound() async throws {
        let client = client(
            ScriptedTransport(
                Self.response(404, Self.problem(404, "not-found")), Self.response(404, "<html>"),
                Self.response(404, Self.problem(410, "not-found"))))
        #expect(await client.payment(command, try context()) == .notFound)
        #expect(await client.payment(command, try context()) == .unknown(.garbled))
        #expect(await client.payment(command, try context()) == .unknown(.garbled))
    }

    @Test(
        "other problems below 500 are final",
        arguments: [(400, "invalid-json"), (404, "not-found"), (422, "idempotency-key-reused")])
    func refused(_ status: Int, _ code: String) async throws {
        #expect(
            try await outcome(Self.response(status, Self.problem(status, code)))
                == .refused(code: code, detail: "why"))
    }

    @Test(
        "a refusal without a problem document, or one that may pass, proves nothing",
        arguments: [
            (400, ""), (401, "<html>"), (403, "{}"), (404, "[]"), (413, problem(414, "x")), (422, ""),
            (408, problem(408, "slow")), (409, problem(409, "conflict")), (425, problem(425, "too-early")),
        ])
    func unprovenRefusal(_ status: Int, _ body: String) async throws {
        let answer = Self.response(status, body)
        let client = client(ScriptedTransport(answer, answer, answer, answer, answer))
        #expect(await client.pay(command, try context()) == .unknown(.garbled))
        #expect(await client.refund(refund, try context()) == .unknown(.garbled))
        #expect(await client.payment(command, try context()) == .unknown(.garbled))
        #expect(await client.cancel(command, try context()) == .unknown(.garbled))
        #expect(await client.refundStatus(refund, try context()) == .unknown(.garbled))
        #expect(
            try await outcome(Self.response(status, body, retryAfter: .seconds(3)))
                == .unknown(.garbled, after: .seconds(3)))
    }

    @Test("a refusal that says when to come back is not final, unless its code says so")
    func refusedForNow() async throws {
        let later = Duration.seconds(3)
        #expect(
            try await outcome(Self.response(422, Self.problem(422, "busy"), retryAfter: later))
                == .unknown(.garbled, after: later))
        #expect(
            try await outcome(Self.response(409, Self.problem(409, "payment-canceled"), retryAfter: later)) == .canceled
        )
        let exceeds = "refund-exceeds-payment"
        let client = client(ScriptedTransport(Self.response(409, Self.problem(409, exceeds))))
        #expect(await client.refund(refund, try context()) == .refused(code: exceeds, detail: "why"))
    }

    @Test("what a provider writes into a refusal is held to words and some lines")
    func boundedRefusal() async throws {
        let long = String(repeating: "x", count: 9000)
        func refusal(_ code: String, _ decline: String) -> String {
            #"{"status":402,"detail":"\#(long)","code":"\#(code)","declineCode":"\#(decline)"}"#
        }
        let detail = String(long.prefix(300))
        for code in [long, "", "a b", "caf\u{e9}"] {
            #expect(
                try await outcome(Self.response(402, refusal(code, "x")))
                    == .refused(code: "unspecified", detail: detail))
            #expect(
                try await outcome(Self.response(402, refusal("payment-declined", code)))
                    == .declined(code: "unspecified"))
        }
        #expect(
            try await outcome(Self.response(402, refusal("limit_exceeded.v2", long)))
                == .refused(code: "limit_exceeded.v2", detail: detail))
    }

    @Test("a 429 says when to come back; that nothing was taken, only one by the provider's own word")
    func throttled() async throws {
        #expect(
            try await outcome(Self.response(429, Self.problem(429, "too-many-requests"), retryAfter: .seconds(7)))
                == .throttled(after: .seconds(7)))
        for body in ["slow down", "", Self.problem(503, "too-many-requests"), Self.problem(429, "rate_limited")] {
            for wait in [Duration.seconds(7), nil] {
                #expect(
                    try await outcome(Self.response(429, body, retryAfter: wait))
                        == .unknown(.unavailable, after: wait))
            }
        }
    }

    @Test(
        "an answer that proves nothing leaves the outcome unknown",
        arguments: [
            (500, problem(500, "internal-error"), CallTrouble.unavailable), (503, "", .unavailable),
            (200, "", .garbled), (200, "{}", .garbled), (302, "", .garbled), (408, "", .garbled),
            (409, "<html>", .garbled), (425, "", .garbled),
            (200, payment("succeeded", reference: "ref-2"), .garbled),
            (200, payment("chargeback"), .garbled),
            (200, payment("succeeded", refunded: 2001), .garbled),
            (409, problem(409, "request-in-progress"), .inProgress), (408, problem(408, "request-timeout"), .timedOut),
        ])
    func unknown(_ status: Int, _ body: String, _ trouble: CallTrouble) async throws {
        #expect(try await outcome(Self.response(status, body)) == .unknown(trouble))
    }

    @Test(
        "an answer about another amount, or the other direction, is none: not to the command, nor to a question, nor to a cancel",
        arguments: ["succeeded", "pending", "declined", "refunded"])
    func contradicted(_ status: String) async throws {
        let refunded = status == "refunded" ? 1 : 0
        for (body, said) in [
            (Self.payment(status, amount: 1, refunded: refunded), "charge of 1 USD"),
            (Self.payment(status, amount: 2001, refunded: refunded), "charge of 2001 USD"),
            (Self.payment(status, kind: "payout", refunded: refunded), "payout of 2000 USD"),
            (Self.payment(status, refunded: refunded).replacing("USD", with: "EUR"), "charge of 2000 EUR"),
        ] {
            let answer = Self.response(200, body)
            let client = client(ScriptedTransport(answer, answer, answer))
            let expected = ProviderReply.contradicted("\(said) instead of charge of 2000 USD")
            #expect(await client.pay(command, try context()) == expected)
            #expect(await client.payment(command, try context()) == expected)
            #expect(await client.cancel(command, try context()) == expected)
        }
    }

    @Test("what never left is told from what may have arrived")
    func transportErrors() async throws {
        #expect(try await outcome(.failure(.notSent("refused"))) == .notSent(.unreachable))
        #expect(try await outcome(.failure(.queueFull)) == .notSent(.queueFull))
        #expect(try await outcome(.failure(.timedOut)) == .unknown(.timedOut))
        #expect(try await outcome(.failure(.connectionLost("reset"))) == .unknown(.connectionLost))
        #expect(try await outcome(.failure(.responseTooLarge)) == .unknown(.garbled))
    }

    // MARK: Refunds

    @Test("a refund is made, not found, refused or unknown")
    func refunds() async throws {
        let made = """
            {"id":"rf_1","reference":"refund-1","paymentReference":"ref-1","status":"succeeded",\
            "amount":{"amount":500,"currency":"USD"}}
            """
        let client = client(
            ScriptedTransport(
                Self.response(200, made), Self.response(200, made), Self.response(404, Self.problem(404, "not-found")),
                Self.response(422, Self.problem(422, "refund-exceeds-payment")), .failure(.timedOut),
                Self.response(200, made.replacing("500", with: "501")),
                Self.response(200, made.replacing("500", with: "501")),
                Self.response(200, made.replacing("ref-1", with: "ref-2"))))
        let expected = ProviderReply.succeeded
        #expect(await client.refund(refund, try context()) == expected)
        #expect(await client.refundStatus(refund, try context()) == expected)
        #expect(await client.refundStatus(refund, try context()) == .notFound)
        #expect(
            await client.refund(refund, try context())
                == .refused(code: "refund-exceeds-payment", detail: "why"))
        #expect(await client.refund(refund, try context()) == .unknown(.timedOut))
        let other = ProviderReply.contradicted("refund of 501 USD of ref-1 instead of refund of 500 USD of ref-1")
        #expect(await client.refund(refund, try context()) == other)
        #expect(await client.refundStatus(refund, try context()) == other)
        #expect(
            await client.refundStatus(refund, try context())
                == .contradicted("refund of 500 USD of ref-2 instead of refund of 500 USD of ref-1"))
    }
}
