import Idempotency
import Resilience
import Storage

extension ServiceEnvironment {
    /// Runs a command once for its key: the key's record and the command's effect commit together (decision 2). What `command` throws undoes
    /// the claim as well.
    ///
    /// - Parameters:
    ///   - fields: the decoded command, of which the key's fingerprint is made.
    ///   - reference: the id of what the command makes.
    package func once(
        _ scope: IdempotencyScope, _ fields: [String?], reference: String, _ now: Timestamp,
        _ transaction: any Transaction, _ command: () throws -> Result<CommandReply, Problem>
    ) throws -> Result<CommandReply, Problem> {
        let claim = try keys.claim(
            scope, fingerprint: Fingerprint(operation: scope.operation, fields: fields), reference: reference, now: now,
            in: transaction)
        switch claim {
        case .replay(let stored): return .success(.replayed(stored))
        case .mismatch: return .failure(.keyReused)
        case .inProgress: return .failure(.inProgress)
        case .started: break
        }
        switch try command() {
        case .success(let reply):
            let response = StoredResponse(status: reply.status, body: reply.body)
            try keys.succeed(scope, reference: reference, response: response, now: now, in: transaction)
            return .success(reply)
        case .failure(let problem):
            try keys.fail(scope, reference: reference, now: now, in: transaction)
            return .failure(problem)
        }
    }
}
