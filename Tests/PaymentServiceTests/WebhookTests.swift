import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("Messages of providers", .timeLimit(.minutes(5)))
struct WebhookTests {
    private let secret: WebhookSecret

    init() throws {
        secret = try #require(WebhookSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    }

    private func fixture(_ gateway: ScriptedGateway) throws -> PaymentFixture {
        try .withGateway(
            gateway,
            PaymentsConfiguration(webhookSecrets: [.stripe: [secret]], backoff: BackoffSchedule(), giveUpAfter: .zero))
    }

    /// Has a deposit of ann's asked for once. - Returns: the payment's id.
    private func deposit(_ client: RouteClient, _ fixture: PaymentFixture) async throws -> String {
        let account = try await client.openWallet("ann", "0")
        let id = try await client.pay("deposit", from: account, "1", key: "k", user: "ann").text("paymentId")
        try await fixture.work()
        return try #require(id)
    }

    /// Has ann take out 100 dollars of 102. - Returns: the payment's id.
    private func withdraw(_ client: RouteClient) async throws -> String {
        let account = try await client.openWallet("ann", "102")
        let payment = try await client.pay("withdraw", from: account, "100", key: "k", user: "ann")
        return try #require(payment.text("paymentId"))
    }

    /// Delivers a message as a provider does.
    private func deliver(
        _ client: RouteClient, _ fixture: PaymentFixture, _ reference: String, id: String = "msg_1",
        to provider: String = "stripe", signedAgo age: Int64 = 0, spoil: Bool = false
    ) async throws -> RouteResponse {
        let event = WebhookEvent(
            .paymentSucceeded, at: "2026-01-01T00:00:00Z", reference: reference, status: "succeeded")
        return try await deliver(client, fixture, event.json(), id: id, to: provider, signedAgo: age, spoil: spoil)
    }

    private func deliver(
        _ client: RouteClient, _ fixture: PaymentFixture, _ body: [UInt8], id: String, to provider: String = "stripe",
        signedAgo age: Int64 = 0, spoil: Bool = false
    ) async throws -> RouteResponse {
        let time = fixture.test.time
        let stamp = time.now.milliseconds / 1000 - age
        let signature = WebhookSignature([secret], time: time).sign(id: id, timestamp: stamp, body: body)
        return try await client.post(
            "/webhooks/\(provider)", String(decoding: body, as: UTF8.self) + (spoil ? " " : ""),
            headers: ["webhook-id": id, "webhook-timestamp": String(stamp), "webhook-signature": signature])
    }

    @Test("a message makes us ask at once, and what the provider answers settles the payment")
    func hint() async throws {
        let gateway = ScriptedGateway(.pending, .pending)
        let fixture = try fixture(gateway)
        try await fixture.run { client in
            let id = try await deposit(client, fixture)
            #expect(try await client.status(ofPayment: id, user: "ann") == "processing")
            // The message says that it has succeeded, and the provider, when asked, that it has not.
            #expect(try await deliver(client, fixture, id, id: "early").status == 204)
            try await fixture.work()
            #expect(try await client.status(ofPayment: id, user: "ann") == "processing")
            #expect(gateway.names == ["pay", "payment"])
            #expect(try await deliver(client, fixture, id).status == 204)
            try await fixture.work()
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(try await client.balance("ann") == 98)
        }
    }

    @Test("that money has moved which by the provider's own word never would is told to operators, and moves nothing")
    func contradicted() async throws {
        let fixture = try fixture(ScriptedGateway(.declined(code: "card_declined")))
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.work()
            #expect(try await client.status(ofPayment: id, user: "ann") == "failed")
            for message in ["m1", "m1"] {
                #expect(try await deliver(client, fixture, id, id: message).status == 204)
            }
            #expect(try await client.balance("ann") == 10_200)
            #expect(try await client.status(ofPayment: id, user: "ann") == "failed")
            #expect(
                try await client.events(ofPayment: id, user: "ann") == [
                    "created", "processing", "failed", "contradicted",
                ])
        }
        let told = try fixture.test.log.events(
            "a provider says it has moved the money of a payment that has failed here: compare its books")
        #expect(told.count == 1)
        #expect(told.first?["level"] == .string("error"))
    }

    @Test(
        "that money has moved which is told before the provider answers that it has not: the payment is closed before anything is given back"
    )
    func early() async throws {
        let refused = ProviderReply.refused(code: "unauthorized", detail: "no")
        let gateway = ScriptedGateway(.notSent(.unreachable), refused, .succeeded)
        let fixture = try fixture(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.work()
            #expect(try await deliver(client, fixture, id).status == 204)
            #expect(try await client.post("/payments/\(id)/cancel", "{}", user: "ann").code == "payment-state-conflict")
            try await fixture.workAll()
            #expect(gateway.names == ["pay", "pay", "cancel"])
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(try await client.balance("ann") == 0)
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "that money has moved which is told while the provider is being asked, and denied by its answer, is told to operators",
        arguments: [ProviderReply.declined(code: "card_declined"), .canceled])
    func denied(_ reply: ProviderReply) async throws {
        let gate = Gate()
        let fixture = try fixture(ScriptedGateway(steps: [.wait(gate, then: reply)]))
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.worker.fill()
            #expect(try await deliver(client, fixture, id).status == 204)
            gate.open()
            await fixture.worker.idle()
            #expect(try await client.status(ofPayment: id, user: "ann") == "failed")
            #expect(try await client.events(ofPayment: id, user: "ann").last == "contradicted")
        }
        let told = try fixture.test.log.events(
            "a payment has failed whose provider has said in a message that its money has moved: compare its books")
        #expect(told.count == 1)
        #expect(told.first?["level"] == .string("error"))
    }

    @Test(
        "who would make a payment anew whose money is said to have moved is told so, also when the message comes after the plan"
    )
    func contradictedDeadLetter() async throws {
        let gate = Gate()
        let fixture = try fixture(ScriptedGateway(steps: [.wait(gate, then: .canceled)]))
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.worker.fill()
            #expect(try await deliver(client, fixture, id).status == 204)
            gate.open()
            await fixture.worker.idle()
            let letter = try await fixture.operate { try await $0.get("/dead-letters/\(id)") }
            #expect(letter.value("isSaidToHaveMoved") == .bool(true))
            let plan = try await fixture.operate { try await $0.get("/dead-letters/\(id)/plan?action=retry") }
            #expect(plan.text("summary")?.contains("HAS MOVED") == true)
            let discard = try await fixture.operate { try await $0.get("/dead-letters/\(id)/plan?action=discard") }
            #expect(discard.text("summary")?.contains("HAS MOVED") == true)
            let planned = try #require(plan.text("plan"))
            #expect(try await deliver(client, fixture, id, id: "late").status == 204)
            let commit = #"{"operator":"eve","reason":"why","plan":"\#(planned)"}"#
            let late = try await fixture.operate { try await $0.post("/dead-letters/\(id)/retry", commit) }
            #expect(late.code == "plan-outdated")
        }
    }

    @Test("a message is counted once, however often it comes, and the next one asks again (hazard 61)")
    func once() async throws {
        let gateway = ScriptedGateway(.pending, .pending, .pending)
        let fixture = try fixture(gateway)
        try await fixture.run { client in
            let id = try await deposit(client, fixture)
            for (message, asked) in [("m1", 2), ("m1", 2), ("m1", 2), ("m2", 3)] {
                #expect(try await deliver(client, fixture, id, id: message).status == 204)
                try await fixture.work()
                #expect(gateway.calls.count == asked, "\(message)")
            }
            #expect(try await client.status(ofPayment: id, user: "ann") == "processing")
        }
    }

    @Test("a message that comes again, late, or for nothing that we know is taken and has no effect")
    func repeated() async throws {
        let gateway = ScriptedGateway(.pending)
        let fixture = try fixture(gateway)
        try await fixture.run { client in
            let id = try await deposit(client, fixture)
            #expect(try await deliver(client, fixture, id).status == 204)
            try await fixture.work()
            for _ in 0..<3 { #expect(try await deliver(client, fixture, id).status == 204) }
            #expect(try await deliver(client, fixture, id, id: "msg_2").status == 204)
            #expect(try await deliver(client, fixture, "unheard-of", id: "msg_3").status == 204)
            try await fixture.work()
            #expect(gateway.calls.count == 2)
            #expect(try await client.balance("ann") == 98)
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "news use up no attempt of a payment that is still to be sent, and come never before the time the provider named"
    )
    func pace() async throws {
        let gateway = ScriptedGateway(
            .notSent(.unreachable), .pending, .throttled(after: .seconds(20)),
            .unknown(.unavailable, after: .seconds(9)))
        let fixture = try fixture(gateway)
        try await fixture.run { client in
            let id = try await deposit(client, fixture)
            #expect(try await deliver(client, fixture, id, id: "1").status == 204)
            try await fixture.work()
            #expect(gateway.calls.count == 1, "it is still to be sent")
            fixture.test.time.advance(by: .seconds(1))
            try await fixture.work()
            #expect(try await deliver(client, fixture, id, id: "2").status == 204)
            try await fixture.work()
            #expect(gateway.names == ["pay", "pay", "payment"])
            for (wait, calls) in [(0, 3), (19_900, 3), (100, 4), (8_900, 4), (100, 5)] {
                fixture.test.time.advance(by: .milliseconds(wait))
                #expect(try await deliver(client, fixture, id, id: "at-\(wait)-\(calls)").status == 204)
                try await fixture.work()
                #expect(gateway.calls.count == calls)
            }
            #expect(try await client.balance("ann") == 98)
        }
    }

    @Test(
        "news that come while the provider is being asked are not lost: if it said 'pending', it is asked again at once"
    )
    func meanwhile() async throws {
        let gate = Gate()
        let gateway = ScriptedGateway(steps: [.wait(gate, then: .pending)])
        let fixture = try fixture(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "1", key: "k", user: "ann").text("paymentId"))
            try await fixture.worker.fill()
            await gate.arrival()
            #expect(try await deliver(client, fixture, id).status == 204)
            gate.open()
            await fixture.worker.idle()
            #expect(try await client.status(ofPayment: id, user: "ann") == "processing")
            try await fixture.work()
            #expect(gateway.names == ["pay", "payment"])
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
        }
    }

    @Test("a message of a type that we do not know is acknowledged, whatever is in it, and causes no question")
    func unknownType() async throws {
        let gateway = ScriptedGateway(.pending)
        let fixture = try fixture(gateway)
        try await fixture.run { client in
            let id = try await deposit(client, fixture)
            for (number, body) in [
                #"{"type":"payout.created"}"#,
                #"{"type":"dispute.opened","timestamp":"t","data":{"reference":"\#(id)","status":"open"}}"#,
            ].enumerated() {
                let answer = try await deliver(client, fixture, Array(body.utf8), id: "m\(number)")
                #expect(answer.status == 204)
            }
            for (number, body) in ["{}", "[]", "{", #"{"type":7}"#, #"{"type":"payment.succeeded"}"#].enumerated() {
                #expect(try await deliver(client, fixture, Array(body.utf8), id: "b\(number)").status == 422, "\(body)")
            }
            try await fixture.work()
            #expect(gateway.calls.count == 1)
        }
    }

    @Test("a message that is not signed, signed by somebody else, changed on its way, or too old is refused with 401")
    func forged() async throws {
        let fixture = try fixture(ScriptedGateway(.pending))
        try await fixture.run { client in
            let bare = try await client.post("/webhooks/stripe", "{}")
            #expect(bare.status == 401 && bare.code == "webhook-signature-invalid")
            #expect(bare.header("WWW-Authenticate") != nil)
            #expect(try await deliver(client, fixture, "x", spoil: true).status == 401)
            #expect(try await deliver(client, fixture, "x", signedAgo: 301).status == 401)
            #expect(try await deliver(client, fixture, "x", signedAgo: -301).status == 401)
            #expect(try await deliver(client, fixture, "x", signedAgo: 299).status == 204)
            // There is no secret for it.
            #expect(try await deliver(client, fixture, "x", to: "paypal").status == 401)
            #expect(try await deliver(client, fixture, "x", to: "bank").status == 404)
        }
    }

    @Test("messages are forgotten after three days")
    func sweep() async throws {
        let fixture = try fixture(ScriptedGateway())
        try await fixture.run { client in
            for number in 0..<450 {
                #expect(try await deliver(client, fixture, "x", id: "msg_\(number)").status == 204)
            }
            fixture.test.time.advance(by: WebhookInbox.memory - .seconds(1))
            try await fixture.parts.inbox.sweep()
            #expect(try await count(fixture) == 450)
            fixture.test.time.advance(by: .seconds(2))
            #expect(try await deliver(client, fixture, "x", id: "new").status == 204)
            try await fixture.parts.inbox.sweep()
            #expect(try await count(fixture) == 1)
        }
    }

    @Test("of more messages than are remembered the oldest are forgotten, in steps")
    func sweepOfMany() async throws {
        let fixture = try fixture(ScriptedGateway())
        try await fixture.run { client in
            for number in 0..<450 {
                fixture.test.time.advance(by: .milliseconds(1))
                #expect(try await deliver(client, fixture, "x", id: "msg_\(number)").status == 204)
            }
            try await fixture.parts.inbox.sweep(most: 450)
            #expect(try await count(fixture) == 450)
            try await fixture.parts.inbox.sweep(most: 30)
            let left = try await fixture.environment.store.transaction { transaction in
                try transaction.all("SELECT message_id FROM webhook_messages ORDER BY received_at LIMIT 100", []) {
                    $0.text(0)
                }
            }
            #expect(left == (420..<450).map { "msg_\($0)" })
        }
    }

    @Test("to forget messages reads those that are forgotten, however many there are")
    func sweepPlan() async throws {
        let fixture = try fixture(ScriptedGateway())
        let plans = try await fixture.environment.store.transaction { transaction in
            try [(WebhookInbox.countOverdue, 2), (WebhookInbox.forgetOldest, 1)].map { statement, values in
                let values = [SQLValue](repeating: .integer(1), count: values)
                return try transaction.all("EXPLAIN QUERY PLAN \(statement)", values) { $0.text(3) }
            }
        }
        let byTime = "webhook_messages USING COVERING INDEX webhook_messages_by_time"
        #expect(plans[0].contains("SEARCH \(byTime) (received_at<?)"))
        #expect(plans[1].contains("SEARCH webhook_messages USING PRIMARY KEY (provider=? AND message_id=?)"))
        // In the subquery, which has a limit.
        #expect(plans[1].filter { $0.contains("SCAN") } == ["SCAN \(byTime)"])
    }

    private func count(_ fixture: PaymentFixture) async throws -> Int64? {
        try await fixture.environment.store.transaction { transaction in
            try transaction.first("SELECT count(*) FROM webhook_messages", []) { $0.integer(0) }
        }
    }
}
