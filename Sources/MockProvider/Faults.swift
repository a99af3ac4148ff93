import ProviderAPI
import Resilience
import ServiceKit
import Synchronization

/// Makes happen to requests what `Behaviour` says.
final class Faults: Sendable {
    /// An answer, and whether it is the first to its command.
    struct Answer: Sendable {
        let body: [UInt8]
        var isFirst = true
    }

    /// How many requests are remembered; others are forgotten in no particular order.
    static let maximumRemembered = 10_000

    private let environment: ServiceEnvironment
    private let configuration: MockProviderConfiguration
    /// How often the same was asked, since a few answers are for the first asking alone. Forgotten with the process: then the
    /// next asking is a first one again, as it may be.
    private let counts = Mutex<[String: Int]>([:])

    init(environment: ServiceEnvironment, configuration: MockProviderConfiguration) {
        self.environment = environment
        self.configuration = configuration
    }

    /// What happens to a request that has just arrived.
    ///
    /// - Parameters:
    ///   - token: of a payment.
    ///   - movesMoney: whether its answer may be lost after it was done.
    func asking(
        _ provider: Provider, _ operation: String, _ reference: String, token: String? = nil, movesMoney: Bool = false
    ) -> Behaviour.Handling {
        let asking = Behaviour.Asking(
            provider: provider, operation: operation, reference: reference,
            number: count("\(provider)/\(operation)/\(reference)"))
        return configuration.behaviour.handling(asking, token: token, movesMoney: movesMoney)
    }

    private func count(_ name: String) -> Int {
        counts.withLock { counts in
            if counts.count >= Self.maximumRemembered, counts[name] == nil, let some = counts.keys.first {
                counts[some] = nil
            }
            counts[name, default: 0] += 1
            return counts[name, default: 0]
        }
    }

    /// Does what was asked for with the faults that go with it, also when the caller has left meanwhile.
    func meet(
        _ handling: Behaviour.Handling, _ work: @escaping @Sendable () async throws -> Answer
    ) async throws -> [UInt8] {
        let task = environment.detach { [self] () async -> Result<[UInt8], any Error> in
            do {
                return .success(try await perform(handling, work))
            } catch {
                return .failure(error)
            }
        }
        return try await task.value.get()
    }

    private func perform(
        _ handling: Behaviour.Handling, _ work: @Sendable () async throws -> Answer
    ) async throws -> [UInt8] {
        if handling.delay > .zero { try await environment.sleeper.sleep(for: handling.delay) }
        switch handling.entry {
        case .take: break
        case .throttle:
            throw Problem(
                .tooManyRequests, "Too many requests; nothing was done.",
                retryAfterSeconds: configuration.retryAfterSeconds)
        case .fail: throw Self.badMoment
        case .hold: try await environment.sleeper.sleep(for: configuration.holdTime)
        }
        let answer = try await work()
        switch handling.exit {
        case .hold where answer.isFirst: try await environment.sleeper.sleep(for: configuration.holdTime)
        case .fail where answer.isFirst: throw Self.badMoment
        case .answer, .hold, .fail: break
        }
        return answer.body
    }

    private static let badMoment = Problem(.internalError, "The provider has a bad moment; it may have acted or not.")
}
