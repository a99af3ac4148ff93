import Idempotency
import Storage
import TestSupport
import Testing

@Suite("SQL idempotency store")
struct SQLIdempotencyStoreTests {
    @Test("what is known of a key survives the store being opened again")
    func durable() async throws {
        let directory = try TemporaryDirectory()
        let keys = SQLIdempotencyStore(timeToLive: .seconds(60))
        let now = ManualTime().now
        let path = directory.file("keys.sqlite")
        let first = try KeyStoreFixture.open(path)
        try await first.transaction { transaction in
            for key in ["working", "succeeded", "failed"] {
                _ = try keys.claim(
                    .checkout(key), fingerprint: .first, reference: "order-\(key)", now: now, in: transaction)
            }
            try keys.succeed(
                .checkout("succeeded"), reference: "order-succeeded", response: .completed, now: now, in: transaction)
            try keys.fail(.checkout("failed"), reference: "order-failed", now: now, in: transaction)
        }
        try first.close()

        let second = try KeyStoreFixture.open(path)
        let claims = try await second.transaction { transaction in
            try ["working", "succeeded", "failed"].map { key in
                try keys.claim(.checkout(key), fingerprint: .first, reference: "x", now: now, in: transaction)
            }
        }
        #expect(claims == [.inProgress(reference: "order-working"), .replay(.completed), .started(attempt: 2)])
        try second.close()
    }
}
