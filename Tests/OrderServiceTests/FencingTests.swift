import Resilience
import ServiceClient
import Storage
import TestSupport
import Testing

@testable import OrderService

/// A process is frozen in the middle of a call, another takes its order over and ends it, and the first wakes (hazard 18).
@Suite("A driver whose saga another process has taken over", .timeLimit(.minutes(5)))
struct FencingTests {
    private let test: TestEnvironment
    private let first: OrderFixture
    private let second: OrderFixture
    private let gate = Gate()

    init() throws {
        test = try TestEnvironment(migrations: OrderSchema.migrations)
        first = OrderFixture(test, test.environment)
        second = OrderFixture(test, test.environment, shop: first.shop)
    }

    /// Everything in the store that a driver might write.
    private func everything() async throws -> [String] {
        try await test.store.transaction { transaction in
            try transaction.all(
                """
                SELECT order_id || ' ' || operation_key || ' ' || attempt || ' ' || status || ' ' || saga || ' '
                    || ifnull(total, '-') || ' ' || updated_at || ' ' || owner || ' ' || epoch || ' ' || beat || ' '
                    || rounds || ' ' || due_at || ' ' || ifnull(parked_for, '-')
                FROM orders ORDER BY order_id LIMIT 10
                """, []
            ) { $0.text(0) }
        }
    }

    /// Freezes the first process in a call, lets the second end the order, and wakes the first with a reply to its call.
    ///
    /// - Returns: what the first tells its client then.
    private func wake(in operation: Operation, with reply: Reply) async throws -> RouteResponse {
        first.shop.script(operation, .wait(gate, then: reply))
        return try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            try await second.recover()
            let before = try await everything()
            try #require(before.count == 1)

            gate.open()
            let late = try await pending
            try await first.idle()
            #expect(try await everything() == before)
            return late
        }
    }

    @Test(
        "wherever it wakes, and whatever its call brings, it stores nothing and tells its client what was stored",
        arguments: [Operation.reserve, .charge, .complete],
        [Reply.answer, .refuse(.conflict), .notExecuted(.unavailable), .notSent(.unreachable), .lose(.timedOut)])
    func completedMeanwhile(_ operation: Operation, _ reply: Reply) async throws {
        let late = try await wake(in: operation, with: reply)
        #expect(late.status == 200)
        let replay = try await first.run { try await $0.checkout() }
        #expect(replay.isReplayed)
        #expect(replay.body == late.body)
        #expect(first.shop.unreturnedCharges.count == 1)
    }

    @Test(
        "one that wakes after the checkout was declined tells its client so, and charges nobody",
        arguments: [Operation.reserve, .release])
    func declinedMeanwhile(_ operation: Operation) async throws {
        first.shop.script(.charge) { _ in .refuse(.declined) }
        let late = try await wake(in: operation, with: .answer)
        #expect(late.status == 402)
        #expect(first.shop.unreturnedCharges.isEmpty)
    }

    @Test("one that wakes in a refund, when the money was given back by another, changes nothing")
    func refundedMeanwhile() async throws {
        first.shop.script(.complete) { _ in .refuse(.conflict) }
        let late = try await wake(in: .refund, with: .answer)
        #expect(late.status == 503)
        #expect(first.shop.operations.count { $0 == .refund } == 2)
        #expect(first.shop.unreturnedCharges.isEmpty)
    }

    @Test("one that wakes while another is still at work tells its client that the outcome is unknown")
    func stillAtWork() async throws {
        let atComplete = Gate()
        first.shop.script(.charge, .wait(gate, then: .refuse(.declined)))
        first.shop.script(.complete, .wait(atComplete, then: .answer))
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            async let recovered: Void = second.recover()
            await atComplete.arrival()
            let before = try await everything()

            gate.open()
            let late = try await pending
            #expect(late.status == 504)
            #expect(late.code == "outcome-unknown")
            try await first.idle()
            #expect(try await everything() == before)
            #expect(!first.shop.operations.contains(.release))

            atComplete.open()
            try await recovered
            let ended = try await client.checkout()
            #expect(ended.status == 200)
            #expect(ended.isReplayed)
        }
        #expect(first.shop.unreturnedCharges.count == 1)
    }

    @Test("one that cannot put its saga down any more leaves it to its new owner")
    func putDown() async throws {
        first.shop.script(.charge) { call in
            call == 1 ? .wait(gate, then: .lose(.timedOut)) : call == 2 ? .answer : .lose(.timedOut)
        }
        try await first.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            try await second.recover()
            let before = try await everything()
            test.time.advance(by: .seconds(40))
            gate.open()
            #expect(try await pending.status == 200)
            try await first.idle()
            #expect(try await everything() == before)
        }
    }

    @Test("two runners on one store drive each of many orders once, and no order twice")
    func twoRunners() async throws {
        for _ in 0..<40 { try await first.leave(.reserving) }
        try await first.parts.recovery.disownAll()
        await withTaskGroup { group in
            for recovery in [first.parts.recovery, second.parts.recovery] {
                group.addTask { await recovery.takeUpDue() }
            }
        }
        #expect(first.shop.calls.count == 120)
        #expect(first.shop.unreturnedCharges.count == 40)
        let totals = try await first.run { try await $0.get("/audit/totals") }
        #expect(totals.integer("orders/completed") == 40)
    }
}
