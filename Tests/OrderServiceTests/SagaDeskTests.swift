import Resilience
import ServiceClient
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

@Suite("What operators see and do of checkouts", .timeLimit(.minutes(5)))
struct SagaDeskTests {
    private let fixture: OrderFixture
    private var shop: FakeShop { fixture.shop }

    init() throws {
        fixture = try OrderFixture(parkAfterRounds: 2)
    }

    private static func command(_ plan: String? = nil, by name: String = "ann") -> String {
        let member = plan.map { #","plan":"\#($0)""# } ?? ""
        return #"{"operator":"\#(name)","reason":"the customer called"\#(member)}"#
    }

    /// An order that nobody drives, at a step.
    private func putDown(_ step: Saga.Step) async throws -> String {
        let id = try await fixture.leave(step).plan.orderID
        try await fixture.parts.recovery.disownAll()
        return id
    }

    private func plan(_ action: String, _ id: String) async throws -> RouteResponse {
        try await fixture.operate { try await $0.get("/sagas/\(id)/plan?action=\(action)") }
    }

    private func commit(_ action: String, _ id: String, _ command: String) async throws -> RouteResponse {
        try await fixture.operate { try await $0.post("/sagas/\(id)/\(action)", command) }
    }

    private func show(_ id: String) async throws -> RouteResponse {
        try await fixture.operate { try await $0.get("/sagas/\(id)") }
    }

    // MARK: - Seeing

    @Test("the public port knows nothing of it")
    func publicPort() async throws {
        let id = try await putDown(.charging(.sample))
        try await fixture.run { client in
            let list = try await client.get("/sagas")
            #expect(list.status == 404)
            #expect(try await client.get("/sagas/\(id)").status == 404)
            #expect(try await client.post("/sagas/\(id)/retry", Self.command()).status == 404)
            #expect(try await client.post("/operator/orders/\(id)/retry", "{}").status == 404)
        }
        #expect(try await fixture.operate { try await $0.get("/checkout") }.status == 404)
    }

    @Test("a list has what its state, user and age ask for, oldest first, in pages")
    func list() async throws {
        let ended = try await fixture.leave(.failed(.sample)).plan.orderID
        var left: [String] = []
        for _ in 0..<3 {
            left.append(try await putDown(.charging(.sample)))
            fixture.test.time.advance(by: .seconds(10))
        }
        let ids = left
        try await fixture.operate { client in
            func list(_ query: String) async throws -> [String] {
                let page = try await client.get("/sagas?\(query)")
                #expect(page.status == 200)
                return (0..<(page.count("sagas") ?? 0)).compactMap { page.text("sagas/\($0)/orderId") }
            }
            #expect(try await list("") == ids)
            #expect(try await list("state=waiting") == ids)
            #expect(try await list("state=parked") == [])
            #expect(try await list("state=under_way") == [])
            #expect(try await list("state=failed") == [ended])
            #expect(try await list("user=ada") == ids)
            #expect(try await list("user=bob") == [])
            #expect(try await list("olderThan=15") == Array(ids.prefix(2)))
            let first = try await client.get("/sagas?limit=2")
            #expect(first.text("nextCursor") == ids[1])
            #expect(try await list("limit=2&cursor=\(ids[1])") == [ids[2]])
            for bad in ["state=odd", "olderThan=-1", "limit=0", "x=1", "cursor=bogus"] {
                #expect(try await client.get("/sagas?\(bad)").code == "invalid-parameter")
            }
        }
    }

    @Test("a rare state among many ended orders is found page by page, each of a bounded search")
    func boundedSearch() async throws {
        let rare = try await fixture.leave(.failed(.sample)).plan.orderID
        _ = try await fixture.test.store.transaction { transaction in
            try transaction.run(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                INSERT INTO orders
                    (order_id, user_id, status, operation_key, attempt, saga, created_at, updated_at, owner, epoch, due_at)
                SELECT printf('ffffffff-ffff-7fff-8fff-%012x', i), 'bob', 'completed', 'k' || i, 1, '{}', 0, 0, '', 1, 0 FROM n
                """, [.integer(Int64(OperatorSelection.scanned + 10))])
        }
        try await fixture.operate { client in
            let first = try await client.get("/sagas?state=failed")
            #expect(first.count("sagas") == 0)
            let cursor = try #require(first.text("nextCursor"))
            let second = try await client.get("/sagas?state=failed&cursor=\(cursor)")
            #expect(second.text("sagas/0/orderId") == rare)
            #expect(second.value("nextCursor") == .null)
            #expect(try await client.get("/sagas?state=completed&limit=1").text("sagas/0/step") == "unreadable")
        }
    }

    @Test("a checkout is shown with its history and each failed attempt; one that goes well has none")
    func attempts() async throws {
        #expect(try await fixture.checkout(key: "well").status == 200)
        let well = try await fixture.onlyOrderID()
        #expect(try await show(well).count("attempts") == 0)

        shop.script(.refund) { _ in .lose(.timedOut) }
        let id = try await putDown(.refunding(.sample))
        await fixture.parts.recovery.takeUpDue()
        let file = try await show(id)
        #expect(file.text("state") == "waiting")
        #expect(file.text("step") == "refunding")
        #expect(file.text("user") == "ada")
        #expect(file.count("attempts") == 1)
        #expect(file.text("attempts/0/call") == "refund")
        #expect(file.text("attempts/0/answer") == "no definite answer: no answer in time")
        #expect(file.text("history/1/event") == "refund outcome unknown: timedOut")
        #expect(try await show("none").code == "order-not-found")
    }

    @Test("of many failed attempts the first and the last are kept, with their numbers")
    func keptAttempts() async throws {
        shop.script(.refund) { _ in .lose(.timedOut) }
        let id = try await putDown(.refunding(.sample))
        for _ in 0..<100 {
            await fixture.parts.recovery.takeUpDue()
            fixture.test.time.advance(by: .seconds(61))
        }
        let file = try await show(id)
        let kept = 2 * SagaLog.keptAttempts
        #expect(file.count("attempts") == Int(kept))
        #expect(file.integer("attempts/0/sequence") == 1)
        #expect(file.integer("attempts/\(SagaLog.keptAttempts)/sequence") == 100 - SagaLog.keptAttempts + 1)
        #expect(file.integer("attempts/\(kept - 1)/sequence") == 100)
    }

    // MARK: - Compensating

    @Test("a plan says what would be called and moved, and does nothing")
    func dryRun() async throws {
        let id = try await putDown(.charging(.sample))
        let row = try await fixture.row(id)
        let answer = try await plan("compensate", id)
        #expect(answer.status == 200)
        #expect(answer.text("from") == "charging")
        #expect(answer.text("to") == "releasing")
        #expect(answer.count("calls") == 2)
        #expect(answer.text("calls/0/operation") == "release")
        #expect(answer.text("calls/0/effect")?.hasPrefix("2 of item 1: back into the stock") == true)
        #expect(answer.text("calls/1/operation") == "refund")
        let forward = try await plan("retry", id)
        #expect(forward.text("calls/0/operation") == "charge")
        #expect(forward.text("calls/1/operation") == "complete")
        #expect(forward.text("plan") != answer.text("plan"))
        #expect(try await plan("compensate", id).text("plan") == answer.text("plan"))
        #expect(try await fixture.row(id) == row)
        #expect(shop.operations == [])
        #expect(try await plan("destroy", id).code == "invalid-parameter")
    }

    @Test(
        "a compensated order gives back goods and money, however far it had come, and says who did it and why",
        arguments: [Saga.Step.reserving, .charging(.sample), .completing(.sample)])
    func compensate(_ step: Saga.Step) async throws {
        let id = try await putDown(step)
        let epoch = try await fixture.row(id).epoch
        let planned = try #require(try await plan("compensate", id).text("plan"))
        let answer = try await commit("compensate", id, Self.command(planned))
        #expect(answer.status == 200)
        #expect(answer.text("state") == "due")
        #expect(try await fixture.row(id).epoch == epoch + 1)
        #expect(shop.operations == [])

        await fixture.parts.recovery.takeUpDue()
        #expect(shop.operations == [.release, .refund])
        #expect(try await fixture.row(id).status == "failed")
        let file = try await show(id)
        #expect(file.text("failure/code") == "withdrawn")
        #expect(file.text("actions/0/operator") == "ann")
        #expect(file.text("actions/0/reason") == "the customer called")
        #expect(file.text("actions/0/action") == "compensate")
        #expect(file.text("actions/0/plan") == planned)
        let line = try #require(try fixture.test.log.events("an operator has acted").first)
        #expect(line["level"] == .string("notice") && line["order_id"] == .string(id))
        #expect(line["operator"] == .string("ann") && line["action"] == .string("compensate"))
        #expect(line["reason"] == .string("the customer called") && line["plan"] == .string(planned))
        // The customer learns that it was withdrawn, and not by whom.
        let shown = try await fixture.run { try await $0.get("/orders/\(id)", user: "ada") }
        #expect(!String(decoding: shown.body, as: UTF8.self).contains("ann"))
        #expect(shown.text("history/1/event") == "withdrawn by the shop")
    }

    @Test(
        "the client of a withdrawn order is told so however often it asks, and orders nothing anew under its key; a new key does",
        arguments: [Saga.Step.reserving, .charging(.sample), .completing(.sample)])
    func withdrawnForGood(_ step: Saga.Step) async throws {
        let id = try await putDown(step)
        let planned = try #require(try await plan("compensate", id).text("plan"))
        #expect(try await commit("compensate", id, Self.command(planned)).status == 200)
        let still = try await fixture.run { try await $0.checkout(key: "key-\(id)", user: "ada") }
        #expect(still.code == "request-in-progress")
        await fixture.parts.recovery.takeUpDue()
        for _ in 0..<3 {
            let answer = try await fixture.run { try await $0.checkout(key: "key-\(id)", user: "ada") }
            #expect(answer.status == 409 && answer.code == "order-withdrawn" && answer.isReplayed)
            #expect(answer.value("retryable") == .bool(false) && answer.header("Retry-After") == nil)
            #expect(answer.text("detail")?.contains("use a new Idempotency-Key") == true)
        }
        let other = try await fixture.run {
            try await $0.checkout(#"{"itemId":1,"quantity":3}"#, key: "key-\(id)", user: "ada")
        }
        #expect(other.code == "idempotency-key-reused")
        #expect(shop.operations == [.release, .refund], "nothing was ordered anew")
        let orders = try await fixture.run { try await $0.get("/orders", user: "ada") }
        #expect(orders.count("orders") == 1)
        #expect(try await fixture.run { try await $0.checkout(key: "another", user: "ada") }.status == 200)
    }

    @Test("a withdrawn order's key is free again when its time is over, like every key (IK-25)")
    func withdrawnKeyIsForgotten() async throws {
        let id = try await putDown(.charging(.sample))
        let planned = try #require(try await plan("compensate", id).text("plan"))
        #expect(try await commit("compensate", id, Self.command(planned)).status == 200)
        await fixture.parts.recovery.takeUpDue()
        fixture.test.time.advance(by: .seconds(86_401))
        #expect(try await fixture.run { try await $0.checkout(key: "key-\(id)", user: "ada") }.status == 200)
    }

    @Test("if the goods have left already, the order goes forward: nobody keeps goods and money")
    func compensatedTooLate() async throws {
        let id = try await putDown(.completing(.sample))
        shop.script(.release, .refuse(.conflict))
        let planned = try #require(try await plan("compensate", id).text("plan"))
        #expect(try await commit("compensate", id, Self.command(planned)).status == 200)
        await fixture.parts.recovery.takeUpDue()
        #expect(shop.operations == [.release, .reserve, .charge, .complete])
        #expect(try await fixture.row(id).status == "completed")
    }

    @Test("an order whose goods have left without its money goes back all the same when an operator says so, and ends")
    func abandoned() async throws {
        let id = try await putDown(.releasing(.sample, then: .refund))
        shop.script(.release) { _ in .refuse(.conflict) }
        await fixture.parts.recovery.takeUpDue()
        #expect(try await show(id).text("step") == "releasing")
        let plan = try await plan("compensate", id)
        #expect(plan.text("calls/0/effect")?.contains("if they have left, they stay gone") == true)
        let planned = try #require(plan.text("plan"))
        #expect(try await commit("compensate", id, Self.command(planned)).status == 200)
        await fixture.parts.recovery.takeUpDue()
        #expect(shop.operations.suffix(2) == [.release, .refund])
        #expect(try await fixture.row(id).status == "failed")
        let again = try await fixture.run { try await $0.checkout(key: "key-\(id)", user: "ada") }
        #expect(again.code == "order-withdrawn")
    }

    @Test("what is at stake stays known while an order that could not be taken back goes forward again")
    func stakeKept() async throws {
        let id = try await putDown(.completing(.sample))
        shop.script(.complete) { _ in .lose(.timedOut) }
        await fixture.parts.recovery.takeUpDue()
        let planned = try #require(try await plan("compensate", id).text("plan"))
        #expect(try await commit("compensate", id, Self.command(planned)).status == 200)
        shop.script(.release, .refuse(.conflict))
        shop.script(.reserve) { _ in .lose(.timedOut) }
        fixture.test.time.advance(by: .seconds(100))
        await fixture.parts.recovery.takeUpDue()
        let file = try await show(id)
        #expect(file.text("step") == "reserving")
        #expect(file.value("atStake") != .null && file.value("atStake") != nil)
    }

    @Test("nothing is compensated without a plan, by another plan, or by one that was made before the order moved")
    func outdated() async throws {
        shop.script(.charge) { _ in .lose(.timedOut) }
        let id = try await putDown(.charging(.sample))
        #expect(try await commit("compensate", id, Self.command()).code == "validation-failed")
        #expect(try await commit("compensate", id, Self.command("0123456789abcdef")).code == "plan-outdated")
        let planned = try #require(try await plan("compensate", id).text("plan"))
        await fixture.parts.recovery.takeUpDue()
        let answer = try await commit("compensate", id, Self.command(planned))
        #expect(answer.status == 409)
        #expect(answer.code == "plan-outdated")
        #expect(answer.value("retryable") == .bool(false))
        #expect(try await show(id).count("actions") == 0)
        #expect(try await show(id).text("step") == "charging")

        let second = try #require(try await plan("compensate", id).text("plan"))
        #expect(try await commit("compensate", id, Self.command(second)).status == 200)
        #expect(try await commit("compensate", id, Self.command(second)).status == 409)
    }

    @Test("an order that is being driven is refused, and may be asked for again")
    func underWay() async throws {
        let gate = Gate()
        shop.script(.charge, .wait(gate, then: .answer))
        let id = try await putDown(.charging(.sample))
        let planned = try #require(try await plan("compensate", id).text("plan"))
        async let turn: Void = fixture.parts.recovery.takeUpDue()
        await gate.arrival()
        for answer in [
            try await plan("compensate", id), try await plan("park", id),
            try await commit("compensate", id, Self.command(planned)),
        ] {
            #expect(answer.code == "saga-under-way")
            #expect(answer.value("retryable") == .bool(true))
        }
        gate.open()
        await turn
        #expect(try await fixture.row(id).status == "completed")
        #expect(try await plan("compensate", id).code == "order-state-conflict")
    }

    @Test("an order that goes back already cannot be compensated, and one that no version here reads cannot be touched")
    func impossible() async throws {
        for step in [
            Saga.Step.releasing(.sample, then: .withdraw), .releasing(.sample, then: .abandon), .refunding(.sample),
        ] {
            #expect(try await plan("compensate", try await putDown(step)).code == "order-state-conflict")
        }
        let newer = try await putDown(.charging(.sample))
        _ = try await fixture.test.store.transaction { transaction in
            try transaction.run("UPDATE orders SET saga = '{}' WHERE order_id = ?", [.text(newer)])
        }
        for action in ["retry", "compensate", "park"] {
            #expect(try await plan(action, newer).code == "order-state-conflict")
        }
        #expect(try await show(newer).text("step") == "unreadable")
        #expect(try await plan("retry", "none").code == "order-not-found")
    }

    // MARK: - Parking

    @Test(
        "an order that an operator has parked stays so over restarts and healed breakers, until an operator retries it")
    func park() async throws {
        let id = try await putDown(.charging(.sample))
        let planned = try #require(try await plan("park", id).text("plan"))
        #expect(try await commit("park", id, Self.command(planned)).text("state") == "parked")
        #expect(try await plan("park", id).code == "order-state-conflict")
        let file = try await show(id)
        #expect(file.text("parkedBy") == "ann")
        #expect(file.text("parkedFor") == "by an operator: the customer called")
        for _ in 0..<3 {
            fixture.test.time.advance(by: .seconds(100_000))
            try await fixture.parts.recovery.disownAll()
            _ = try await fixture.parts.log.unpark(limit: 10)
            await fixture.parts.recovery.takeUpDue()
        }
        #expect(shop.operations == [])
        #expect(try await commit("retry", id, Self.command()).text("state") == "due")
        await fixture.parts.recovery.takeUpDue()
        #expect(try await fixture.row(id).status == "completed")
        #expect(try await show(id).count("actions") == 2)
    }

    @Test("one that was found due a moment before it was parked is not taken up")
    func parkedMeanwhile() async throws {
        let id = try await putDown(.charging(.sample))
        let log = fixture.parts.log
        let due = try await log.due(limit: 1, longestWait: .seconds(100))
        let planned = try #require(try await plan("park", id).text("plan"))
        #expect(try await commit("park", id, Self.command(planned)).status == 200)
        #expect(try await log.take(try #require(due.first)) == nil)
    }

    // MARK: - The command

    @Test(
        "who and why are asked for, in JSON",
        arguments: [
            "{}", #"{"operator":"ann"}"#, #"{"reason":"x"}"#, #"{"operator":"","reason":"x"}"#,
            #"{"operator":"ann","reason":"x","force":true}"#,
        ])
    func badCommand(_ body: String) async throws {
        let id = try await putDown(.charging(.sample))
        #expect(try await commit("retry", id, body).code == "validation-failed")
        #expect(shop.operations == [])
    }
}
