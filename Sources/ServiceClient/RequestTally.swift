import Synchronization

/// How many commands went in the request that carried one of them, for whoever made the call: a request that fails is one
/// failure of its service, however many commands were in it.
public final class RequestTally: Sendable {
    private let count = Atomic(1)

    /// For one call; its carrier writes it.
    public init() {}

    /// At least one.
    public var commands: Int { count.load(ordering: .relaxed) }

    func note(_ commands: Int) { count.store(commands, ordering: .relaxed) }
}
