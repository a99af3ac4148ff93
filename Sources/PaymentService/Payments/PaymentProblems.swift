import ServiceKit

extension Problem {
    static var paymentNotFound: Problem { Problem(.paymentNotFound, "There is no payment of yours with this id.") }

    static var deadLetterNotFound: Problem { Problem(.paymentNotFound, "No payment with this id was given up.") }

    static func paymentConflict(_ detail: String) -> Problem { Problem(.paymentStateConflict, detail) }
}
