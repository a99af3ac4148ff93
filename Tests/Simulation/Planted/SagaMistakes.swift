import OrderService
import ServiceClient

extension PlantedMistakes {
    /// Mistakes in what the saga decides.
    static let decisions: [Mistake] = [
        decided("release-on-unknown-charge", "A charge without an answer is given up, and the goods released.") {
            saga, event in
            guard case .charged(.unknown) = event else { return nil }
            return .releasing(.made, then: .nothing)
        },
        decided(
            "refund-on-unknown-complete", "A complete without an answer is given up, and the money given back at once."
        ) {
            saga, event in
            guard case .completed(.unknown) = event else { return nil }
            return .refunding(.made)
        },
        decided("cancel-skipped", "The id of a charge that was turned away is not canceled.") { saga, event in
            guard case .charged(.notExecuted) = event, !saga.isResumed else { return nil }
            return .releasing(.made, then: .nothing)
        },
        decided("refund-skipped", "A refused complete ends the order without giving the money back.") { saga, event in
            guard case .completed(.refused) = event else { return nil }
            return .releasing(.made, then: .nothing)
        },
        decided("release-skipped", "A declined charge ends the order without releasing the goods.") { saga, event in
            guard case .charged(.refused(let refusal)) = event else { return nil }
            return .failed(Failure(kind: .refused, code: refusal.code, detail: "", declineCode: refusal.declineCode))
        },
        decided("forward-on-refusal", "A declined charge is followed by the complete.") { saga, event in
            guard case .charged(.refused) = event, case .charging(let goods) = saga.step else { return nil }
            return .completing(goods)
        },
        decided("complete-skipped", "A charged order is completed without the goods.") { saga, event in
            guard case .charged(.succeeded) = event, case .charging(let goods) = saga.step else { return nil }
            return .completed(goods)
        },
        decided("resumed-refusal-is-final", "A resumed saga whose reserve is refused does not look at its charge.") {
            saga, event in
            guard saga.isResumed, case .reserved(.refused, _) = event else { return nil }
            return .failed(.made)
        },
        decided(
            "resumed-charge-not-sent-is-final", "A resumed saga takes its own failure to charge for its predecessor's."
        ) {
            saga, event in
            guard saga.isResumed, case .charged(let outcome) = event else { return nil }
            switch outcome {
            case .notSent, .notExecuted: return .releasing(.made, then: .nothing)
            case .succeeded, .refused, .unknown: return nil
            }
        },
        decided("resumed-reserve-unknown-is-given-up", "A resumed saga without an answer to its reserve releases.") {
            saga, event in
            guard saga.isResumed, case .reserved(.unknown, _) = event else { return nil }
            return .releasing(.made, then: .nothing)
        },
        decided("unknown-reserve-not-released", "A reserve without an answer ends the order, and nothing is released.")
        {
            saga, event in
            guard !saga.isResumed, case .reserved(.unknown, _) = event else { return nil }
            return .failed(.made)
        },
        decided(
            "turned-away-reserve-not-released",
            "A reserve that was turned away ends the order, and nothing is released."
        ) {
            saga, event in
            guard !saga.isResumed, case .reserved(.notExecuted, _) = event else { return nil }
            return .failed(.made)
        },
        decided("release-unknown-is-end", "A release without an answer ends the order.") { saga, event in
            guard case .released(.unknown) = event else { return nil }
            return .failed(.made)
        },
        decided("refund-unknown-is-end", "A refund without an answer ends the order.") { saga, event in
            guard case .refunded(.unknown) = event else { return nil }
            return .failed(.made)
        },
        Mistake("resumed-as-new", "A resumed saga is treated like a new one.").with {
            $0.decide = { saga, event in
                saga = Saga(saga.plan, step: saga.step, isResumed: false)
                return saga.apply(event)
            }
        },
    ]

    /// A saga that goes to another step than its own where `other` names one.
    private static func decided(
        _ name: String, _ sentence: String, _ other: @escaping @Sendable (Saga, Saga.Event) -> Saga.Step?
    ) -> Mistake {
        Mistake(name, sentence).with { mistake in
            mistake.decide = { saga, event in
                guard let step = other(saga, event) else { return saga.apply(event) }
                saga = Saga(saga.plan, step: step, isResumed: saga.isResumed)
                return saga.call.map { .call($0) } ?? .end
            }
        }
    }
}

extension Failure {
    /// The failure of a saga that was led astray.
    fileprivate static let made = Failure(kind: .unavailable, code: "unavailable", detail: "Made by a planted mistake.")
}
