/// Means of payment that make a chosen outcome happen. No token at all is the same as `tok_visa`; any other is declined, so that
/// a misspelt one is noticed.
enum TestToken: String, CaseIterable, Sendable {
    case visa = "tok_visa"
    /// Declined: `card_declined`.
    case declined = "tok_declined"
    /// Declined: `insufficient_funds`.
    case insufficientFunds = "tok_insufficient_funds"
    /// Declined: `expired_card`.
    case expiredCard = "tok_expired_card"
    /// Pending at first; then it succeeds.
    case pending = "tok_pending"
    /// Pending at first; then it is declined: `card_declined`.
    case pendingDeclined = "tok_pending_declined"
    /// The first asking gets a 500 and takes nothing; the next succeeds.
    case errorOnce = "tok_error_once"
    /// Every asking gets a 500 and takes nothing.
    case error = "tok_error"
    /// The first asking gets a 429 and takes nothing; the next succeeds.
    case rateLimited = "tok_rate_limited"
    /// Taken, and the answer is held back; asking again answers at once.
    case timeoutAfterCommit = "tok_timeout_after_commit"
    /// Taken, and the answer is a 500; asking again answers with the payment.
    case errorAfterCommit = "tok_error_after_commit"
    /// The first asking is held up on its way and taken only then: what a caller that gave up must be safe from.
    case late = "tok_late"
}

/// Why a payment is declined, as the callers are told.
enum DeclineCode {
    static let cardDeclined = "card_declined"
    static let insufficientFunds = "insufficient_funds"
    static let expiredCard = "expired_card"
    static let tokenNotSupported = "token_not_supported"
}
