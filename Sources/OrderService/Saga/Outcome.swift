import ServiceClient

/// What is known of a call after a round of as many attempts as it was allowed.
///
/// Unknown is not failed (docs/design.md, rule 3): every switch over an outcome says what it does about each case.
public enum Outcome<Value: Sendable & Equatable>: Sendable, Equatable {
    /// The call has had its effect.
    case succeeded(Value)
    /// The other service refused and keeps the refusal: asking again changes nothing.
    case refused(Refusal)
    /// No attempt has left this process.
    case notSent(CallTrouble)
    /// The other service says that no attempt had any effect; but a copy of one may still arrive (hazards 3 and 5).
    case notExecuted(CallTrouble)
    /// Some attempt may have had its effect.
    case unknown(CallTrouble)
}

/// The value of a call that brings nothing but its success.
public struct Done: Sendable, Equatable {
    /// Done.
    public init() {}
}
