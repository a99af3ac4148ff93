import Resilience
import ServiceClient

/// One attempt of a call that brought no answer that ends it: what an operator needs to see where a checkout hangs. None is
/// stored of a checkout that goes well, and none for a refusal, which stands in the order's history.
struct FailedAttempt: Hashable, Sendable {
    let at: Timestamp
    /// The call: `reserve`, `charge`, `complete`, `release` or `refund`.
    let call: String
    /// Its number within its round of attempts, from 1.
    let attempt: Int
    /// What came of it, for a person.
    let answer: String
}

/// What has been in the way of a saga's calls.
struct FailedAttempts: Sendable {
    /// Since the saga was stored last.
    var attempts: [FailedAttempt] = []
    /// How long the service has asked to be left alone, in its last answer.
    var retryAfter: Duration?

    /// A saga is stored after every round, so that this is never reached but by a store that cannot be written.
    static let maximum = 64

    mutating func add(_ failure: CallFailure, _ call: String, _ number: Int, at now: Timestamp) {
        retryAfter = failure.retryAfter
        guard let answer = failure.answer, attempts.count < Self.maximum else { return }
        attempts.append(FailedAttempt(at: now, call: call, attempt: number, answer: answer))
    }
}

extension CallFailure {
    /// What came of the attempt; nil when it was refused.
    fileprivate var answer: String? {
        switch self {
        case .refused: nil
        case .notSent(let trouble): "not sent: \(trouble.words)"
        case .notExecuted(let trouble, _): "not executed, says the service: \(trouble.words)"
        case .unknown(let trouble, _): "no definite answer: \(trouble.words)"
        }
    }
}

extension CallTrouble {
    fileprivate var words: String {
        switch self {
        case .unreachable: "no connection"
        case .queueFull: "too many commands wait here"
        case .unavailable: "it is not available"
        case .providerUnavailable: "the payment provider is not available"
        case .timedOut: "no answer in time"
        case .connectionLost: "the connection broke"
        case .garbled: "what came back makes no sense"
        case .inProgress: "it is still working on it"
        }
    }
}
