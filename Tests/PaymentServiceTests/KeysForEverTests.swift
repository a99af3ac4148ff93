import Idempotency
import ServiceKit
import Storage
import TestSupport
import Testing

@testable import PaymentService

@Suite("A key moves money once, however long ago", .timeLimit(.minutes(5)))
struct KeysForEverTests {
    private static let life = Duration.seconds(86_401)

    private func captured(_ client: RouteClient) async throws -> Int64? {
        try await client.get("/audit/totals").integer("currencies/0/captured")
    }

    private func returned(_ client: RouteClient) async throws -> Int64? {
        try await client.get("/audit/totals").integer("currencies/0/refunded")
    }

    @Test("a charge that comes again when its key is forgotten takes nothing and has the same answer")
    func charge() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let first = try await client.charge("20.00", key: "k", user: "ann")
            #expect(first.status == 200)
            for _ in 0..<3 {
                fixture.test.time.advance(by: Self.life)
                let again = try await client.charge("20.00", key: "k", user: "ann")
                #expect(again.status == 200 && again.body == first.body && again.isReplayed)
            }
            #expect(try await captured(client) == 2000)
            // Another user's key is another key, and so is another operation's (IK-14).
            #expect(try await client.charge("20.00", key: "k", user: "bob").isReplayed == false)
            #expect(try await captured(client) == 4000)
        }
    }

    @Test(
        "another command under a key that has taken money is refused when the key is forgotten too",
        arguments: [#""amount":30.00"#, #""amount":20.00,"orderId":"o""#, #""amount":20.00,"method":"card""#])
    func otherCharge(_ members: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge("20.00", key: "k")
            fixture.test.time.advance(by: Self.life)
            for _ in 0..<2 {
                let other = try await client.post("/charge", "{\(members)}", key: "k")
                #expect(other.status == 422 && other.code == "idempotency-key-reused")
            }
            for id in ["c", "k"] {
                let named = try await client.charge(id: id, key: "k")
                #expect(named.status == 422, "\(id)")
            }
            #expect(try await client.charge("20.00", key: "k").isReplayed)
            #expect(try await captured(client) == 2000)
        }
    }

    @Test("a key whose charge was declined has taken nothing, and takes money once when it comes again")
    func declined() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let declined = try await client.charge(method: "test_declined", key: "k")
            #expect(declined.status == 402)
            fixture.test.time.advance(by: Self.life)
            let paid = try await client.charge("20.00", key: "k")
            #expect(paid.status == 200)
            fixture.test.time.advance(by: Self.life)
            #expect(try await client.charge("20.00", key: "k").isReplayed)
            #expect(try await client.charge(method: "test_declined", key: "k").status == 422)
            #expect(try await captured(client) == 2000)
        }
    }

    @Test("a part of a charge that is given back again when its key is forgotten is not given back twice")
    func refund() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let first = try await client.refund("c", "5.00", key: "r")
            fixture.test.time.advance(by: Self.life)
            let again = try await client.refund("c", "5.00", key: "r")
            #expect(again.status == 200 && again.body == first.body && again.isReplayed)
            fixture.test.time.advance(by: Self.life)
            for other in [try await client.refund("c", key: "r"), try await client.refund("c", "1.00", key: "r")] {
                #expect(other.status == 422 && other.code == "idempotency-key-reused")
            }
            #expect(try await returned(client) == 500)
            #expect(try await client.refund("c", "5.00", key: "r2").status == 200)
            #expect(try await returned(client) == 1000)
        }
    }

    @Test("a charge without an outcome keeps its key, also when the keys are lost with the process")
    func pending() async throws {
        let provider = ScriptedProvider()
        provider.scriptCharges(.answer(.unknown), .answer(.approved))
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        func process() -> PaymentFixture {
            let environment = ServiceEnvironment(
                store: test.store, keys: MemoryIdempotencyStore(timeToLive: Self.life), time: test.time,
                sleeper: test.sleeper, identifiers: test.environment.identifiers, logger: test.environment.logger)
            return PaymentFixture(test, environment, provider)
        }
        let first = try await process().run { client in try await client.charge(key: "k") }
        #expect(first.status == 504)
        let next = process()
        try await next.run { client in
            let early = try await client.charge(key: "k")
            #expect(early.code == "request-in-progress")
            try await next.settleOpen()
            #expect(try await client.charge(key: "k").isReplayed)
            #expect(try await captured(client) == 2000)
        }
        #expect(provider.charges.count == 2 && Set(provider.charges.map(\.chargeID)).count == 1)
    }

    @Test("a store in which a key has moved money twice opens, and no key does so again")
    func migration() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("payment.sqlite")
        let old = try SQLiteStore.ofService(
            at: path, PaymentSchema.migrations.prefix { $0.name != KeysForEver.migration.name })
        try await old.transaction { transaction in
            for (id, key, status, time) in [
                ("b", "k", "succeeded", 1), ("a", "k", "succeeded", 2), ("c", "l", "failed", 1),
                ("d", "l", "failed", 2),
                ("e", "l", "succeeded", 3), ("f", "f", "succeeded", 4),
            ] as [(String, String, String, Int64)] {
                try transaction.run(
                    """
                    INSERT INTO charges (charge_id, user_id, method, amount, currency, refunded, status, operation_key, created_at)
                    VALUES (?, 'ann', 'card', 2000, 'USD', iif(?1 = 'b', 1000, 0), ?, ?, ?)
                    """, [.text(id), .text(status), .text(key), .integer(time)])
            }
            for id in ["r1", "r2"] {
                try transaction.run(
                    """
                    INSERT INTO refunds (refund_id, charge_id, user_id, amount, status, operation_key, created_at)
                    VALUES (?, 'b', 'ann', 500, 'succeeded', 'r', 0)
                    """, [.text(id)])
            }
        }
        try old.close()
        let new = try SQLiteStore.ofService(at: path, PaymentSchema.migrations)
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let fixture = PaymentFixture(test, test.environment(on: new), ScriptedProvider())
        try await fixture.run { client in
            for (key, id) in [("k", "b"), ("l", "e")] {
                let answer = try await client.charge("20.00", key: key, user: "ann")
                #expect(answer.isReplayed && answer.text("chargeId") == id)
                #expect(try await client.charge("21.00", key: key, user: "ann").status == 422)
            }
            let refund = try await client.refund("b", "5.00", key: "r", user: "ann")
            #expect(refund.isReplayed && refund.text("refundId") == "r1")
        }
        for statement in [
            "INSERT INTO charges (charge_id, user_id, method, amount, currency, status, operation_key, created_at) "
                + "VALUES ('z', 'ann', 'card', 1, 'USD', 'pending', 'k', 0)",
            "INSERT INTO refunds (refund_id, charge_id, user_id, amount, status, operation_key, created_at) "
                + "VALUES ('z', 'b', 'ann', 1, 'pending', 'r', 0)",
        ] {
            await #expect(throws: StoreError.self) {
                _ = try await new.transaction { try $0.run(statement, []) }
            }
        }
        try new.close()
    }

    @Test("the keys of charges and refunds are found by their indexes, and that of a checkout's charge is in none")
    func plans() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "c")
            _ = try await client.charge(id: "d", key: "k")
        }
        let plans = try await fixture.environment.store.transaction { transaction in
            try [
                (ChargeBook.selectCharge, KeysForEver.ofCharges), (ChargeBook.selectRefund, KeysForEver.ofRefunds),
            ].map { select, condition in
                try transaction.all(
                    "EXPLAIN QUERY PLAN \(select) WHERE user_id = 'x' AND operation_key = 'y' AND \(condition)", []
                ) { $0.text(3) }
            }
        }
        #expect(
            plans[0].count == 1 && plans[0][0].contains("USING INDEX charges_by_key (user_id=? AND operation_key=?)"))
        #expect(
            plans[1].count == 1 && plans[1][0].contains("USING INDEX refunds_by_key (user_id=? AND operation_key=?)"))
        let indexed = try await fixture.environment.store.transaction { transaction in
            try transaction.all(
                "SELECT charge_id FROM charges INDEXED BY charges_by_key WHERE user_id = '' AND \(KeysForEver.ofCharges)",
                []
            ) { $0.text(0) }
        }
        #expect(indexed == ["d"])
    }
}
