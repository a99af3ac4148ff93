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
        _ fields: [String?],
        reference: String,
        until deadline: Deadline? = nil,
        _ command: @escaping @Sendable (any Transaction, Timestamp) throws -> Result<[UInt8], StockRefusal>
    ) async throws -> CommandReply {
        let result = try await environment.store.transaction { [environment] transaction in
            if let deadline, deadline.hasPassed(on: environment.time) {
                return Result<CommandReply, Problem>.failure(.tooLate)
            }
            let now = environment.time.now
            return try environment.once(scope, fields, reference: reference, now, transaction) {
                switch try command(transaction, now) {
                case .success(let body): return .success(.made(body))
                // Thrown, which undoes the claim.
                case .failure(let refusal) where refusal.leavesKeyFree: throw Problem(refusal)
                case .failure(let refusal): return .failure(Problem(refusal))
                }
            }
        }
        return try result.get()
    }
}
