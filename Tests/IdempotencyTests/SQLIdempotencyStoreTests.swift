import Idempotency
import Resilience
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

    @Test("what was known of a key before the rows had their new order is known after it")
    func migrated() async throws {
        let directory = try TemporaryDirectory()
        let keys = SQLIdempotencyStore(timeToLive: .seconds(60))
        let now = ManualTime().now
        let path = directory.file("keys.sqlite")
        let old = try KeyStoreFixture.open(path, Array(SQLIdempotencyStore.migrations.prefix(1)))
        try await old.transaction { transaction in
            for (key, user) in [("working", "ada"), ("succeeded", "ada"), ("succeeded", "bob"), ("failed", "ada")] {
                _ = try keys.claim(
                    .checkout(key, user: user), fingerprint: .first, reference: "\(user)-\(key)", now: now,
                    in: transaction)
            }
            try keys.succeed(
                .checkout("succeeded"), reference: "ada-succeeded", response: .completed, now: now, in: transaction)
            try keys.fail(.checkout("failed"), reference: "ada-failed", now: now, in: transaction)
        }
        try old.close()

        let new = try KeyStoreFixture.open(path)
        let claims = try await new.transaction { transaction in
            let tries: [(String, String, Fingerprint)] = [
                ("working", "ada", .first), ("succeeded", "ada", .first), ("succeeded", "ada", .second),
                ("succeeded", "bob", .first), ("failed", "ada", .first),
            ]
            return try tries.map { key, user, fingerprint in
                try keys.claim(
                    .checkout(key, user: user), fingerprint: fingerprint, reference: "x", now: now, in: transaction)
            }
        }
        #expect(
            claims == [
                .inProgress(reference: "ada-working"), .replay(.completed), .mismatch,
                .inProgress(reference: "bob-succeeded"), .started(attempt: 2),
            ])
        let afterwards = now.advanced(by: .seconds(60))
        let forgotten = try await new.transaction { transaction in
            try keys.forgetExpired(now: afterwards, limit: 10, in: transaction)
        }
        // The failed key is in progress again.
        #expect(forgotten == 1)
        try new.close()
    }
}
