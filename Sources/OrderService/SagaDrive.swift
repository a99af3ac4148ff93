import Money
import Resilience
import ServiceClient

/// One saga under way: where it stands, what has happened to it, and who waits for it.
struct SagaDrive {
    var saga: Saga
    var history: [HistoryEntry]
    /// How often the present step has been repeated without a definite answer.
    var rounds: Int
    /// What has been in the way of its calls since it was stored.
    var troubles = FailedAttempts()
    /// What may have been taken, as far as is known.
    var atStake: Money?
    /// The step that the metrics show: an end only once it is stored, for until then money may lie with nobody.
    var shown: Saga.Step
    /// Whether some call brought no definite answer.
    var hadTrouble = false
    let context: CallContext
    let order: Order
    /// The rounds with which it was taken up at the order's stored step.
    let earlierRounds: Int
    /// Whether its charge had gone through by then.
    let wasCharged: Bool
    let lease: Lease
    /// Who waits for the outcome, if anybody does.
    let waiter: CheckoutWaiter?

    init(
        _ order: Order, _ lease: Lease, rounds: Int, atStake: Money?, isResumed: Bool, _ context: CallContext,
        _ waiter: CheckoutWaiter?
    ) {
        let (plan, step) = (order.record.plan, order.record.step)
        saga = isResumed ? Saga(resuming: plan, at: step) : Saga(plan, step: step, isResumed: false)
        history = order.record.history
        self.rounds = rounds
        earlierRounds = rounds
        wasCharged = history.contains { $0.event == Saga.Event.charged(.succeeded(Done())).description }
        self.atStake = saga.step.atStake(atStake)
        shown = saga.step
        self.order = order
        self.lease = lease
        self.context = context
        self.waiter = waiter
    }

    /// Whether it is where it was taken up: its pauses go on growing then, and it is parked in the end. One that was completing asks for its
    /// charge again first, and may have hung there the last time.
    var hasGotNoFurther: Bool {
        switch (order.record.step, saga.step) {
        case (.charging, .completing): saga.isResumed && wasCharged
        case (.completing, .completing): saga.isResumed
        case (let stored, let now): stored == now
        }
    }

    /// Whether its story is worth reading without being asked for: it does not go the straight way.
    var isEventful: Bool { saga.isResumed || hadTrouble || saga.step.failure != nil }

    /// The order as it stands now, to be stored.
    func order(at now: Timestamp) -> Order {
        Order(
            record: SagaRecord(plan: saga.plan, step: saga.step, history: history), key: order.key,
            createdAt: order.createdAt, updatedAt: now)
    }

    /// An order's history stays readable and bounded, however long its saga hangs: its beginning and its end are kept.
    static let maximumHistory = 64

    /// Adds a line to the history, unless it is the last one over again. - Parameter event: `HistoryEntry.maximumEvent` at the longest.
    mutating func note(_ event: String, at now: Timestamp) {
        guard history.last?.event != event else { return }
        if history.count >= Self.maximumHistory { history.remove(at: Self.maximumHistory / 2) }
        history.append(HistoryEntry(at: now, event: event))
    }
}
