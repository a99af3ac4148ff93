import Money
import Resilience
import ServiceClient
import StockAPI

/// The checkout: reserve the goods, charge the customer, complete the reservation; or undo, release before refund.
///
/// A value without clock, network or store. `apply` takes what happened and answers what to do next; whoever drives it
/// performs that and reports back. Every path from the first call to an end can be walked in a test.
public struct Saga: Hashable, Sendable {
    /// Where the checkout stands.
    public enum Step: Hashable, Sendable {
        /// The goods are being set aside.
        case reserving
        /// The goods are set aside; the money is being taken.
        case charging(ReservedGoods)
        /// The money is taken; the goods are being handed over.
        case completing(ReservedGoods)
        /// It has failed; the goods are being put back, and then the charge is seen to.
        case releasing(Failure, then: ChargeUndo)
        /// It has failed, no goods are held and no money was taken; the charge's id is being made useless, so that a copy of
        /// the charge that is still on its way takes none.
        case canceling(Failure)
        /// It has failed and no goods are held; the money is being given back.
        case refunding(Failure)
        /// Paid, and the goods have left the stock.
        case completed(ReservedGoods)
        /// Nothing is taken and nothing is held.
        case failed(Failure)
    }

    /// What a failed checkout has to undo of its charge once the goods are back.
    public enum ChargeUndo: String, Hashable, Sendable {
        /// Nothing: no charge has left this process, or it was declined, which Payment keeps under its id.
        case nothing
        /// Payment said that it did not execute the charge: its id is canceled.
        case cancel
        /// The money was taken; or Payment refused because other money lies under the charge's id.
        case refund
        /// An operator has withdrawn the order, and nobody knows how far it had come: its charge is refunded or canceled,
        /// whatever became of it. If the goods turn out to have left, they were paid for, and the order goes forward.
        case withdraw
        /// An operator has withdrawn an order that was on its way back already, and whose goods may not come back: its charge is refunded or
        /// canceled all the same.
        case abandon
    }

    /// A call to another service.
    public enum Call: Hashable, Sendable {
        case reserve(ReserveCommand)
        case charge(Money)
        case complete
        case release
        case refund
    }

    /// What a call brought.
    public enum Event: Equatable, Sendable {
        /// `mayCharge` is false when the time left is too short to begin a charge.
        case reserved(Outcome<ReservedGoods>, mayCharge: Bool)
        case charged(Outcome<Done>)
        case completed(Outcome<Done>)
        case released(Outcome<Done>)
        case refunded(Outcome<Done>)
    }

    /// What to do after an event. When the saga must be stored, that comes before anything else.
    public enum Next: Equatable, Sendable {
        /// Make this call.
        case call(Call)
        /// Wait, and make the call of the step again: its outcome is not known, and nothing else may be done before it is.
        case repeatLater
        /// The checkout has ended.
        case end
    }

    /// The order and its ids.
    public let plan: OrderPlan
    /// Whether an earlier process may have made calls of this saga that this one knows nothing about.
    public let isResumed: Bool
    /// Where it stands.
    public private(set) var step: Step
    /// Whether an earlier round of this saga's charge may have taken the money. A later round that is known not to have run
    /// does not make the earlier one undone.
    private var chargeMayHaveRun: Bool

    /// A saga at its beginning.
    public init(_ plan: OrderPlan) {
        self.init(plan, step: .reserving, isResumed: false)
    }

    /// A saga that is taken up again where it was stored.
    ///
    /// Payment may have lost the tail of its store since then (hazard 50), and the goods are not handed over for a charge that it does
    /// not know any more: it is asked again, which brings the same answer if it knows it.
    public init(resuming plan: OrderPlan, at step: Step) {
        let first: Step = if case .completing(let goods) = step { .charging(goods) } else { step }
        self.init(plan, step: first, isResumed: true)
    }

    /// A saga at a step.
    public init(_ plan: OrderPlan, step: Step, isResumed: Bool) {
        self.plan = plan
        self.step = step
        self.isResumed = isResumed
        chargeMayHaveRun = isResumed
    }

    /// The call that the step waits for; nil at an end.
    public var call: Call? {
        switch step {
        case .reserving:
            .reserve(
                ReserveCommand(
                    reservationID: plan.reservationID, lines: plan.lines, holdSeconds: plan.holdSeconds))
        case .charging(let goods): .charge(goods.total)
        case .completing: .complete
        case .releasing: .release
        case .canceling, .refunding: .refund
        case .completed, .failed: nil
        }
    }

    /// Whether the step must be durable before its call is made: every decision to go back, and every end. Steps forward
    /// need not be stored, because asking again with the stored ids brings the same answers (hazards 14 to 17).
    public var mustBeStored: Bool {
        switch step {
        case .reserving, .charging, .completing: false
        case .releasing, .canceling, .refunding, .completed, .failed: true
        }
    }

    /// Whether nothing has been taken yet and nothing is being undone, so that the step may fail at once when the service
    /// it needs is known to be in trouble. Every other step goes on asking (hazard 35).
    public var mayFailFast: Bool {
        switch step {
        case .reserving: !isResumed
        case .charging: !chargeMayHaveRun
        case .completing, .releasing, .canceling, .refunding, .completed, .failed: false
        }
    }

    /// Why the checkout fails, once it is certain that it does and that no money was taken for it. A copy of a charge that
    /// was not executed may still take some, but it is given back before the checkout ends.
    public var certainFailure: Failure? {
        switch step {
        case .releasing(let failure, .nothing), .releasing(let failure, .cancel), .canceling(let failure),
            .failed(let failure):
            failure
        case .reserving, .charging, .completing, .releasing(_, .refund), .releasing(_, .withdraw),
            .releasing(_, .abandon), .refunding, .completed:
            nil
        }
    }

    /// Takes an event and answers what to do next.
    ///
    /// - Returns: nil when the event does not belong to the step; the saga is unchanged then.
    public mutating func apply(_ event: Event) -> Next? {
        switch (step, event) {
        case (.reserving, .reserved(let outcome, let mayCharge)): reserved(outcome, mayCharge: mayCharge)
        case (.charging(let goods), .charged(let outcome)): charged(outcome, goods)
        case (.completing(let goods), .completed(let outcome)): completed(outcome, goods)
        case (.releasing(let failure, let undo), .released(let outcome)): released(outcome, failure, undo)
        case (.canceling(let failure), .refunded(let outcome)), (.refunding(let failure), .refunded(let outcome)):
            refunded(outcome, failure)
        default: nil
        }
    }

    /// Turns a saga back, for an operator: release before anything else, then the charge.
    ///
    /// The saga itself never does that once a charge may have been made, because a driver that was only frozen may wake and
    /// go forward still (decision 11). What keeps an operator's word safe against it is the order of the steps: once the release is
    /// acknowledged, a late complete is refused, and the charge's id is used up whether or not it took money. If the
    /// release is refused, the goods had left, and so their charge had gone through: then forward is the only way. A saga that goes back
    /// already has found its charge declined, or its goods lost. If they have left all the same, somebody else has taken them, or a store has lost
    /// the charge: the operator says that they need not come back.
    ///
    /// - Returns: what to do next, or nil when it has ended or an operator has said so already; it is unchanged then.
    public mutating func withdraw() -> Next? {
        switch step {
        case .reserving, .charging, .completing: go(.releasing(.withdrawn, then: .withdraw))
        case .releasing(_, .nothing), .releasing(_, .cancel), .releasing(_, .refund):
            go(.releasing(.withdrawn, then: .abandon))
        case .releasing(_, .withdraw), .releasing(_, .abandon), .canceling, .refunding, .completed, .failed: nil
        }
    }

    // MARK: - One function for each step

    private mutating func reserved(_ outcome: Outcome<ReservedGoods>, mayCharge: Bool) -> Next {
        switch outcome {
        case .succeeded(let goods):
            // A resumed saga may have charged already: it goes forward, or it could not know.
            return mayCharge || isResumed ? go(.charging(goods)) : go(.releasing(.deadline, then: .nothing))
        // Stock need not remember a command that is not valid: once prices are others, a copy that is late could still take goods under the
        // id. Released, it cannot.
        case .refused(let refusal) where refusal.code == Self.invalid:
            return go(.releasing(Failure(refusal), then: isResumed ? .refund : .nothing))
        case .refused(let refusal):
            // Stock holds nothing under this id and never will. But an earlier process may have reserved, charged and
            // stopped, and the reservation may have expired since: only Payment can tell, and its answer makes it so.
            return isResumed ? go(.refunding(Failure(refusal))) : go(.failed(Failure(refusal)))
        case .notSent(let trouble):
            return isResumed ? .repeatLater : go(.failed(.notSent(trouble, to: "Stock")))
        case .notExecuted(let trouble), .unknown(let trouble):
            // Something may be set aside, or may yet be. No charge was begun, so releasing it by its id is safe whatever
            // happened.
            return isResumed ? .repeatLater : go(.releasing(Failure(trouble, of: "Stock"), then: .nothing))
        }
    }

    private mutating func charged(_ outcome: Outcome<Done>, _ goods: ReservedGoods) -> Next {
        switch outcome {
        case .succeeded: return go(.completing(goods))
        case .refused(let refusal) where refusal.code == Self.declined:
            return go(.releasing(Failure(refusal), then: .nothing))
        // Other money may lie under the charge's id: somebody has charged under it directly (hazard 26), or an earlier process has, at
        // prices that Stock has forgotten since (hazard 50). Whatever it is, it pays for nothing.
        case .refused(let refusal): return go(.releasing(Failure(refusal), then: .refund))
        case .notSent(let trouble):
            return chargeMayHaveRun ? .repeatLater : go(.releasing(.notSent(trouble, to: "Payment"), then: .nothing))
        // Nothing is taken under the charge's id, whatever earlier attempts may have done. Another process may have asked for
        // more than this one knows, though, so a resumed saga waits for the provider.
        case .notExecuted(.providerUnavailable) where !isResumed:
            return go(.releasing(Failure(.providerUnavailable, of: "Payment"), then: .cancel))
        case .notExecuted(let trouble):
            return chargeMayHaveRun ? .repeatLater : go(.releasing(Failure(trouble, of: "Payment"), then: .cancel))
        // The money may be taken. Neither giving it back nor keeping it is right before that is known (hazard 4).
        case .unknown:
            chargeMayHaveRun = true
            return .repeatLater
        }
    }

    private mutating func completed(_ outcome: Outcome<Done>, _ goods: ReservedGoods) -> Next {
        switch outcome {
        case .succeeded: return go(.completed(goods))
        case .refused: return go(.releasing(.reservationLost, then: .refund))
        // After a charge the way is forward (hazard 7).
        case .notSent, .notExecuted, .unknown: return .repeatLater
        }
    }

    /// Release before refund: a complete that is still on its way finds the reservation canceled, so nobody gets the goods
    /// for money given back (hazard 11).
    private mutating func released(_ outcome: Outcome<Done>, _ failure: Failure, _ undo: ChargeUndo) -> Next {
        switch outcome {
        case .succeeded:
            switch undo {
            case .nothing: return go(.failed(failure))
            case .cancel: return go(.canceling(failure))
            case .refund, .withdraw, .abandon: return go(.refunding(failure))
            }
        // Nobody completes a reservation before its charge is through.
        case .refused(let refusal) where undo == .withdraw && refusal.code == Self.completedAlready:
            return go(.reserving)
        case .refused(let refusal) where undo == .abandon && refusal.code == Self.completedAlready:
            return go(.refunding(failure))
        // Somebody has completed the reservation by its id at Stock, for this saga has not asked for it: the goods are gone, which the audit
        // tells. There is no money to give back for them, and the order must not wait for goods that do not come back.
        case .refused(let refusal) where refusal.code == Self.completedAlready && !isResumed && undo == .nothing:
            return go(.failed(failure))
        case .refused(let refusal) where refusal.code == Self.completedAlready && !isResumed && undo == .cancel:
            return go(.canceling(failure))
        // Otherwise the money may have been taken for these goods, by an earlier process if not by this one: an operator must look, and may
        // withdraw the order. Until then nothing is given back.
        case .refused, .notSent, .notExecuted, .unknown: return .repeatLater
        }
    }

    /// The problem by which Stock refuses a command for what it is.
    private static let invalid = "validation-failed"

    /// The problem by which Payment says that a charge has taken nothing, and that its id never will.
    private static let declined = "payment-declined"

    /// The problem by which Payment says that the charge to be refunded is another user's, and so that none is the order's: who asks for the
    /// refund of a charge that is not there has its id canceled.
    private static let chargeNotFound = "charge-not-found"

    /// The problem by which Stock says that the goods of a reservation have left.
    private static let completedAlready = "reservation-state-conflict"

    private mutating func refunded(_ outcome: Outcome<Done>, _ failure: Failure) -> Next {
        switch outcome {
        case .succeeded: return go(.failed(failure))
        case .refused(let refusal) where refusal.code == Self.chargeNotFound: return go(.failed(failure))
        case .refused, .notSent, .notExecuted, .unknown: return .repeatLater
        }
    }

    private mutating func go(_ next: Step) -> Next {
        step = next
        return call.map { .call($0) } ?? .end
    }
}

/// Decides what follows an event; replaced only by tests that plant a mistake.
package typealias SagaDecision = @Sendable (inout Saga, Saga.Event) -> Saga.Next?
