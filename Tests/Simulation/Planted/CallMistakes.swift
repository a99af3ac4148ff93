import PaymentAPI
import ServiceClient
import StockAPI

extension PlantedMistakes {
    private static let declined = CallFailure.refused(
        Refusal(code: "payment-declined", detail: "", declineCode: "card_declined"))
    private static let soldOut = CallFailure.refused(Refusal(code: "insufficient-stock", detail: ""))

    /// Mistakes in reading what came of a call.
    static let readings: [Mistake] = [
        payment("time-out-is-refusal", "A charge without an answer is taken for declined.") { operation, failure in
            if case .unknown = failure, operation == .charge { return .failure(declined) }
            return .failure(failure)
        },
        payment("time-out-is-not-sent", "A charge without an answer is taken for one that never left.") {
            operation, failure in
            if case .unknown(let trouble, _) = failure, operation == .charge { return .failure(.notSent(trouble)) }
            return .failure(failure)
        },
        payment("in-progress-is-refusal", "A charge that is still at work is taken for declined.") {
            operation, failure in
            if case .unknown(.inProgress, _) = failure, operation == .charge { return .failure(declined) }
            return .failure(failure)
        },
        payment("not-executed-is-not-sent", "A charge that was turned away is taken for one that never left.") {
            _, failure in
            if case .notExecuted(let trouble, _) = failure { return .failure(.notSent(trouble)) }
            return .failure(failure)
        },
        payment("unavailable-is-success", "A charge that was turned away is taken for paid.") { operation, failure in
            if case .notExecuted = failure, operation == .charge { return .success }
            return .failure(failure)
        },
        payment("garbage-is-success", "Rubbish in answer to a charge is taken for paid.") { operation, failure in
            if case .unknown(.garbled, _) = failure, operation == .charge { return .success }
            return .failure(failure)
        },
        payment("refusal-is-success", "A declined charge is taken for paid.") { operation, failure in
            if case .refused = failure, operation == .charge { return .success }
            return .failure(failure)
        },
        payment("refund-assumed", "A refund without an answer is taken for done.") { operation, failure in
            if case .unknown = failure, operation == .refund { return .success }
            return .failure(failure)
        },
        payment("refund-turned-away-is-done", "A refund that was turned away is taken for done.") {
            operation, failure in
            if case .notExecuted = failure, operation == .refund { return .success }
            return .failure(failure)
        },
        stock("complete-assumed", "A complete without an answer is taken for done.") { operation, failure in
            if case .unknown = failure, operation == .complete { return .success }
            return .failure(failure)
        },
        stock("complete-refusal-ignored", "A refused complete is taken for done.") { operation, failure in
            if case .refused = failure, operation == .complete { return .success }
            return .failure(failure)
        },
        stock("release-assumed", "A release without an answer is taken for done.") { operation, failure in
            if case .unknown = failure, operation == .release { return .success }
            return .failure(failure)
        },
        stock("release-not-sent-is-done", "A release that never left is taken for done.") { operation, failure in
            if case .notSent = failure, operation == .release { return .success }
            return .failure(failure)
        },
        stock("reserve-unknown-is-refusal", "A reserve without an answer is taken for sold out.") {
            operation, failure in
            if case .unknown = failure, operation == .reserve { return .failure(soldOut) }
            return .failure(failure)
        },
        stock("reserve-turned-away-is-not-sent", "A reserve that was turned away is taken for one that never left.") {
            operation, failure in
            if case .notExecuted(let trouble, _) = failure, operation == .reserve { return .failure(.notSent(trouble)) }
            return .failure(failure)
        },
        stock(
            "complete-unknown-is-refusal",
            "A complete without an answer is taken for refused, and the money given back."
        ) {
            operation, failure in
            if case .unknown = failure, operation == .complete {
                return .failure(.refused(Refusal(code: "reservation-state-conflict", detail: "")))
            }
            return .failure(failure)
        },
        Mistake("lost-is-not-sent", "A connection that broke is taken for one that was never made.").with {
            $0.outcome = { _, outcome, sender in
                guard sender.node.role == .order, case .failure(.connectionLost(let why)) = outcome else {
                    return outcome
                }
                return .failure(.notSent(why))
            }
        },
        Mistake("silence-is-not-sent", "A request without an answer is taken for one that was never sent.").with {
            $0.timeout = .notSentInTime
        },
    ]

    /// Mistakes in what is sent.
    static let messages: [Mistake] = [
        Mistake("new-charge-id", "Each attempt of a charge has an id of its own.").with {
            $0.payment = { real in
                let attempts = Cell(0)
                return PaymentSeam(
                    real: real,
                    command: { command, _ in
                        attempts.value += 1
                        return command.with(id: "\(command.chargeID)-\(attempts.value)")
                    })
            }
        },
        Mistake("charge-id-of-the-user", "All orders of a user are charged under one id.").with {
            $0.payment = { real in
                PaymentSeam(real: real, command: { command, context in command.with(id: "charge of \(context.user)") })
            }
        },
        Mistake("new-reservation-id", "Each attempt of a reserve has an id of its own.").with {
            $0.stock = { real in
                let attempts = Cell(0)
                return StockSeam(
                    real: real,
                    command: { command in
                        attempts.value += 1
                        return command.with(id: "\(command.reservationID)-\(attempts.value)")
                    })
            }
        },
        Mistake("half-the-cart", "Of several lines, the last is not reserved.").with {
            $0.stock = { real in
                StockSeam(real: real, command: { $0.with(lines: Array($0.lines.dropLast($0.lines.count > 1 ? 1 : 0))) })
            }
        },
        Mistake("cancel-dropped", "A refund does not say that a charge not yet made must never be.").with {
            $0.request = { request, _ in request = request.replacing(",\"orCancel\":true", with: "") }
        },
        Mistake("part-refunded", "Of a charge only one cent is given back.").with {
            $0.request = { request, _ in
                request = request.replacing(
                    "\"orCancel\":true", with: "\"orCancel\":true,\"amount\":{\"amount\":1,\"currency\":\"USD\"}")
            }
        },
    ]

    private static func payment(
        _ name: String, _ sentence: String,
        _ misread: @escaping @Sendable (PaymentSeam.Operation, CallFailure) -> Misreading
    ) -> Mistake {
        Mistake(name, sentence).with { $0.payment = { PaymentSeam(real: $0, misread: misread) } }
    }

    private static func stock(
        _ name: String, _ sentence: String,
        _ misread: @escaping @Sendable (StockSeam.Operation, CallFailure) -> Misreading
    ) -> Mistake {
        Mistake(name, sentence).with { $0.stock = { StockSeam(real: $0, misread: misread) } }
    }
}

extension ChargeCommand {
    fileprivate func with(id: String) -> ChargeCommand {
        ChargeCommand(chargeID: id, orderID: orderID, amount: amount, method: method)
    }
}

extension ReserveCommand {
    fileprivate func with(id: String? = nil, lines: [LineRequest]? = nil) -> ReserveCommand {
        ReserveCommand(reservationID: id ?? reservationID, lines: lines ?? self.lines, holdSeconds: holdSeconds)
    }
}
