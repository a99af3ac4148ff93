import Resilience

/// What another service said no to, from its problem document. The no is recorded there under the command's id: asking
/// again with that id brings the same answer.
public struct Refusal: Hashable, Sendable {
    /// The problem's code, for example `insufficient-stock`.
    public let code: String
    /// The problem's explanation for a person.
    public let detail: String
    /// Why a payment was declined, for the code `payment-declined`.
    public let declineCode: String?

    /// A refusal.
    public init(code: String, detail: String, declineCode: String? = nil) {
        self.code = code
        self.detail = detail
        self.declineCode = declineCode
    }
}

/// What stood between a command and its answer.
public enum CallTrouble: String, Hashable, Sendable {
    /// No connection.
    case unreachable
    /// As many commands wait in this process as may: that says nothing of the service.
    case queueFull
    /// The service said that it did not execute the command: it is starting, stopping, overloaded, or its disk is full.
    case unavailable
    /// Payment has looked: nothing is taken under the command's id, because the provider behind it is not available. Said of
    /// the id and so of every earlier attempt.
    case providerUnavailable
    /// No answer in time.
    case timedOut
    /// The connection broke before the answer was complete.
    case connectionLost
    /// An answer that is not what the contract says.
    case garbled
    /// The service is still working on the command, or waits for somebody else's word about it.
    case inProgress
}

/// Why one attempt of a call brought no success.
public enum CallFailure: RepeatableError, Equatable {
    /// Refused for good.
    case refused(Refusal)
    /// This attempt never left this process.
    case notSent(CallTrouble)
    /// This attempt has had no effect, says the service. A copy of it that is still on its way may have one.
    case notExecuted(CallTrouble, retryAfter: Duration? = nil)
    /// This attempt may have had its effect (hazards 4, 6 and 12).
    case unknown(CallTrouble, retryAfter: Duration? = nil)

    public var mayBeRepeated: Bool {
        switch self {
        case .refused: false
        case .notSent, .notExecuted, .unknown: true
        }
    }

    public var retryAfter: Duration? {
        switch self {
        case .refused, .notSent: nil
        case .notExecuted(_, let retryAfter), .unknown(_, let retryAfter): retryAfter
        }
    }
}
