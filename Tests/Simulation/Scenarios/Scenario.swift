/// What a run begins with: how things are set up, who comes, and what may go wrong.
struct Scenario: Sendable {
    var name: String
    var deployment = Deployment()
    var clients: [ClientPlan]
    /// Who pays into an account, or out of one.
    var payments: [PaymentPlan] = []
    var rates = Faults.Rates()
    /// Faults that happen in any case, by the names of their messages.
    var scripted: [String: MessageFault] = [:]
    /// Whether two processes die in one run when crash points are explored, or only one.
    var hasPairs = true
    /// Until when faults happen.
    var faultsEnd = Duration.seconds(60)
    /// What the last answer of each client must be when nothing goes wrong, by status; empty for anything.
    var calm: [Set<Int>] = []
    /// What it must be whatever process dies, because the client asks again; empty for anything.
    var crashed: [Set<Int>] = []
}

/// What came of a run.
public struct RunResult: Sendable {
    let violations: [Violation]
    let injected: [String]
    let discovered: [Points.Point]
    let executed: [Points.Point]
    /// Kept only if it was asked for.
    public let trace: [String]
    let steps: Int

    /// Whether an invariant did not hold.
    public var hasFailed: Bool { !violations.isEmpty }
}
