import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

extension PaymentFixture {
    func operate<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await service.testOperators(in: environment, body)
    }

    /// The payments that were given up and are in a state, in the order of the list.
    func letters(_ state: String = "open") async throws -> [String] {
        let page = try await operate { try await $0.get("/dead-letters?state=\(state)&limit=100") }
        return (0..<(page.count("deadLetters") ?? 0)).compactMap { page.text("deadLetters/\($0)/payment/paymentId") }
    }

    /// Asks for a plan and commits it. - Returns: the refusal of the plan, or what came of the commit.
    func decide(_ action: String, about payment: String) async throws -> RouteResponse {
        try await operate { client in
            let plan = try await client.get("/dead-letters/\(payment)/plan?action=\(action)")
            guard let id = plan.text("plan") else { return plan }
            return try await client.post(
                "/dead-letters/\(payment)/\(action)", #"{"operator":"eve","reason":"it is back","plan":"\#(id)"}"#)
        }
    }
}

@Suite("What operators see and do of payments that were given up", .timeLimit(.minutes(5)))
struct DeadLetterDeskTests {
    private let fixture: PaymentFixture

    init() throws {
        fixture = try PaymentFixture.withGateway(ScriptedGateway(), .givingUpAtOnce)
    }

    /// Payments of a dollar out of ann's account that the provider could not be asked for. - Returns: their ids.
    private func giveUp(_ count: Int, user: String = "ann") async throws -> [String] {
        let none = ProviderReply.notSent(.unreachable)
        let giving = fixture.successor(ScriptedGateway(steps: (0..<count).map { _ in .reply(none) }), .givingUpAtOnce)
        return try await fixture.run { client in
            let account = try await client.openWallet(user, "100")
            var ids: [String] = []
            for number in 0..<count {
                let made = try await client.pay(
                    "external_payment", from: account, "1", key: "\(user)\(number)", user: user)
                ids.append(try #require(made.text("paymentId")))
            }
            try await giving.workAll()
            return ids
        }
    }

    @Test(
        "a plan says what would move, and does nothing; a commit needs it, a name and a reason, and is kept with the record"
    )
    func plan() async throws {
        let id = try #require(try await giveUp(1).first)
        let fixture = fixture
        try await fixture.operate { client in
            let plan = try await client.get("/dead-letters/\(id)/plan?action=retry")
            #expect(plan.text("action") == "retry" && plan.text("to") == "retried")
            #expect(plan.text("calls/0/service") == "stripe")
            #expect(plan.text("calls/0/effect")?.hasPrefix("1.00 USD: to the outside; 1.00 USD of account") == true)
            let other = try await client.get("/dead-letters/\(id)/plan?action=discard")
            #expect(other.count("calls") == 0 && other.text("plan") != plan.text("plan"))
            #expect(try await client.get("/dead-letters/\(id)/plan?action=fly").code == "invalid-parameter")
            #expect(try await client.get("/dead-letters/\(id)").count("actions") == 0)

            for (body, code) in [
                ("{}", "validation-failed"), (#"{"operator":"eve","reason":"r"}"#, "validation-failed"),
                (#"{"operator":"eve","reason":"r","plan":"00"}"#, "plan-outdated"),
                (#"{"operator":"eve","reason":"r","plan":"\#(other.text("plan") ?? "")"}"#, "plan-outdated"),
            ] {
                #expect(try await client.post("/dead-letters/\(id)/retry", body).code == code)
            }
        }
        #expect(try await fixture.letters() == [id])
        let done = try await fixture.decide("retry", about: id)
        #expect(done.status == 200 && done.text("resolution") == "retried")
        #expect(done.text("actions/0/operator") == "eve" && done.text("actions/0/reason") == "it is back")
        #expect(done.text("actions/0/action") == "retry" && done.text("actions/0/plan") != nil)
        let line = try #require(try fixture.test.log.events("an operator has acted").first)
        #expect(line["level"] == .string("notice") && line["payment_id"] == .string(id))
        #expect(line["operator"] == .string("eve") && line["action"] == .string("retry"))
    }

    @Test("of two who carry out one plan at once, one is refused")
    func twoAtOnce() async throws {
        let id = try #require(try await giveUp(1).first)
        let fixture = fixture
        let codes = try await fixture.operate { client in
            let plan = try #require(try await client.get("/dead-letters/\(id)/plan?action=retry").text("plan"))
            let body = #"{"operator":"eve","reason":"r","plan":"\#(plan)"}"#
            return try await withThrowingTaskGroup { group in
                for _ in 0..<2 {
                    group.addTask { try await client.post("/dead-letters/\(id)/retry", body).status }
                }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
        }
        #expect(codes.sorted() == [200, 409])
        let made = try await fixture.environment.store.transaction { transaction in
            try transaction.all("SELECT payment_id FROM payments WHERE retry_of IS NOT NULL LIMIT 9", []) { $0.text(0) }
        }
        #expect(made.count == 1)
    }

    @Test("lists go by state, user and age, in pages: what is open oldest first, the rest newest first")
    func list() async throws {
        let ids = try await giveUp(5)
        let bobs = try await giveUp(1, user: "bob")
        #expect(try await fixture.letters() == ids + bobs)
        for id in ids.prefix(2) { #expect(try await fixture.decide("discard", about: id).status == 200) }
        #expect(try await fixture.letters("discarded") == [ids[1], ids[0]])
        #expect(try await fixture.letters("retried") == [])
        let fixture = fixture
        try await fixture.operate { client in
            let first = try await client.get("/dead-letters?limit=2&user=ann")
            #expect(first.text("deadLetters/1/payment/paymentId") == ids[3])
            let cursor = try #require(first.text("nextCursor"))
            let second = try await client.get("/dead-letters?limit=2&user=ann&cursor=\(cursor)")
            #expect(second.text("deadLetters/0/payment/paymentId") == ids[4] && second.count("deadLetters") == 1)
            #expect(second.text("nextCursor") == nil)
            #expect(try await client.get("/dead-letters?olderThan=3600").count("deadLetters") == 0)
            #expect(try await client.get("/dead-letters?cursor=odd").code == "invalid-parameter")
        }
    }

    @Test("the public port knows nothing of it")
    func outside() async throws {
        let id = try #require(try await giveUp(1).first)
        try await fixture.run { client in
            for path in ["/dead-letters", "/dead-letters/\(id)", "/operator/dead-letters"] {
                let answer = try await client.get(path)
                #expect(answer.status == 404)
            }
            let retried = try await client.post("/operator/dead-letters/\(id)/retry", "{}")
            #expect(retried.status == 404)
        }
    }
}

extension PaymentsConfiguration {
    /// One attempt, and no second.
    static let givingUpAtOnce = PaymentsConfiguration(
        backoff: BackoffSchedule(maximumAttempts: 1), giveUpAfter: .zero,
        breaker: CircuitBreaker.Settings(minimumCalls: 1000, consecutiveFailures: 1000))
}
