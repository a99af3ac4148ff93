import Money
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What a person has found in a provider's own books about a payment that comes to no end: its provider does not answer about it, or refuses
/// to say. Nothing that the provider has told us decides then, so this is for an operator alone, by a plan (decision 21).
enum PaymentVerdict: String, CaseIterable, Sendable {
    /// The money has moved.
    case moved
    /// It has not moved, and will not.
    case notMoved = "not-moved"
}

/// What it would do to end a payment by a verdict.
struct PaymentVerdictPlan: Equatable, Sendable {
    let payment: Payment
    let verdict: PaymentVerdict
    /// Names the plan. That the provider was asked once more, and it came to the same, makes no other plan; what it says in its own words may
    /// be another each time.
    let id: String

    /// - Throws: `Problem` when there is no such payment, or it ends by itself.
    init(_ verdict: PaymentVerdict, of paymentID: String, in transaction: any Transaction) throws {
        let records = PaymentRecords(transaction: transaction)
        guard let payment = try records.payment(paymentID) else { throw Problem.paymentNotFound }
        guard payment.status.isOpen else {
            throw Problem.paymentConflict("The payment is \(payment.status.rawValue); it has ended.")
        }
        guard payment.status == .processing, payment.leaseOwner == nil else {
            throw Problem.paymentConflict(
                "The provider is being asked about the payment at this moment, or about to be; look again when it has answered. Nothing was done."
            )
        }
        self.payment = payment
        self.verdict = verdict
        let actions = try OperatorLog(transaction).count(of: paymentID)
        id = PlanID.make([
            "payment", verdict.rawValue, paymentID, payment.task.phase.rawValue, String(payment.task.mayBeTaken),
            payment.lastError ?? "", String(payment.isSaidToHaveMoved), String(actions),
        ])
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("paymentId", payment.id)
            json.string("action", verdict.rawValue)
            json.string("plan", id)
            json.string("from", "open: \(payment.lastError ?? "not answered yet")")
            json.string("to", verdict == .moved ? "succeeded" : "failed, a dead letter")
            json.string("summary", summary)
            json.array("calls") { _ in }
        }
    }

    private var summary: String {
        let said =
            payment.isSaidToHaveMoved && verdict == .notMoved
            ? "The provider has said in a message that the money HAS MOVED. " : ""
        let what = "\(payment.kind.rawValue) of \(payment.amount)"
        let proof =
            "\(said)Only what \(payment.provider.rawValue)'s own books show of \(payment.id) decides; the provider is not asked any more. "
        switch verdict {
        case .moved:
            return """
                \(proof)The \(what) is entered as moved. If it has not, the books have money that is nowhere, and nobody asks for it again.
                """
        case .notMoved:
            return """
                \(proof)The \(what) has failed: its money is where it was before, and it can be made anew as a dead letter. If it has moved all \
                the same, the money is there twice.
                """
        }
    }
}

extension Payments {
    /// Ends an open payment by what a person has found out. - Throws: `Problem` when the plan is not the one that would be made now, or
    /// `StoreError`. Nothing was done then.
    func end(_ id: String, _ verdict: PaymentVerdict, _ command: OperatorCommand) async throws {
        let plan = try await environment.store.transaction { [environment] transaction in
            let records = PaymentRecords(transaction: transaction)
            let now = environment.time.now
            let plan = try PaymentVerdictPlan(verdict, of: id, in: transaction)
            try command.check(plan.id)
            let decision: ProviderTask.Decision =
                switch verdict {
                case .moved: .succeed
                case .notMoved: .giveUp(because: "not moved, as an operator has found out")
                }
            // That it contradicts a message is in the trail; nobody has to be called for what they have just decided.
            guard try records.settle(records.takeByHand(plan.payment, at: now), decision, at: now) != .lost else {
                throw StoreError.failed("payment \(id) was looked at and has ended")
            }
            try OperatorLog(transaction).record(command.action(verdict.rawValue, plan: plan.id, at: now), on: id)
            return plan
        }
        metrics.count(plan.payment, verdict == .moved ? .succeeded : .failed)
        command.tell(environment.logger, verdict.rawValue, of: ("payment_id", id), plan: plan.id)
    }
}
