import ProviderAPI
import ServiceClient
import ServiceKit
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("Payments that come to no end, and are ended by what their provider's books show", .timeLimit(.minutes(5)))
struct PaymentVerdictTests {
    private static let refused = ProviderReply.refused(code: "account-closed", detail: "this account is closed")
    private static let other = ProviderReply.contradicted("payment of 1 USD instead of payment of 10 USD")

    /// Asks for a plan and commits it. - Returns: the refusal of the plan, or what came of the commit.
    private func end(_ fixture: PaymentFixture, _ payment: String, _ verdict: String) async throws -> RouteResponse {
        try await fixture.operate { client in
            let plan = try await client.get("/payments/\(payment)/plan?action=\(verdict)")
            guard let id = plan.text("plan") else { return plan }
            return try await client.post(
                "/payments/\(payment)/\(verdict)", #"{"operator":"eve","reason":"their books","plan":"\#(id)"}"#)
        }
    }

    /// A refund of ann's deposit of ten dollars that may have been made, and that the provider refuses from then on.
    private func stuckRefund(
        _ client: RouteClient, _ fixture: PaymentFixture
    ) async throws -> (deposit: String, refund: String) {
        let account = try await client.openWallet("ann", "0")
        let deposit = try #require(
            try await client.pay("deposit", from: account, "10.00", key: "k", user: "ann").text("paymentId"))
        try await fixture.workAll()
        let refund = try #require(try await client.refund(payment: deposit, key: "r", user: "ann").text("refundId"))
        for _ in 0..<5 {
            try await fixture.work()
            fixture.test.time.advance(by: .seconds(30))
        }
        #expect(try await client.status(ofPayment: refund, user: "ann") == "processing")
        return (deposit, refund)
    }

    private func stuckGateway() -> ScriptedGateway {
        let steps: [ProviderReply] = [.succeeded, .unknown(.timedOut)] + Array(repeating: Self.refused, count: 20)
        return ScriptedGateway(steps: steps.map { .reply($0) })
    }

    @Test("a refund whose money has not moved gives it back to the account, is a dead letter, and may be made again")
    func refundNotMoved() async throws {
        let gateway = stuckGateway()
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let (deposit, refund) = try await stuckRefund(client, fixture)
            #expect(try await client.balance("ann") == 0)
            let asked = gateway.calls.count
            let plan = try await fixture.operate { try await $0.get("/payments/\(refund)/plan?action=not-moved") }
            #expect(plan.text("from") == "open: refused: account-closed" && plan.text("to") == "failed, a dead letter")
            #expect(try await client.balance("ann") == 0, "a plan does nothing")
            // Asked once more in between, and refused again: still the same plan.
            try await fixture.work()
            let id = try #require(plan.text("plan"))
            let again = try await fixture.operate { try await $0.get("/payments/\(refund)/plan?action=not-moved") }
            #expect(again.text("plan") == id)

            let ended = try await end(fixture, refund, "not-moved")
            #expect(ended.status == 200 && ended.text("status") == "failed")
            #expect(ended.text("actions/0/action") == "not-moved" && ended.text("actions/0/operator") == "eve")
            #expect(try await client.balance("ann") == 980)
            #expect(try await client.status(ofPayment: deposit, user: "ann") == "succeeded")
            #expect(try await fixture.letters() == [refund])
            #expect(try await end(fixture, refund, "moved").code == "payment-state-conflict")
            fixture.test.time.advance(by: .seconds(600))
            try await fixture.work()
            #expect(gateway.calls.count == asked + 1, "nobody asks about it any more")
            #expect(try fixture.test.log.events("an operator has acted").count == 1)
        }
        try await fixture.expectSoundPayments()
    }

    @Test("a refund whose money has moved is entered as if the provider had said so")
    func refundMoved() async throws {
        let fixture = try PaymentFixture.withGateway(stuckGateway())
        try await fixture.run { client in
            let (deposit, refund) = try await stuckRefund(client, fixture)
            let ended = try await end(fixture, refund, "moved")
            #expect(ended.status == 200 && ended.text("status") == "succeeded")
            #expect(try await client.balance("ann") == 0)
            #expect(try await client.status(ofPayment: deposit, user: "ann") == "refunded")
            #expect(try await fixture.letters() == [])
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "a withdrawal of which its provider shows other money for ever is ended either way",
        arguments: ["moved", "not-moved"])
    func withdrawal(_ verdict: String) async throws {
        let fixture = try PaymentFixture.withGateway(
            ScriptedGateway(steps: (0..<20).map { _ in .reply(Self.other) }))
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "100")
            let made = try await client.pay("external_payment", from: account, "10.00", key: "k", user: "ann")
            let id = try #require(made.text("paymentId"))
            try await fixture.work()
            #expect(try await end(fixture, id, verdict).status == 200)
            #expect(try await client.balance("ann") == (verdict == "moved" ? 9000 : 10_000))
        }
        try await fixture.expectSoundPayments()
    }

    @Test("a payment that is being asked about, has not been asked about, or has ended is ended by nobody's word")
    func notOpen() async throws {
        let gate = Gate()
        let gateway = ScriptedGateway(steps: [.wait(gate, then: .succeeded)])
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "100")
            let made = try await client.pay("external_payment", from: account, "10.00", key: "k", user: "ann")
            let id = try #require(made.text("paymentId"))
            func refused() async throws {
                let answer = try await end(fixture, id, "not-moved")
                #expect(answer.code == "payment-state-conflict")
            }
            try await refused()
            async let asking: Void = fixture.work()
            await gate.arrival()
            try await refused()
            gate.open()
            try await asking
            try await refused()
            #expect(try await client.balance("ann") == 9000)
        }
    }

    @Test(
        "a plan is outdated when the provider has said meanwhile that the money has moved, or another operator has acted"
    )
    func outdatedByNews() async throws {
        let fixture = try PaymentFixture.withGateway(stuckGateway())
        try await fixture.run { client in
            let (_, refund) = try await stuckRefund(client, fixture)
            @Sendable func plan() async throws -> String? {
                try await fixture.operate { try await $0.get("/payments/\(refund)/plan?action=not-moved") }.text("plan")
            }
            let first = try #require(try await plan())
            #expect(try await fixture.records { try $0.noteMoved(refund, at: .stripe, isRefund: true) })
            let body = #"{"operator":"eve","reason":"their books","plan":"\#(first)"}"#
            let refused = try await fixture.operate { try await $0.post("/payments/\(refund)/not-moved", body) }
            #expect(refused.code == "plan-outdated")
            let second = try #require(try await plan())
            let settled = try await fixture.operate {
                try await $0.post("/payments/\(refund)/settle", #"{"operator":"ann","reason":"ask"}"#)
            }
            #expect(settled.status == 200)
            #expect(try await plan() != second)
        }
    }

    @Test("a commit needs the plan that would be made now")
    func outdated() async throws {
        let fixture = try PaymentFixture.withGateway(stuckGateway())
        try await fixture.run { client in
            let (_, refund) = try await stuckRefund(client, fixture)
            let answer = try await fixture.operate { client in
                let plan = try await client.get("/payments/\(refund)/plan?action=moved")
                let body = #"{"operator":"eve","reason":"their books","plan":"\#(plan.text("plan") ?? "")"}"#
                return try await client.post("/payments/\(refund)/not-moved", body)
            }
            #expect(answer.code == "plan-outdated")
            #expect(try await client.status(ofPayment: refund, user: "ann") == "processing")
            let none = try await fixture.operate { try await $0.get("/payments/\(refund)/plan?action=perhaps") }
            #expect(none.code == "invalid-parameter")
        }
    }
}
