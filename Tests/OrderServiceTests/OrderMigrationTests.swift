import ServiceKit
import StockAPI
import Storage
import TestSupport
import Testing

@testable import OrderService

@Suite("A store of the version before leases", .timeLimit(.minutes(5)))
struct OrderMigrationTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("order.sqlite") }

    /// A store as that version left it: five orders under way, one completed and one failed.
    init() async throws {
        directory = try TemporaryDirectory()
        let store = try store(OrderSchema.migrations.prefix(1))
        for (number, order) in Self.orders.enumerated() {
            let record = SagaRecordTests.versionOne(step: order.step)
                .replacing(#""orderId":"order""#, with: #""orderId":"order-\#(number)""#)
                .replacing(#""reservationId":"reservation""#, with: #""reservationId":"reservation-\#(number)""#)
                .replacing(#""chargeId":"charge""#, with: #""chargeId":"charge-\#(number)""#)
            try await store.transaction { transaction in
                try transaction.run(
                    """
                    INSERT INTO orders (order_id, user_id, status, operation_key, saga, total, currency, created_at, updated_at)
                    VALUES (?1, 'ada', ?2, ?3, ?4, NULL, NULL, 1767225600000, 1767225600000)
                    """,
                    [.text("order-\(number)"), .text(order.status), .text("key-\(number)"), .text(record)])
                try transaction.run(
                    """
                    INSERT INTO idempotency_keys
                        (user_id, operation, key, fingerprint, state, attempt, reference, status, body, expires_at)
                    VALUES ('ada', 'checkout', ?1, x'00', ?2, 1, ?3, NULL, NULL, ?4)
                    """,
                    [
                        .text("key-\(number)"), .text(order.keyState), .text("order-\(number)"),
                        order.status == "pending" ? .null : .integer(1_767_312_000_000),
                    ])
            }
        }
        try store.close()
    }

    private static let failure = #""failure":{"kind":"refused","code":"payment-declined","detail":"No."}"#
    private static let goods = """
        "total":{"amount":3000,"currency":"USD"},"lines":[\
        {"itemId":1,"quantity":2,"unitPrice":{"amount":1000,"currency":"USD"}},\
        {"itemId":7,"quantity":1,"unitPrice":{"amount":1000,"currency":"USD"}}]
        """

    private static let orders: [(step: String, status: String, keyState: String)] = [
        (#"{"name":"reserving"}"#, "pending", "processing"),
        (#"{"name":"charging",\#(goods)}"#, "pending", "processing"),
        (#"{"name":"releasing","thenRefund":false,\#(failure)}"#, "pending", "processing"),
        (#"{"name":"releasing","thenRefund":true,\#(failure)}"#, "pending", "processing"),
        (#"{"name":"refunding",\#(failure)}"#, "pending", "processing"),
        (#"{"name":"completed",\#(goods)}"#, "completed", "succeeded"),
        (#"{"name":"failed",\#(failure)}"#, "failed", "failed"),
    ]

    private func store(_ migrations: some Sequence<Migration>) throws -> SQLiteStore {
        try .ofService(at: path, migrations)
    }

    @Test("is brought up to date, its unfinished orders are taken up, and the others stay as they are")
    func upToDate() async throws {
        let test = try TestEnvironment(migrations: [])
        let store = try store(OrderSchema.migrations)
        let fixture = OrderFixture(test, test.environment(on: store))
        for number in 1...4 { fixture.shop.arrange(reservation: "reservation-\(number)", .reserved) }
        for number in [1, 3, 4] { fixture.shop.arrange(charge: "charge-\(number)", .taken) }
        let before = try await (fixture.stored("order-5"), fixture.stored("order-6"))

        try await fixture.parts.recovery.disownAll()
        await fixture.parts.recovery.takeUpDue()

        for (number, status) in [Order.Status.completed, .completed, .failed, .failed, .failed].enumerated() {
            #expect(try await fixture.stored("order-\(number)")?.status == status, "\(number)")
        }
        #expect(fixture.shop.unreturnedCharges == ["charge-0", "charge-1"])
        #expect(fixture.shop.reservation("reservation-0") == .completed)
        #expect(fixture.shop.reservation("reservation-2") == .canceled)
        #expect(fixture.shop.charge("charge-2") == nil)
        #expect(fixture.shop.charge("charge-3") == .returned)
        #expect(try await fixture.stored("order-5") == before.0)
        #expect(try await fixture.stored("order-6") == before.1)
        // The command that Stock may have had from the old version is the same: no time of holding was in it.
        let reserves = fixture.shop.calls.compactMap { call in
            if case .reserve(let command) = call { command } else { nil }
        }
        #expect(reserves == [ReserveCommand(reservationID: "reservation-0", lines: OrderPlan.sample.lines)])
        // Each order is the record of its key now, and there is no other.
        let keys = try await store.transaction { transaction in
            try transaction.all("SELECT key FROM idempotency_keys LIMIT 10", []) { $0.text(0) }
        }
        #expect(keys == [])
        try await fixture.run { client in
            for number in [0, 1, 5] {
                let replay = try await client.checkout(Self.body, key: "key-\(number)", user: "ada")
                #expect(replay.status == 200 && replay.isReplayed, "\(number)")
                #expect(replay.text("orderId") == "order-\(number)")
                #expect(try await client.checkout(key: "key-\(number)", user: "ada").status == 422)
            }
            for number in [2, 3, 4, 6] {
                #expect(try await client.checkout(key: "key-\(number)", user: "ada").status == 422)
                let anew = try await client.checkout(Self.body, key: "key-\(number)", user: "ada")
                #expect(anew.status == 200 && !anew.isReplayed, "\(number)")
            }
        }
        try store.close()
    }

    /// The command of `versionOne`'s orders.
    private static let body = #"{"lines":[{"itemId":1,"quantity":2},{"itemId":7,"quantity":1}]}"#

    @Test("of several attempts under a key, the last is the one that its key stood for, whatever the ids say")
    func attempts() async throws {
        let upToNow = try store(OrderSchema.migrations.dropLast())
        try await upToNow.transaction { transaction in
            for (id, key, user) in [
                // Its clock was set back after the first attempt, so that the second has the lower id.
                ("b", "set back", "ada"), ("a", "set back", "ada"),
                // Forgotten, and used again.
                ("c", "old", "ada"), ("d", "old", "ada"), ("e", "old", "ada"), ("f", "old", "eve"),
            ] {
                try transaction.run(
                    """
                    INSERT INTO orders (order_id, user_id, status, operation_key, saga, created_at, updated_at)
                    VALUES (?, ?, 'failed', ?, '{}', 0, 0)
                    """, [.text(id), .text(user), .text(key)])
            }
            try transaction.run(
                """
                INSERT INTO idempotency_keys
                    (user_id, operation, key, fingerprint, state, attempt, reference, status, body, expires_at)
                VALUES ('ada', 'checkout', 'set back', x'00', 'failed', 2, 'a', NULL, NULL, 1),
                    ('ada', 'other', 'kept', x'00', 'failed', 2, 'b', NULL, NULL, 1)
                """, [])
        }
        try upToNow.close()
        let store = try store(OrderSchema.migrations)
        let (attempts, keys) = try await store.transaction { transaction in
            try (
                transaction.all("SELECT order_id, attempt FROM orders WHERE order_id < 'g' ORDER BY order_id", []) {
                    "\($0.text(0))\($0.integer(1))"
                },
                transaction.all("SELECT key FROM idempotency_keys", []) { $0.text(0) }
            )
        }
        #expect(attempts == ["a2", "b1", "c1", "d2", "e3", "f1"])
        #expect(keys == ["kept"])
        try store.close()
    }
}
