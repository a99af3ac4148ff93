import Money
import ServiceKit

extension Problem {
    /// Why a charge took nothing.
    static func declined(_ charge: Charge) -> Problem {
        guard charge.declineCode == .methodNotSupported, charge.method == ChargeRequest.walletMethod else {
            return declined(charge.declineCode)
        }
        return Problem(
            .paymentDeclined,
            "The payment was declined: there is no account of the user's in \(charge.amount.currency) to pay from.",
            declineCode: DeclineCode.methodNotSupported.rawValue)
    }

    static func declined(_ code: DeclineCode?) -> Problem {
        let detail =
            switch code {
            case .insufficientFunds: "The payment was declined: there is not enough money."
            case .methodNotSupported: "The payment was declined: the method is not supported."
            case .cardDeclined, nil: "The payment was declined by the card's bank."
            }
        return Problem(.paymentDeclined, detail, declineCode: (code ?? .cardDeclined).rawValue)
    }

    /// The charge's id stands for another charge.
    static var chargeIDReused: Problem {
        Problem(.chargeStateConflict, "The charge's id was used for another charge.")
    }

    static var chargeUnknown: Problem {
        Problem(.outcomeUnknown, "The provider has not said whether the money moved; send the same request again.")
    }
}
