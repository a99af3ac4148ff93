import ServiceClient
import StockAPI
import Testing

@testable import OrderService

/// A step, what happened in it, and what must follow.
struct Transition: Sendable, CustomTestStringConvertible {
    let step: Saga.Step
    let event: Saga.Event
    let isResumed: Bool
    let next: Saga.Next
    let nextStep: Saga.Step

    var testDescription: String { "\(isResumed ? "resumed" : "fresh") \(step.name): \(event)" }

    private typealias Expected = (next: Saga.Next, step: Saga.Step)

    private static func both(_ step: Saga.Step, _ event: Saga.Event, _ expected: Expected) -> [Transition] {
        rows(step, event, fresh: expected, resumed: expected)
    }

    private static func rows(
        _ step: Saga.Step, _ event: Saga.Event, fresh: Expected, resumed: Expected
    ) -> [Transition] {
        [(false, fresh), (true, resumed)].map { isResumed, expected in
            Transition(
                step: step, event: event, isResumed: isResumed, next: expected.next, nextStep: expected.step)
        }
    }

    static let all: [Transition] = reserving + charging + completing + releasing + canceling + refunding

    private static let goods = ReservedGoods.sample
    private static let failure = Failure.sample

    private static func stockFailed(_ kind: Failure.Kind, _ trouble: CallTrouble) -> Failure {
        Failure(kind: kind, code: kind.rawValue, detail: Failure(trouble, of: "Stock").detail)
    }

    private static func paymentFailed(_ kind: Failure.Kind, _ trouble: CallTrouble) -> Failure {
        Failure(kind: kind, code: kind.rawValue, detail: Failure(trouble, of: "Payment").detail)
    }

    private static var reserving: [Transition] {
        let charge = Expected(.call(.charge(goods.total)), .charging(goods))
        return both(.reserving, .reserved(.succeeded(goods), mayCharge: true), charge)
            + rows(
                .reserving, .reserved(.succeeded(goods), mayCharge: false),
                fresh: (.call(.release), .releasing(.deadline, then: .nothing)), resumed: charge)
            + [false, true].flatMap { refusedReserves(mayCharge: $0) + failedReserves(mayCharge: $0) }
    }

    private static func refusedReserves(mayCharge: Bool) -> [Transition] {
        let refused = Failure(.insufficientStock)
        let invalid = Failure(.invalidTotal)
        return rows(
            .reserving, .reserved(.refused(.insufficientStock), mayCharge: mayCharge),
            fresh: (.end, .failed(refused)), resumed: (.call(.refund), .refunding(refused)))
            + rows(
                .reserving, .reserved(.refused(.invalidTotal), mayCharge: mayCharge),
                fresh: (.call(.release), .releasing(invalid, then: .nothing)),
                resumed: (.call(.release), .releasing(invalid, then: .refund)))
    }

    private static func failedReserves(mayCharge: Bool) -> [Transition] {
        let unreachable = stockFailed(.unavailable, .unreachable)
        let unavailable = stockFailed(.unavailable, .unavailable)
        let timedOut = stockFailed(.timedOut, .timedOut)
        let repeated = Expected(.repeatLater, .reserving)
        return rows(
            .reserving, .reserved(.notSent(.unreachable), mayCharge: mayCharge),
            fresh: (.end, .failed(unreachable)), resumed: repeated)
            + rows(
                .reserving, .reserved(.notSent(.timedOut), mayCharge: mayCharge),
                fresh: (.end, .failed(.deadline)), resumed: repeated)
            + rows(
                .reserving, .reserved(.notExecuted(.unavailable), mayCharge: mayCharge),
                fresh: (.call(.release), .releasing(unavailable, then: .nothing)), resumed: repeated)
            + rows(
                .reserving, .reserved(.unknown(.timedOut), mayCharge: mayCharge),
                fresh: (.call(.release), .releasing(timedOut, then: .nothing)), resumed: repeated)
    }

    private static var charging: [Transition] {
        let step = Saga.Step.charging(goods)
        let repeated = Expected(.repeatLater, step)
        return both(step, .charged(.succeeded(Done())), (.call(.complete), .completing(goods)))
            + both(
                step, .charged(.refused(.insufficientStock)),
                (.call(.release), .releasing(Failure(.insufficientStock), then: .refund)))
            + rows(
                step, .charged(.notSent(.unreachable)),
                fresh: (.call(.release), .releasing(paymentFailed(.unavailable, .unreachable), then: .nothing)),
                resumed: repeated)
            + rows(
                step, .charged(.notSent(.timedOut)),
                fresh: (.call(.release), .releasing(.deadline, then: .nothing)), resumed: repeated)
            + rows(
                step, .charged(.notExecuted(.unavailable)),
                fresh: (.call(.release), .releasing(paymentFailed(.unavailable, .unavailable), then: .cancel)),
                resumed: repeated)
            + both(step, .charged(.unknown(.timedOut)), repeated)
    }

    private static var completing: [Transition] {
        let step = Saga.Step.completing(goods)
        return both(step, .completed(.succeeded(Done())), (.end, .completed(goods)))
            + both(
                step, .completed(.refused(.insufficientStock)),
                (.call(.release), .releasing(.reservationLost, then: .refund)))
            + Outcome.withoutAnswer.flatMap { both(step, .completed($0), (.repeatLater, step)) }
    }

    private static var releasing: [Transition] {
        let ways: [(Saga.ChargeUndo, Expected)] = [
            (.nothing, (.end, .failed(failure))), (.cancel, (.call(.refund), .canceling(failure))),
            (.refund, (.call(.refund), .refunding(failure))), (.withdraw, (.call(.refund), .refunding(failure))),
            (.abandon, (.call(.refund), .refunding(failure))),
        ]
        return ways.flatMap { undo, after in
            let step = Saga.Step.releasing(failure, then: undo)
            return both(step, .released(.succeeded(Done())), after)
                + both(step, .released(.refused(.insufficientStock)), (.repeatLater, step))
                + Outcome.withoutAnswer.flatMap { both(step, .released($0), (.repeatLater, step)) }
        }
    }

    private static var canceling: [Transition] { ending(.canceling(failure)) }

    private static var refunding: [Transition] { ending(.refunding(failure)) }

    private static func ending(_ step: Saga.Step) -> [Transition] {
        both(step, .refunded(.succeeded(Done())), (.end, .failed(failure)))
            + both(step, .refunded(.refused(.insufficientStock)), (.repeatLater, step))
            + Outcome.withoutAnswer.flatMap { both(step, .refunded($0), (.repeatLater, step)) }
    }
}

extension OrderPlan {
    static let sample = OrderPlan(
        orderID: "order", reservationID: "reservation", chargeID: "charge", refundID: "refund", user: "ada",
        lines: [LineRequest(itemID: 1, quantity: 2), LineRequest(itemID: 7, quantity: 1)], holdSeconds: 900,
        method: nil)
}

extension ReservedGoods {
    static let sample = FakeShop.goods(OrderPlan.sample.lines)
}

extension Failure {
    static let sample = Failure(kind: .refused, code: "payment-declined", detail: "No.", declineCode: "card_declined")
}

extension Saga.ChargeUndo {
    static let samples: [Saga.ChargeUndo] = [.nothing, .cancel, .refund, .withdraw, .abandon]
}

extension Saga.Step {
    /// One of each.
    static let samples: [Saga.Step] =
        [.reserving, .charging(.sample), .completing(.sample)]
        + Saga.ChargeUndo.samples.map { .releasing(.sample, then: $0) }
        + [.canceling(.sample), .refunding(.sample), .completed(.sample), .failed(.sample)]

    /// Whether an event is the outcome of the step's call.
    func awaits(_ event: Saga.Event) -> Bool {
        switch (self, event) {
        case (.reserving, .reserved), (.charging, .charged), (.completing, .completed), (.releasing, .released),
            (.canceling, .refunded), (.refunding, .refunded):
            true
        default: false
        }
    }
}

extension Outcome {
    /// One of each that is no answer of the service to the command.
    static var withoutAnswer: [Outcome] {
        [.notSent(.unreachable), .notSent(.timedOut), .notExecuted(.unavailable), .unknown(.timedOut)]
    }

    /// One of each.
    static func samples(_ value: Value) -> [Outcome] {
        [.succeeded(value), .refused(.insufficientStock)] + withoutAnswer
    }
}

extension Saga.Event {
    /// One of each.
    static let samples: [Saga.Event] =
        [false, true].flatMap { mayCharge in
            (Outcome.samples(ReservedGoods.sample) + [.refused(.invalidTotal)])
                .map { .reserved($0, mayCharge: mayCharge) }
        }
        + outcomes.map { .charged($0) } + outcomes.map { .completed($0) } + outcomes.map { .released($0) }
        + outcomes.map { .refunded($0) }

    private static let outcomes = Outcome.samples(Done())
}
