import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("What operators see and do of charges", .timeLimit(.minutes(5)))
struct ChargeDeskTests {
    private static let command = #"{"operator":"ann","reason":"the bank called"}"#

    private let provider = ScriptedProvider()
    private let fixture: PaymentFixture

    init() throws {
        fixture = try PaymentFixture(provider)
    }

    private func operate<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await fixture.service.testOperators(in: fixture.environment, body)
    }

    @Test("the last events of a charge are shown, where there are more than are shown")
    func lastEvents() async throws {
        let id = try #require(try await fixture.run { try await $0.charge() }.text("chargeId"))
        let now = fixture.test.time.now
        try await fixture.book { book in
            for number in 1...ChargeDesk.eventLimit {
                try book.record(PaymentEvent(kind: .refunded, refundID: "r\(number)", amount: 1, at: now), of: id)
            }
        }
        let shown = try await operate { try await $0.get("/charges/\(id)") }
        let count = try #require(shown.count("events"))
        #expect(count == ChargeDesk.eventLimit)
        #expect(shown.text("events/\(count - 1)/refundId") == "r\(count)")
        #expect(shown.text("events/0/type") == "refunded")
    }

    private func openCharges() async throws -> RouteResponse { try await operate { try await $0.get("/charges") } }

    @Test(
        "an open charge is listed and shown until its provider has answered; settling asks at once, under the same id")
    func settle() async throws {
        provider.scriptCharges(.answer(.unknown), .answer(.unknown))
        let charge = try await fixture.run { try await $0.charge() }
        #expect(charge.code == "outcome-unknown")
        let list = try await openCharges()
        #expect(list.count("charges") == 1)
        let id = try #require(list.text("charges/0/chargeId"))
        let still = try await operate { try await $0.post("/charges/\(id)/settle", Self.command) }
        #expect(still.status == 200)
        #expect(still.text("status") == "pending")
        let settled = try await operate { try await $0.post("/charges/\(id)/settle", Self.command) }
        #expect(settled.text("status") == "succeeded")
        #expect(Set(provider.charges).count == 1)
        #expect(settled.text("actions/0/operator") == "ann")
        #expect(settled.count("actions") == 2)
        let lines = try fixture.test.log.events("an operator has acted")
        #expect(lines.count == 2 && lines.first?["charge_id"] == .string(id))
        #expect(lines.first?["level"] == .string("notice") && lines.first?["action"] == .string("settle"))
        #expect(try await openCharges().count("charges") == 0)
        let again = try await operate { try await $0.post("/charges/\(id)/settle", Self.command) }
        #expect(again.code == "charge-state-conflict")
        let succeeded = try await operate { try await $0.get("/charges?state=succeeded") }
        #expect(succeeded.text("charges/0/chargeId") == id)
    }

    @Test("what operators do to a charge is not what they did to a payment whose id a client has given it")
    func actionsApart() async throws {
        provider.scriptCharges(.answer(.unknown))
        let shared = "01a1fc67-dc5f-7229-9f7b-3f1897ccbcb2"
        _ = try await fixture.run { try await $0.charge(id: shared, key: "k") }
        let settled = try await operate { try await $0.post("/charges/\(shared)/settle", Self.command) }
        #expect(settled.count("actions") == 1)
        let others = try await fixture.environment.store.transaction { try OperatorLog($0).count(of: shared) }
        #expect(others == 0)
    }

    @Test("a charge is found by its id as it is written in an address")
    func escapedID() async throws {
        _ = try await fixture.run { try await $0.charge(id: "order:18", key: "k") }
        for path in ["/charges/order:18", "/charges/order%3A18", "/charges/%6frder%3a18"] {
            #expect(try await operate { try await $0.get(path) }.text("chargeId") == "order:18", "\(path)")
            #expect(try await fixture.run { try await $0.get(path) }.text("chargeId") == "order:18", "\(path)")
        }
        for path in ["/charges/%ff", "/charges/order%3", "/charges/order%00"] {
            #expect(try await fixture.run { try await $0.get(path) }.status == 404, "\(path)")
        }
    }

    @Test("a charge with an open refund is open, and settling asks about the refund")
    func refund() async throws {
        provider.scriptRefunds(.answer(.unknown))
        let charge = try #require(try await fixture.run { try await $0.charge() }.text("chargeId"))
        let refund = try await fixture.run { try await $0.post("/refund", "{\"chargeId\":\"\(charge)\"}", key: "back") }
        #expect(refund.code == "outcome-unknown")
        let list = try await openCharges()
        #expect(list.text("charges/0/chargeId") == charge)
        #expect(list.value("charges/0/hasOpenRefund") == .bool(true))
        let settled = try await operate { try await $0.post("/charges/\(charge)/settle", Self.command) }
        #expect(settled.count("openRefunds") == 0)
        #expect(try await openCharges().count("charges") == 0)
        #expect(provider.refunds.count == 2)
    }

    @Test("who and why are asked for, and what is not there is not found; the public port knows nothing of it")
    func refusals() async throws {
        let unknown = try await operate { try await $0.post("/charges/none/settle", Self.command) }
        #expect(unknown.code == "charge-not-found")
        let nobody = try await operate { try await $0.post("/charges/none/settle", "{}") }
        #expect(nobody.code == "validation-failed")
        let outside = try await fixture.run { try await $0.get("/charges") }
        #expect(outside.status == 404)
    }
}
