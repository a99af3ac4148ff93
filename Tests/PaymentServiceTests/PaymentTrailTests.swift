import ProviderAPI
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("The trails of charges and of payments through providers", .timeLimit(.minutes(5)))
struct PaymentTrailTests {
    private func charges(_ client: RouteClient, _ id: String, _ user: String) async throws -> [String] {
        let answer = try await client.get("/charges/\(id)/events", user: user)
        return (0..<(answer.count("events") ?? 0)).compactMap { answer.text("events/\($0)/type") }
    }

    @Test("who charges under the id of another user's payment neither reads its trail nor writes into it (INV-15)")
    func stranger() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "5", key: "k", user: "ann").text("paymentId"))
            try await fixture.workAll()
            let trail = ["created", "processing", "succeeded"]
            #expect(try await client.charge(id: id, "0.01", key: "x", user: "eve").status == 200)
            #expect(try await charges(client, id, "eve") == ["succeeded"])
            #expect(try await client.get("/charges/\(id)/events", user: "eve").integer("events/0/amount/amount") == 1)
            #expect(try await client.events(ofPayment: id, user: "ann") == trail)
            #expect(try await client.get("/payments/\(id)/events", user: "eve").code == "payment-not-found")
            let refund = try await client.refund(payment: id, "1", key: "r", user: "ann")
            try await fixture.workAll()
            #expect(try await charges(client, id, "eve") == ["succeeded"])
            #expect(try await client.events(ofPayment: id, user: "ann") == trail + ["refund_pending", "refunded"])
            let refundID = try #require(refund.text("refundId"))
            #expect(try await client.refund(refundID, key: "y", user: "eve", orCancel: true).status == 200)
            #expect(try await charges(client, refundID, "eve") == ["canceled"])
            #expect(try await client.events(ofPayment: refundID, user: "ann") == trail)
        }
    }

    @Test("a payment that its provider now knows and now does not has each turn in its trail, up to a bound (INV-14)")
    func bounded() async throws {
        let turns = [ProviderReply](repeating: .notFound, count: 150).flatMap { [$0, .pending] }
        let gateway = ScriptedGateway(steps: ([.pending] + turns + [.succeeded]).map { .reply($0) })
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "5", key: "k", user: "ann").text("paymentId"))
            try await fixture.workAll()
            let trail = try await client.events(ofPayment: id, user: "ann")
            #expect(trail.prefix(5) == ["created", "processing", "waiting", "closing", "waiting"])
            let written = try await fixture.environment.store.transaction { transaction in
                try transaction.first(
                    "SELECT count(*), max(type = 'succeeded') FROM payments_trail WHERE payment_id = ?", [.text(id)]
                ) { (events: $0.integer(0), hasEnded: $0.integer(1) == 1) }
            }
            #expect(try #require(written).hasEnded)
            #expect(try #require(written).events < 120)
        }
    }

    @Test("a charge that is dropped under the id of a payment hides nothing of the payment's trail")
    func dropped() async throws {
        let provider = ScriptedProvider()
        provider.scriptCharges(.answer(.unavailable))
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let fixture = PaymentFixture(test, test.environment, provider, configuration: .steady)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "5", key: "k", user: "ann").text("paymentId"))
            #expect(try await client.charge(id: id, "0.01", key: "x", user: "eve").status == 503)
            try await fixture.workAll()
            #expect(try await client.events(ofPayment: id, user: "ann") == ["created", "processing", "succeeded"])
        }
    }

    @Test("trails that an earlier version has mixed are told apart again")
    func migration() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("payment.sqlite")
        let before = PaymentSchema.migrations.prefix { $0.name != PaymentsCorrections.trail.name }
        let old = try SQLiteStore.ofService(at: path, before)
        try await old.transaction { transaction in
            for (id, refundOf) in [("p", String?.none), ("r", "p")] {
                try transaction.run(
                    """
                    INSERT INTO payments VALUES (?1, iif(?2 IS NULL, 'deposit', 'refund'), 'in', 'ann', 'ann', 1, 'a', 'stripe',
                        500, 'USD', 0, 0, NULL, ?2, NULL, NULL, NULL, NULL, NULL, 'succeeded', 'send', 1, 1, 0, 0, NULL, 1, 0, 0,
                        0, 0, NULL, NULL, 0, 0)
                    """, [.text(id), SQLValue(refundOf)])
            }
            // Eve has charged under the payment's id, been given it back, and lost a charge under the refund's id.
            let events: [(String, String, String?, Int64?)] = [
                ("p", "created", nil, 500), ("p", "succeeded", nil, 1), ("p", "processing", nil, 500),
                ("p", "succeeded", nil, 500), ("p", "refunded", "eve's", 1), ("p", "refund_pending", "r", 500),
                ("r", "created", nil, 500), ("r", "pending", nil, 7), ("r", "dropped", nil, nil),
                ("c", "canceled", nil, nil),
            ]
            for (index, (id, type, refund, amount)) in events.enumerated() {
                try transaction.run(
                    "INSERT INTO payment_events (payment_id, sequence, type, refund_id, amount, at) VALUES (?, ?, ?, ?, ?, 0)",
                    [.text(id), .integer(Int64(index + 1)), .text(type), SQLValue(refund), SQLValue(amount)])
            }
        }
        try old.close()
        let new = try SQLiteStore.ofService(at: path, PaymentSchema.migrations)
        let (payments, charges) = try await new.transaction { transaction in
            func all(_ table: String) throws -> [String] {
                try transaction.all(
                    "SELECT payment_id, type FROM \(table) ORDER BY payment_id, sequence LIMIT 100", []
                ) { "\($0.text(0)) \($0.text(1))" }
            }
            return (try all("payments_trail"), try all("payment_events"))
        }
        try new.close()
        #expect(payments == ["p created", "p processing", "p succeeded", "p refund_pending", "r created"])
        #expect(charges == ["c canceled", "p succeeded", "p refunded", "r pending", "r dropped"])
    }
}
