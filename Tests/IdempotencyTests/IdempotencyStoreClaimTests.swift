import Idempotency
import Testing

/// What every store of keys must do, whatever it keeps them in: which claims it grants.
@Suite("Idempotency store: claims")
struct IdempotencyStoreClaimTests {
    @Test("a free key is started as the first attempt", arguments: Implementation.allCases)
    func started(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        #expect(try await fixture.claim(reference: "order-1") == .started(attempt: 1))
    }

    @Test("IK-15: a key at work tells what its claim stands for", arguments: Implementation.allCases)
    func inProgress(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        #expect(try await fixture.claim(reference: "order-2") == .inProgress(reference: "order-1"))
        #expect(try await fixture.claim(reference: "order-3") == .inProgress(reference: "order-1"))
    }

    @Test(
        "IK-11: a succeeded key replays its answer to the byte, again and again", arguments: Implementation.allCases)
    func replay(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let responses = [
            StoredResponse(status: 200, body: Array("{\"a\":\"é\\u0000\",  \"b\":1.00}\n".utf8)),
            StoredResponse(status: 201, body: []),
            StoredResponse(status: 402, body: (0...255).map { UInt8($0) }),
        ]
        for (index, response) in responses.enumerated() {
            let scope = IdempotencyScope.checkout("key-\(index)")
            _ = try await fixture.claim(scope, reference: "order-\(index)")
            try await fixture.succeed(scope, reference: "order-\(index)", response: response)
            #expect(try await fixture.claim(scope, reference: "order-9") == .replay(response))
            #expect(try await fixture.claim(scope, reference: "order-9") == .replay(response))
        }
    }

    @Test("IK-13: another command is a mismatch while the key is at work", arguments: Implementation.allCases)
    func mismatchWhileProcessing(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "order-2") == .mismatch)
        #expect(try await fixture.claim(reference: "order-3") == .inProgress(reference: "order-1"))
    }

    @Test("IK-13: another command is a mismatch once the key has succeeded", arguments: Implementation.allCases)
    func mismatchAfterSuccess(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        try await fixture.succeed(reference: "order-1")
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "order-2") == .mismatch)
        #expect(try await fixture.claim(reference: "order-3") == .replay(.completed))
    }

    @Test("IK-13: another command is a mismatch once the key has failed", arguments: Implementation.allCases)
    func mismatchAfterFailure(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        _ = try await fixture.claim(reference: "order-1")
        try await fixture.fail(reference: "order-1")
        #expect(try await fixture.claim(.checkout("key"), .second, reference: "order-2") == .mismatch)
        #expect(try await fixture.claim(reference: "order-3") == .started(attempt: 2))
    }

    @Test(
        "IK-18: the command of a failed key may be tried again, each time as a new attempt with its own reference",
        arguments: Implementation.allCases)
    func failedThenStarted(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        for attempt in 1...4 {
            #expect(try await fixture.claim(reference: "order-\(attempt)") == .started(attempt: attempt))
            #expect(try await fixture.claim(reference: "x") == .inProgress(reference: "order-\(attempt)"))
            try await fixture.fail(reference: "order-\(attempt)")
        }
        _ = try await fixture.claim(reference: "order-5")
        try await fixture.succeed(reference: "order-5")
        #expect(try await fixture.claim(reference: "order-6") == .replay(.completed))
    }

    @Test(
        "IK-14: the same key of another user, or for another operation, is another key",
        arguments: Implementation.allCases)
    func scope(_ implementation: Implementation) async throws {
        let fixture = try KeyStoreFixture(implementation)
        let key = IdempotencyKey(stored: "key")
        let scopes = [
            IdempotencyScope(user: "ada", operation: "checkout", key: key),
            IdempotencyScope(user: "bob", operation: "checkout", key: key),
            IdempotencyScope(user: "", operation: "checkout", key: key),
            IdempotencyScope(user: "ada", operation: "charge", key: key),
            IdempotencyScope(user: "ada", operation: "checkout", key: IdempotencyKey(stored: "KEY")),
            IdempotencyScope(user: "adacheckout", operation: "", key: key),
        ]
        for (index, scope) in scopes.enumerated() {
            #expect(try await fixture.claim(scope, reference: "order-\(index)") == .started(attempt: 1))
        }
        try await fixture.succeed(scopes[0], reference: "order-0")
        try await fixture.fail(scopes[1], reference: "order-1")
        #expect(try await fixture.claim(scopes[0], reference: "x") == .replay(.completed))
        #expect(try await fixture.claim(scopes[1], reference: "x") == .started(attempt: 2))
        for index in 2..<scopes.count {
            #expect(try await fixture.claim(scopes[index], reference: "x") == .inProgress(reference: "order-\(index)"))
        }
    }
}
