import Money
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What an operator may do about a payment that was given up.
enum DeadLetterAction: String, CaseIterable, Sendable {
    /// Make it anew, under an id of its own.
    case retry
    /// Let it be.
    case discard
}

/// What an action on a dead letter would do.
struct DeadLetterPlan: Equatable, Sendable {
    let letter: DeadLetter
    let action: DeadLetterAction
    /// Names the plan: another state of the dead letter is another plan.
    let id: String

    /// - Throws: `Problem` when there is no such dead letter, or somebody has decided already.
    init(_ action: DeadLetterAction, of paymentID: String, in transaction: any Transaction) throws {
        guard let letter = try PaymentRecords(transaction: transaction).deadLetter(paymentID) else {
            throw Problem.deadLetterNotFound
        }
        switch letter.resolution {
        case .retried:
            throw Problem.paymentConflict(
                "The payment was made anew already\(letter.retriedAs.map { ", as \($0)" } ?? ""); that one goes its own way."
            )
        case .discarded:
            throw Problem.paymentConflict("The dead letter was discarded; there is nothing to do any more.")
        case nil: break
        }
        self.letter = letter
        self.action = action
        let actions = try OperatorLog(transaction).count(of: paymentID)
        id = PlanID.make([
            "dead letter", action.rawValue, paymentID, letter.reason, String(letter.diedAt.milliseconds),
            String(actions), String(letter.contradictions),
        ])
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("paymentId", letter.payment.id)
            json.string("action", action.rawValue)
            json.string("plan", id)
            json.string("from", "given up: \(letter.reason)")
            json.string("to", action == .retry ? "retried" : "discarded")
            json.string("summary", summary)
            json.array("calls") { json in
                guard action == .retry else { return }
                json.object { json in
                    json.string("service", letter.payment.provider.rawValue)
                    json.string("operation", letter.payment.kind.rawValue)
                    json.string("id", "under a new id")
                    json.string("effect", effect)
                }
            }
        }
    }

    private var summary: String {
        let warning =
            letter.contradictions > 0
            ? "The provider has said in a message, before or since, that the money of this payment HAS MOVED; its answers did not say so: look at its books first. "
            : letter.isDoubtful
                ? "Whether the provider has taken this payment is NOT CERTAIN: look at its books first. " : ""
        switch action {
        case .retry where !warning.isEmpty:
            return """
                \(warning)The payment is made anew, once, under an id of its own: if the old one has moved, it is paid twice. If its \
                customer has paid again meanwhile, both are paid.
                """
        case .retry:
            return """
                The payment is made anew, once, under an id of its own; under the old one the provider takes nothing any more. If its \
                customer has paid again meanwhile, both are paid.
                """
        case .discard where !warning.isEmpty:
            return """
                \(warning)Nothing moves here: the payment has failed, and with us its money is where it was before; if it has moved at the \
                provider, it stays there and is entered nowhere. It cannot be retried then.
                """
        case .discard:
            return
                "Nothing moves: the payment has failed, and its money is where it was before. It cannot be retried then."
        }
    }

    private var effect: String {
        let payment = letter.payment
        let taken = payment.holdFromWallet
        let fromWallet = Money(minorUnits: taken, currency: payment.amount.currency)
        switch payment.direction {
        case .inwards:
            return "\(payment.amount): from the customer's means of payment, for account \(payment.accountID)"
        case .outwards:
            return """
                \(payment.amount): to the outside; \(fromWallet) of account \(payment.accountID) is set aside for it at once, if it is \
                there
                """
        }
    }
}
