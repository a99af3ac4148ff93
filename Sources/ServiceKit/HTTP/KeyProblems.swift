import Idempotency

extension Problem {
    /// The command needs a key (IK-01).
    static var keyMissing: Problem {
        Problem(
            .idempotencyKeyMissing,
            "Send an Idempotency-Key header: a name of your own for this command, the same on every retry.")
    }

    /// Another command has used the key (IK-13).
    public static var keyReused: Problem {
        Problem(
            .idempotencyKeyReused,
            "This Idempotency-Key was used with another command; use a new key for a new command.")
    }

    /// The caller has stopped waiting before the command could begin (OP-06).
    public static var tooLate: Problem {
        Problem(.deadlineExceeded, "The time for this request was over before it could begin; nothing was executed.")
    }

    /// The first request with the key is not answered yet (IK-15).
    public static var inProgress: Problem {
        Problem(
            .requestInProgress, "The first request with this key is still at work; send the same request again soon.")
    }
}

extension IdempotencyKey {
    /// The key that a header's line spells. - Throws: `Problem` for IK-02 to IK-06.
    package init(line: String) throws(Problem) {
        do throws(IdempotencyKeyError) {
            self = try IdempotencyKey(headerValue: line)
        } catch {
            throw Problem(.idempotencyKeyInvalid, error.explanation)
        }
    }
}

extension IdempotencyKeyError {
    fileprivate var explanation: String {
        switch self {
        case .empty: "The key is empty."
        case .tooLong: "The key has more than \(IdempotencyKey.maximumLength) characters."
        case .invalidCharacter: "The key has a space, a control character or one outside ASCII in it."
        case .malformed:
            "The key must be one bare word, or one string in double quotes with only \\\" and \\\\ as escapes."
        }
    }
}
