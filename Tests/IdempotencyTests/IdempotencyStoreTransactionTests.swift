import Idempotency
import Resilience
import Storage
import TestSupport
import Testing

private struct BodyError: Error {}

/// What every store of keys must do, whatever it keeps them in: follow its transaction, and choose among claims at once.
@Suite("Idempotency store: transactions")
struct IdempotencyStoreTransactionTests {
    // MARK: Together with a transaction

    @Test("a body that throws leaves no claim behind", arguments: Implementation.allCases)
    func claimUndone(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let (keys, now) = (fixture.keys, fixture.time.now)
        await #expect(throws: BodyError.self) {
            try await fixture.store.transaction { transaction in
                let claim = try keys.claim(
                    .checkout("key"), fingerprint: .first, reference: "order-1", now: now, in: transaction)
                #expect(claim == .started(attempt: 1))
                throw BodyError()
            }
        }
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "order-2") == .started(attempt: 1))
    }

    @Test("a body that throws leaves no settlement and no deletion behind", arguments: Implementation.allCases)
    func settlementUndone(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let (keys, now) = (fixture.keys, fixture.time.now)
        _ = try await fixture.claim(reference: "order-1")
        await #expect(throws: BodyError.self) {
            try await fixture.store.transaction { transaction in
                try keys.succeed(
                    .checkout("key"), reference: "order-1", response: .completed, now: now, in: transaction)
                throw BodyError()
            }
        }
        #expect(try await fixture.claim(reference: "x") == .inProgress(reference: "order-1"))

        try await fixture.fail(reference: "order-1")
        await #expect(throws: BodyError.self) {
            try await fixture.store.transaction { transaction in
                let later = now.advanced(by: KeyStoreFixture.timeToLive)
                let forgotten = try keys.forgetExpired(now: later, limit: 10, in: transaction)
                #expect(forgotten == 1)
                throw BodyError()
            }
        }
        #expect(try await fixture.claim(reference: "order-2") == .started(attempt: 2))
    }

    @Test("several steps of one body are all undone, back to what was before", arguments: Implementation.allCases)
    func stepsUndone(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let (keys, now) = (fixture.keys, fixture.time.now)
        _ = try await fixture.claim(reference: "order-1")
        await #expect(throws: BodyError.self) {
            try await fixture.store.transaction { transaction in
                let scope = IdempotencyScope.checkout("key")
                try keys.fail(scope, reference: "order-1", now: now, in: transaction)
                let again = try keys.claim(
                    scope, fingerprint: .first, reference: "order-2", now: now, in: transaction)
                #expect(again == .started(attempt: 2))
                try keys.succeed(scope, reference: "order-2", response: .completed, now: now, in: transaction)
                throw BodyError()
            }
        }
        #expect(try await fixture.claim(reference: "x") == .inProgress(reference: "order-1"))
    }

    @Test(
        "a body that throws takes nothing back from the claims it was committed together with",
        arguments: Implementation.allCases)
    func neighbours(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let (keys, store, now) = (fixture.keys, fixture.store, fixture.time.now)
        let claims = await arrivingTogether(on: fixture.loop, count: 40) { index in
            try? await store.transaction { transaction in
                let claim = try keys.claim(
                    .checkout("key-\(index)"), fingerprint: .first, reference: "order-\(index)", now: now,
                    in: transaction)
                if index % 4 == 3 { throw BodyError() }
                return claim
            }
        }
        #expect(claims == (0..<40).map { $0 % 4 == 3 ? nil : .started(attempt: 1) })
        for index in 0..<40 {
            let claim = try await fixture.claim(.checkout("key-\(index)"), reference: "x")
            #expect(claim == (index % 4 == 3 ? .started(attempt: 1) : .inProgress(reference: "order-\(index)")))
        }
    }

    // MARK: Concurrency

    @Test("IK-16: of 200 concurrent claims of one key exactly one is started", arguments: Implementation.allCases)
    func oneOfMany(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let claims = try await withThrowingTaskGroup { group in
            for index in 0..<200 {
                group.addTask { (index, try await fixture.claim(reference: "order-\(index)")) }
            }
            var claims: [Int: Claim] = [:]
            for try await (index, claim) in group { claims[index] = claim }
            return claims
        }
        let started = claims.filter { $0.value == .started(attempt: 1) }
        #expect(started.count == 1)
        let winner = try #require(started.first?.key)
        let others = claims.values.filter { $0 == .inProgress(reference: "order-\(winner)") }
        #expect(others.count == 199)
    }

    @Test(
        "of 200 claims that arrive together, and share commits, exactly the first is started",
        arguments: Implementation.allCases)
    func oneOfGroup(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let claims = await arrivingTogether(on: fixture.loop, count: 200) { index in
            try? await fixture.claim(reference: "order-\(index)")
        }
        #expect(claims == (0..<200).map { $0 == 0 ? .started(attempt: 1) : .inProgress(reference: "order-0") })
    }
}
