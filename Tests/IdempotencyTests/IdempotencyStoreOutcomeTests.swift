import Idempotency
import Resilience
import TestSupport
import Testing

/// What every store of keys must do, whatever it keeps them in: which outcomes it keeps, and for how long.
@Suite("Idempotency store: outcomes")
struct IdempotencyStoreOutcomeTests {
    // MARK: Settling

    @Test("a key is settled for its own reference only", arguments: Implementation.allCases)
    func otherReference(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        try await fixture.succeed(reference: "order-2")
        #expect(try await fixture.claim(reference: "x") == .inProgress(reference: "order-1"))
        try await fixture.fail(reference: "order-2")
        #expect(try await fixture.claim(reference: "x") == .inProgress(reference: "order-1"))
    }

    @Test(
        "INV-1: the first outcome stands; a settled key is not settled again", arguments: Implementation.allCases)
    func firstOutcomeStands(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        try await fixture.succeed(reference: "order-1")
        try await fixture.fail(reference: "order-1")
        try await fixture.succeed(reference: "order-1", response: StoredResponse(status: 500, body: []))
        #expect(try await fixture.claim(reference: "x") == .replay(.completed))

        let failed = IdempotencyScope.checkout("failed")
        _ = try await fixture.claim(failed, reference: "order-2")
        try await fixture.fail(failed, reference: "order-2")
        try await fixture.succeed(failed, reference: "order-2")
        #expect(try await fixture.claim(failed, reference: "order-3") == .started(attempt: 2))
        // What belongs to the first attempt does not settle the second.
        try await fixture.succeed(failed, reference: "order-2")
        #expect(try await fixture.claim(failed, reference: "x") == .inProgress(reference: "order-3"))
    }

    @Test("settling a key that nobody claimed leaves it free", arguments: Implementation.allCases)
    func settleUnclaimed(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        try await fixture.succeed(reference: "order-1")
        try await fixture.fail(reference: "order-1")
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "order-2") == .started(attempt: 1))
    }

    // MARK: Forgetting

    @Test(
        "IK-25: a succeeded key is forgotten when its time is over, and not a millisecond before",
        arguments: Implementation.allCases)
    func succeededIsForgotten(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        fixture.time.advance(by: .seconds(3600))
        try await fixture.succeed(reference: "order-1")
        fixture.time.advance(by: KeyStoreFixture.timeToLive - .milliseconds(1))
        #expect(try await fixture.claim(reference: "x") == .replay(.completed))
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "x") == .mismatch)
        fixture.time.advance(by: .milliseconds(1))
        // Free for any command, and counted from the first attempt.
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "order-2") == .started(attempt: 1))
        #expect(
            try await fixture.claim(.checkout("key"), .second, reference: "x") == .inProgress(reference: "order-2"))
    }

    @Test("IK-25: a failed key is forgotten when its time is over", arguments: Implementation.allCases)
    func failedIsForgotten(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        try await fixture.fail(reference: "order-1")
        fixture.time.advance(by: KeyStoreFixture.timeToLive)
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "order-2") == .started(attempt: 1))
    }

    @Test("IK-25: a key at work is never forgotten", arguments: Implementation.allCases)
    func processingIsNeverForgotten(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        fixture.time.advance(by: .seconds(10 * 365 * 86_400))
        #expect(try await fixture.forgetExpired() == 0)
        #expect(try await fixture.claim(reference: "x") == .inProgress(reference: "order-1"))
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "x") == .mismatch)
    }

    @Test("a key that is tried again no longer expires", arguments: Implementation.allCases)
    func triedAgainDoesNotExpire(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        try await fixture.fail(reference: "order-1")
        _ = try await fixture.claim(reference: "order-2")
        fixture.time.advance(by: KeyStoreFixture.timeToLive + .seconds(1))
        #expect(try await fixture.forgetExpired() == 0)
        #expect(try await fixture.claim(reference: "x") == .inProgress(reference: "order-2"))
    }

    @Test(
        "the sweep deletes what is over, at most its limit at once, and nothing else",
        arguments: Implementation.allCases)
    func sweep(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        for index in 0..<5 {
            let scope = IdempotencyScope.checkout("old-\(index)")
            _ = try await fixture.claim(scope, reference: "order")
            if index.isMultiple(of: 2) {
                try await fixture.succeed(scope, reference: "order")
            } else {
                try await fixture.fail(scope, reference: "order")
            }
        }
        _ = try await fixture.claim(.checkout("working"), reference: "order")
        fixture.time.advance(by: .seconds(1))
        _ = try await fixture.claim(.checkout("young"), reference: "order")
        try await fixture.succeed(.checkout("young"), reference: "order")
        #expect(try await fixture.forgetExpired() == 0)

        fixture.time.advance(by: KeyStoreFixture.timeToLive - .seconds(1))
        #expect(try await fixture.forgetExpired(limit: 0) == 0)
        #expect(try await fixture.forgetExpired(limit: 2) == 2)
        #expect(try await fixture.forgetExpired(limit: 2) == 2)
        #expect(try await fixture.forgetExpired(limit: 2) == 1)
        #expect(try await fixture.forgetExpired(limit: 2) == 0)
        #expect(try await fixture.claim(.checkout("young"), reference: "x") == .replay(.completed))
        #expect(try await fixture.claim(.checkout("working"), reference: "x") == .inProgress(reference: "order"))
        #expect(try await fixture.claim(.checkout("old-0"), .second, reference: "x") == .started(attempt: 1))
    }
}
