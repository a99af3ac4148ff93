import ServiceClient

extension Saga.Event {
    /// What happened, for the order's history.
    var description: String {
        switch self {
        case .reserved(let outcome, _): "reserve \(outcome.description)"
        case .charged(let outcome): "charge \(outcome.description)"
        case .completed(let outcome): "complete \(outcome.description)"
        case .released(let outcome): "release \(outcome.description)"
        case .refunded(let outcome): "refund \(outcome.description)"
        }
    }

    /// Whether it deserves a warning.
    var isTrouble: Bool {
        switch self {
        case .reserved(let outcome, _): outcome.isTrouble
        case .charged(let outcome), .completed(let outcome): outcome.isTrouble
        // What is to be undone cannot be: no refusal is in order here.
        case .released(let outcome), .refunded(let outcome): outcome != .succeeded(Done())
        }
    }
}

extension Outcome {
    fileprivate var description: String {
        switch self {
        case .succeeded: "succeeded"
        case .refused(let refusal): "refused: \(refusal.declineCode ?? refusal.code)"
        case .notSent(let trouble): "not sent: \(trouble.rawValue)"
        case .notExecuted(let trouble): "not executed: \(trouble.rawValue)"
        case .unknown(let trouble): "outcome unknown: \(trouble.rawValue)"
        }
    }

    fileprivate var isTrouble: Bool {
        switch self {
        case .succeeded, .refused: false
        case .notSent, .notExecuted, .unknown: true
        }
    }
}
