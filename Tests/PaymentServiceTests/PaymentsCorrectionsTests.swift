import ProviderAPI
import ServiceKit
import Storage
import TestSupport
import Testing

@testable import PaymentService

@Suite("Payments that an earlier version has left")
struct PaymentsCorrectionsTests {
    private static let throttled = "the provider asks to be left alone for a while"
    private static let unreached = "the provider cannot be reached: unreachable"

    /// A payment as an earlier version has left it.
    private struct Left {
        let id: String
        let status: String
        let attempts: Int64
        /// What came of an attempt, if its trail has one.
        let answer: String?
        /// Why it was given up, if it was.
        let reason: String?

        init(_ id: String, _ status: String, _ attempts: Int64, _ answer: String? = nil, because reason: String? = nil)
        {
            self.id = id
            self.status = status
            self.attempts = attempts
            self.answer = answer
            self.reason = reason
        }
    }

    /// Opens a store that has these payments with what is now.
    private func bringUpToDate(
        _ payments: [Left], _ check: @escaping @Sendable (any Transaction) throws -> Void
    ) async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("payment.sqlite")
        let old = try SQLiteStore.ofService(
            at: path, PaymentSchema.migrations.prefix { $0.name != PaymentsCorrections.evidence.name })
        try await old.transaction { transaction in
            for payment in payments {
                try transaction.run(
                    """
                    INSERT INTO payments (payment_id, kind, direction, user_id, made_by, account_number, account_id, provider,
                        amount, currency, fee, fee_remainder, status, phase, attempts, rounds, may_be_taken, due_at, epoch, held,
                        refunding, refunded, fee_back, created_at, updated_at)
                    VALUES (?, 'deposit', 'in', 'ann', 'ann', 1, 'a', 'stripe',
                        500, 'USD', 0, 0, ?, 'send', ?, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
                    """, [.text(payment.id), .text(payment.status), .integer(payment.attempts)])
                if let answer = payment.answer {
                    try transaction.run(
                        "INSERT INTO payments_trail (payment_id, sequence, type, code, at) VALUES (?, 1, 'unanswered', ?, 0)",
                        [.text(payment.id), .text(answer)])
                }
                if let reason = payment.reason {
                    try transaction.run(
                        "INSERT INTO dead_letters (payment_id, reason, died_at, resolution) VALUES (?, ?, 0, ?)",
                        [.text(payment.id), .text(reason), payment.id == "decided" ? .text("discarded") : .null])
                }
            }
        }
        try old.close()
        let new = try SQLiteStore.ofService(at: path, PaymentSchema.migrations)
        try await new.transaction(check)
        try new.close()
    }

    @Test("what was turned away by anybody, and is not settled, may have been taken; what never left was not")
    func evidence() async throws {
        try await bringUpToDate([
            Left("turned away", "processing", 1, Self.throttled), Left("for long", "processing", 101),
            Left("unreached", "processing", 1, Self.unreached), Left("taken up", "processing", 0),
            Left("new", "new", 0),
            Left("ended", "failed", 5, Self.throttled),
        ]) { transaction in
            let mayBeTaken = try transaction.all(
                "SELECT payment_id FROM payments WHERE may_be_taken = 1 ORDER BY payment_id LIMIT 10", []
            ) { $0.text(0) }
            #expect(mayBeTaken == ["for long", "turned away"])
        }
    }

    @Test("what was given up because anybody had turned it away says that it is not certain, and nothing else does")
    func doubts() async throws {
        let untaken = "after 5 attempts, none of which was taken"
        let doubtful = [
            Left("turned away", "failed", 5, Self.throttled, because: "\(Self.throttled); \(untaken)"),
            Left("turned away at last", "failed", 5, Self.unreached, because: "\(Self.throttled); \(untaken)"),
            Left("turned away before", "failed", 5, Self.throttled, because: "\(Self.unreached); \(untaken)"),
            Left("refused after that", "failed", 2, Self.throttled, because: "refused: unauthorized"),
            Left("refused by a proxy", "failed", 1, because: "refused: http-403"),
            Left("long ago", "failed", 101, Self.unreached, because: "\(Self.unreached); \(untaken)"),
        ]
        let closed = "the provider has taken nothing, and will take nothing any more"
        let certain = [
            Left("unreached", "failed", 5, Self.unreached, because: "\(Self.unreached); \(untaken)"),
            Left("closed", "failed", 5, Self.throttled, because: closed),
            Left("no such money", "failed", 2, Self.throttled, because: "refused: refund-exceeds-payment"),
            Left("decided", "failed", 5, Self.throttled, because: "\(Self.throttled); \(untaken)"),
        ]
        let doubtfulIDs = doubtful.map(\.id).sorted()
        try await bringUpToDate(doubtful + certain) { transaction in
            let found = try transaction.all(
                "SELECT payment_id, reason FROM dead_letters ORDER BY payment_id LIMIT 20", []
            ) { ($0.text(0), $0.text(1)) }
            #expect(found.filter { $0.1.hasPrefix(DeadLetter.doubt) }.map(\.0) == doubtfulIDs)
            #expect(found.count == 10)
        }
    }

    @Test(
        "of a payment that was given up in doubt the plans say that it may have moved", arguments: ["retry", "discard"])
    func doubt(action: String) async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(.canceled))
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "100")
            let id = try #require(
                try await client.pay("withdraw", from: account, "5", key: "k", user: "ann").text("paymentId"))
            try await fixture.workAll()
            let path = "/dead-letters/\(id)/plan?action=\(action)"
            let certain = try await fixture.operate { try await $0.get(path) }
            #expect(certain.status == 200 && certain.text("summary")?.contains("NOT CERTAIN") == false)
            _ = try await fixture.environment.store.transaction { transaction in
                try transaction.run("UPDATE dead_letters SET reason = ? || reason", [.text(DeadLetter.doubt)])
            }
            let doubtful = try await fixture.operate { try await $0.get(path) }
            #expect(doubtful.text("summary")?.contains("NOT CERTAIN") == true)
            #expect(doubtful.text("plan") != certain.text("plan"))
        }
    }
}
