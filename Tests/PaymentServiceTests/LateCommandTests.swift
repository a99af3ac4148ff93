import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("Commands to Payment whose callers have given up", .timeLimit(.minutes(5)))
struct LateCommandTests {
    private static let late = ["X-Request-Timeout-Ms": "500"]

    private let provider = ScriptedProvider()
    private let fixture: PaymentFixture

    /// Payment on a store that takes half a second before each transaction.
    init() throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let time = test.time
        let store = LateStore(test.store) { time.advance(by: .milliseconds(500)) }
        fixture = PaymentFixture(test, test.environment(on: store), provider)
    }

    @Test("a charge is refused before its provider is asked, and its key and id are as if it had never come (OP-06)")
    func charge() async throws {
        let body = #"{"amount":20.00,"chargeId":"c"}"#
        try await fixture.run { client in
            for sender in [client, client.batching] {
                let refused = try await sender.post("/charge", body, key: "k", headers: Self.late)
                #expect(refused.status == 503)
                #expect(refused.code == "deadline-exceeded")
                #expect(refused.value("retryable") == .bool(true))
            }
            #expect(provider.charges.isEmpty)
            #expect(try await client.get("/charges/c").status == 404)
            #expect(try await client.charge(id: "c", "30.00", key: "k").status == 200)
        }
        #expect(provider.charges.count == 1)
    }

    @Test("a charge that is already made is not unmade by being asked for too late")
    func made() async throws {
        try await fixture.run { client in
            let first = try await client.charge(id: "c", key: "k")
            let late = try await client.post(
                "/charge", #"{"amount":20.00,"chargeId":"c","method":"card"}"#, key: "k", headers: Self.late)
            #expect(late.code == "deadline-exceeded")
            #expect(try await client.status(ofCharge: "c") == "succeeded")
            #expect(try await client.charge(id: "c", key: "k").body == first.body)
        }
    }

    @Test("a refund is never too late, nor is the cancellation of a charge that was not made")
    func refund() async throws {
        try await fixture.run { client in
            #expect(try await client.charge(id: "c", key: "k").status == 200)
            for (id, status) in [("c", "succeeded"), ("never-made", "canceled")] {
                let body = #"{"chargeId":"\#(id)","orCancel":true}"#
                let answer = try await client.post("/refund", body, key: "refund-of-\(id)", headers: Self.late)
                #expect(answer.status == 200)
                #expect(answer.text("status") == status)
            }
        }
    }
}
