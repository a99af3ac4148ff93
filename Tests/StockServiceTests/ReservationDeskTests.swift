import Resilience
import ServiceKit
import StockAPI
import StrictJSON
import TestSupport
import Testing

@testable import StockService

@Suite("What operators see and do of reservations", .timeLimit(.minutes(5)))
struct ReservationDeskTests {
    private let fixture: StockFixture

    init() async throws {
        fixture = try StockFixture()
        try await fixture.stock(1, onHand: 10)
        _ = try await fixture.reserve("r-1", [LineRequest(itemID: 1, quantity: 2)]).get()
        _ = try await fixture.reserve("r-2", [LineRequest(itemID: 1, quantity: 3)]).get()
    }

    private func operate<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await fixture.service.testOperators(in: fixture.test.environment, body)
    }

    private static func command(_ plan: String?) -> String {
        #"{"operator":"ann","reason":"they called"\#(plan.map { #","plan":"\#($0)""# } ?? "")}"#
    }

    @Test("a list has those that hold goods, by age, in pages, and the ended ones by their state")
    func list() async throws {
        _ = try await fixture.complete("r-2").get()
        fixture.test.time.advance(by: .seconds(60))
        _ = try await fixture.reserve("r-3", [LineRequest(itemID: 1, quantity: 1)]).get()
        let reserved = try await operate { try await $0.get("/reservations?limit=1") }
        #expect(reserved.text("reservations/0/reservationId") == "r-1")
        #expect(reserved.text("nextCursor") == "r-1")
        let old = try await operate { try await $0.get("/reservations?olderThan=30") }
        #expect(old.count("reservations") == 1)
        let completed = try await operate { try await $0.get("/reservations?state=completed") }
        #expect(completed.text("reservations/0/reservationId") == "r-2")
        #expect(completed.value("nextCursor") == .null)
        let outside = try await fixture.run { try await $0.get("/reservations") }
        #expect(outside.status == 404)
    }

    @Test("a release by hand puts the goods back, once, by a plan, says who did it and why, and is for no web page")
    func release() async throws {
        let plan = try await operate { try await $0.get("/reservations/r-1/plan") }
        #expect(plan.text("calls/0/effect") == "2 of item 1: back into the stock")
        #expect(try await fixture.levels(1)?.reserved == 5)
        let id = plan.text("plan")
        for (command, code) in [(Self.command(nil), "validation-failed"), (Self.command("ff"), "plan-outdated")] {
            let refused = try await operate { try await $0.post("/reservations/r-1/release", command) }
            #expect(refused.code == code)
        }
        let page = try await operate {
            try await $0.post(
                "/reservations/r-1/release", Self.command(id), headers: ["Origin": "http://localhost:3143"])
        }
        #expect((page.status, page.code) == (400, "bad-request"))
        let released = try await operate { try await $0.post("/reservations/r-1/release", Self.command(id)) }
        #expect(released.text("status") == "canceled")
        let line = try #require(try fixture.test.log.events("an operator has acted").first)
        #expect(line["reservation_id"] == .string("r-1") && line["action"] == .string("release"))
        #expect(line["level"] == .string("notice") && line["operator"] == .string("ann"))
        #expect(try await fixture.levels(1)?.reserved == 3)
        let again = try await operate { try await $0.post("/reservations/r-1/release", Self.command(id)) }
        #expect(again.code == "reservation-state-conflict")
        let shown = try await operate { try await $0.get("/reservations/r-1") }
        #expect(shown.text("actions/0/operator") == "ann")
        #expect(shown.count("actions") == 1)
    }

    @Test("a plan is out of date when the reservation has ended since")
    func outdated() async throws {
        let plan = try await operate { try await $0.get("/reservations/r-1/plan") }.text("plan")
        _ = try await fixture.complete("r-1").get()
        let answer = try await operate { try await $0.post("/reservations/r-1/release", Self.command(plan)) }
        #expect(answer.status == 409)
        #expect(try await fixture.levels(1)?.onHand == 8)
        let unknown = try await operate { try await $0.get("/reservations/none/plan") }
        #expect(unknown.code == "reservation-not-found")
    }
}
