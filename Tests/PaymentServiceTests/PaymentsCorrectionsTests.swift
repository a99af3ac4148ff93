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

    @Test(
        "what was turned away by anybody may have been taken, and says so if it was given up; what never left was not")
    func evidence() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("payment.sqlite")
        let old = try SQLiteStore.ofService(
            at: path, PaymentSchema.migrations.prefix { $0.name != PaymentsCorrections.evidence.name })
        try await old.transaction { transaction in
            for (id, status, attempts, answer) in [
                ("turned away", "processing", 1, Self.throttled), ("for long", "processing", 101, nil),
                ("unreached", "processing", 1, Self.unreached), ("taken up", "processing", 0, nil),
                ("new", "new", 0, nil),
                ("ended", "failed", 5, Self.throttled), ("ended unreached", "failed", 5, Self.unreached),
                ("decided", "failed", 5, Self.throttled), ("canceled", "failed", 5, Self.throttled),
            ] as [(String, String, Int64, String?)] {
                try transaction.run(
                    """
                    INSERT INTO payments (payment_id, kind, direction, user_id, made_by, account_number, account_id, provider,
                        amount, currency, fee, fee_remainder, status, phase, attempts, rounds, may_be_taken, due_at, epoch, held,
                        refunding, refunded, fee_back, created_at, updated_at)
                    VALUES (?, 'deposit', 'in', 'ann', 'ann', 1, 'a', 'stripe',
                        500, 'USD', 0, 0, ?, 'send', ?, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
                    """, [.text(id), .text(status), .integer(attempts)])
                guard let answer else { continue }
                try transaction.run(
                    "INSERT INTO payments_trail (payment_id, sequence, type, code, at) VALUES (?, 1, 'unanswered', ?, 0)",
                    [.text(id), .text(answer)])
                guard status == "failed" else { continue }
                let reason =
                    id == "canceled"
                    ? "the provider has taken nothing, and will take nothing any more"
                    : "\(answer); after 5 attempts, none of which was taken"
                try transaction.run(
                    "INSERT INTO dead_letters (payment_id, reason, died_at, resolution) VALUES (?, ?, 0, ?)",
                    [.text(id), .text(reason), id == "decided" ? .text("discarded") : .null])
            }
        }
        try old.close()
        let new = try SQLiteStore.ofService(at: path, PaymentSchema.migrations)
        let (mayBeTaken, doubtful) = try await new.transaction { transaction in
            (
                try transaction.all(
                    "SELECT payment_id FROM payments WHERE may_be_taken = 1 ORDER BY payment_id LIMIT 10", []
                ) { $0.text(0) },
                try ["ended", "ended unreached", "decided", "canceled"].filter {
                    try PaymentRecords(transaction: transaction).deadLetter($0)?.isDoubtful == true
                }
            )
        }
        try new.close()
        #expect(mayBeTaken == ["for long", "turned away"])
        #expect(doubtful == ["ended"])
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
