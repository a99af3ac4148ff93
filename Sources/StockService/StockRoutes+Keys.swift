import Idempotency
import Resilience
import ServiceKit
import Storage

extension StockRoutes {
    /// Runs a command once for its key: the key's record and the command's effect commit together (decision 2).
    ///
    /// - Parameter deadline: when the caller stops waiting; nothing is begun after it (OP-06).
    func once(
        _ scope: IdempotencyScope,
        _ fingerprint: Fingerprint,
        reference: String,
        until deadline: Deadline? = nil,
        _ command: @escaping @Sendable (any Transaction, Timestamp) throws -> Result<[UInt8], StockRefusal>
    ) async throws -> CommandReply {
        let (keys, time) = (environment.keys, environment.time)
        let result: Result<CommandReply, Problem> = try await environment.store.transaction { transaction in
            if let deadline, deadline.hasPassed(on: time) { return .failure(.tooLate) }
            let now = time.now
            let claim = try keys.claim(
                scope, fingerprint: fingerprint, reference: reference, now: now, in: transaction)
            switch claim {
            case .started:
                let outcome = try command(transaction, now)
                switch outcome {
                case .success(let body):
                    let stored = StoredResponse(status: 200, body: body)
                    try keys.succeed(scope, reference: reference, response: stored, now: now, in: transaction)
                    return .success(.made(body))
                // Thrown, which undoes the claim.
                case .failure(let refusal) where refusal.leavesKeyFree: throw Problem(refusal)
                case .failure(let refusal):
                    try keys.fail(scope, reference: reference, now: now, in: transaction)
                    return .failure(Problem(refusal))
                }
            case .replay(let stored): return .success(.replayed(stored))
            case .mismatch: return .failure(Problem.keyReused)
            case .inProgress: return .failure(Problem.inProgress)
            }
        }
        return try result.get()
    }
}
