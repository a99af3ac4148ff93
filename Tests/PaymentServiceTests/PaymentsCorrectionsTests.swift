import Idempotency
import NIOPosix
import ServiceKit
import Storage
import TestSupport
import Testing

@testable import PaymentService

@Suite("Payments that an earlier version has left")
struct PaymentsCorrectionsTests {
    @Test("what an earlier version has sent and not settled may have been taken; what it has not sent was not")
    func evidence() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("payment.sqlite")
        func store(_ migrations: some Sequence<Migration>) throws -> SQLiteStore {
            try SQLiteStore(
                path: path, migrations: SQLIdempotencyStore.migrations + [HealthCheck.migration] + migrations,
                loop: MultiThreadedEventLoopGroup.singleton.any())
        }
        let old = try store(PaymentSchema.migrations.prefix { $0.name != PaymentsCorrections.evidence.name })
        try await old.transaction { transaction in
            for (id, status, attempts) in [
                ("sent", "processing", 1), ("taken up", "processing", 0), ("new", "new", 0), ("ended", "failed", 5),
            ] {
                try transaction.run(
                    """
                    INSERT INTO payments (payment_id, kind, direction, user_id, made_by, account_number, account_id, provider,
                        amount, currency, fee, fee_remainder, status, phase, attempts, rounds, may_be_taken, due_at, epoch, held,
                        refunding, refunded, fee_back, created_at, updated_at)
                    VALUES (?, 'deposit', 'in', 'ann', 'ann', 1, 'a', 'stripe',
                        500, 'USD', 0, 0, ?, 'send', ?, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
                    """, [.text(id), .text(status), .integer(Int64(attempts))])
            }
        }
        try old.close()
        let new = try store(PaymentSchema.migrations)
        let mayBeTaken = try await new.transaction { transaction in
            try transaction.all("SELECT payment_id FROM payments WHERE may_be_taken = 1 LIMIT 10", []) { $0.text(0) }
        }
        try new.close()
        #expect(mayBeTaken == ["sent"])
    }
}
