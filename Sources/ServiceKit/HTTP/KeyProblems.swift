extension Problem {
    /// Another command has used the key (IK-13).
    public static var keyReused: Problem {
        Problem(
            .idempotencyKeyReused,
            "This Idempotency-Key was used with another command; use a new key for a new command.")
    }

    /// The first request with the key is not answered yet (IK-15).
    public static var inProgress: Problem {
        Problem(
            .requestInProgress, "The first request with this key is still at work; send the same request again soon.")
    }
}
