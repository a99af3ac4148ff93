import ServiceClient
import StockAPI
import Testing

@testable import OrderService

@Suite("The saga's steps")
struct SagaTests {
    // MARK: - Every event that belongs to its step

    @Test("every outcome of a step's call leads where it must", arguments: Transition.all)
    func transition(_ transition: Transition) {
        var saga = Saga(.sample, step: transition.step, isResumed: transition.isResumed)

        #expect(saga.apply(transition.event) == transition.next)
        #expect(saga.step == transition.nextStep)
    }

    @Test("a step that goes back, and every end, is stored before anything else", arguments: Transition.all)
    func storing(_ transition: Transition) {
        var saga = Saga(.sample, step: transition.step, isResumed: transition.isResumed)
        _ = saga.apply(transition.event)

        let goesForward =
            switch transition.nextStep {
            case .reserving, .charging, .completing: true
            case .releasing, .refunding, .completed, .failed: false
            }
        #expect(saga.mustBeStored == !goesForward)
    }

    @Test("the table of transitions has every outcome of every step, fresh and resumed")
    func completeness() {
        let pairs = Set(Transition.all.map { "\($0.step.name) \($0.step.thenRefund) \($0.event) \($0.isResumed)" })
        let expected = Saga.Step.samples.reduce(0) { sum, step in
            sum + Saga.Event.samples.count { step.awaits($0) } * 2
        }
        #expect(pairs.count == expected)
        #expect(Transition.all.count == expected)
    }

    // MARK: - Every other event

    @Test(
        "an event that does not belong to the step is not taken and changes nothing", arguments: Saga.Step.samples,
        [false, true])
    func strangeEvent(_ step: Saga.Step, isResumed: Bool) {
        for event in Saga.Event.samples where !step.awaits(event) {
            var saga = Saga(.sample, step: step, isResumed: isResumed)
            let before = saga

            #expect(saga.apply(event) == nil, "\(event)")
            #expect(saga == before, "\(event)")
        }
    }

    // MARK: - Calls

    @Test("a saga begins by reserving its lines under its own reservation id")
    func beginning() {
        let saga = Saga(.sample)
        #expect(saga.step == .reserving)
        #expect(!saga.isResumed)
        #expect(saga.call == .reserve(ReserveCommand(reservationID: "reservation", lines: OrderPlan.sample.lines)))
    }

    @Test("each step waits for its own call, and an end for none")
    func calls() {
        func call(_ step: Saga.Step) -> Saga.Call? { Saga(.sample, step: step, isResumed: false).call }
        #expect(call(.charging(.sample)) == .charge(ReservedGoods.sample.total))
        #expect(call(.completing(.sample)) == .complete)
        #expect(call(.releasing(.sample, thenRefund: false)) == .release)
        #expect(call(.releasing(.sample, thenRefund: true)) == .release)
        #expect(call(.refunding(.sample)) == .refund)
        #expect(call(.completed(.sample)) == nil)
        #expect(call(.failed(.sample)) == nil)
    }

    // MARK: - What one transition cannot show

    @Test("after a round of the charge with an unknown outcome, a round known not to have run proves nothing")
    func notExecutedAfterUnknown() {
        var saga = Saga(.sample, step: .charging(.sample), isResumed: false)

        #expect(saga.apply(.charged(.unknown(.timedOut))) == .repeatLater)
        #expect(saga.apply(.charged(.notExecuted(.unreachable))) == .repeatLater)
        #expect(saga.step == .charging(.sample))
        #expect(saga.apply(.charged(.refused(.declined))) == .call(.release))
        #expect(saga.step == .releasing(Failure(.declined), thenRefund: false))
    }

    @Test("a lost reservation is released before the charge is refunded, and only then has the checkout failed")
    func releaseBeforeRefund() {
        var saga = Saga(.sample, step: .completing(.sample), isResumed: false)

        #expect(saga.apply(.completed(.refused(.conflict))) == .call(.release))
        #expect(saga.apply(.released(.unknown(.timedOut))) == .repeatLater)
        #expect(saga.apply(.released(.succeeded(Done()))) == .call(.refund))
        #expect(saga.apply(.refunded(.notExecuted(.unavailable))) == .repeatLater)
        #expect(saga.apply(.refunded(.succeeded(Done()))) == .end)
        #expect(saga.step == .failed(.reservationLost))
    }

    @Test(
        "a failure says of each trouble what kind it was",
        arguments: [
            (CallTrouble.unreachable, Failure.Kind.unavailable), (.unavailable, .unavailable),
            (.connectionLost, .unavailable), (.timedOut, .timedOut), (.inProgress, .timedOut), (.garbled, .garbled),
        ])
    func kinds(_ trouble: CallTrouble, _ kind: Failure.Kind) {
        let failure = Failure(trouble, of: "Stock")
        #expect(failure.kind == kind)
        #expect(failure.code == kind.rawValue)
        #expect(failure.detail.contains("Stock"))
        #expect(failure.declineCode == nil)
    }

    @Test("a refusal's code, explanation and reason become the failure's")
    func refusal() {
        #expect(
            Failure(.declined)
                == Failure(
                    kind: .refused, code: "payment-declined", detail: "The payment was declined.",
                    declineCode: "card_declined"))
    }
}

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

    static let all: [Transition] = reserving + charging + completing + releasing + refunding

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
        let refused = Failure(.insufficientStock)
        let unreachable = stockFailed(.unavailable, .unreachable)
        let timedOut = stockFailed(.timedOut, .timedOut)
        let repeated = Expected(.repeatLater, .reserving)
        return both(.reserving, .reserved(.succeeded(goods), mayCharge: true), charge)
            + rows(
                .reserving, .reserved(.succeeded(goods), mayCharge: false),
                fresh: (.call(.release), .releasing(.deadline, thenRefund: false)), resumed: charge)
            + [false, true].flatMap { mayCharge in
                rows(
                    .reserving, .reserved(.refused(.insufficientStock), mayCharge: mayCharge),
                    fresh: (.end, .failed(refused)), resumed: (.call(.refund), .refunding(refused)))
                    + rows(
                        .reserving, .reserved(.notExecuted(.unreachable), mayCharge: mayCharge),
                        fresh: (.end, .failed(unreachable)), resumed: repeated)
                    + rows(
                        .reserving, .reserved(.unknown(.timedOut), mayCharge: mayCharge),
                        fresh: (.call(.release), .releasing(timedOut, thenRefund: false)), resumed: repeated)
            }
    }

    private static var charging: [Transition] {
        let step = Saga.Step.charging(goods)
        return both(step, .charged(.succeeded(Done())), (.call(.complete), .completing(goods)))
            + both(
                step, .charged(.refused(.insufficientStock)),
                (.call(.release), .releasing(Failure(.insufficientStock), thenRefund: false)))
            + rows(
                step, .charged(.notExecuted(.unreachable)),
                fresh: (
                    .call(.release), .releasing(paymentFailed(.unavailable, .unreachable), thenRefund: false)
                ), resumed: (.repeatLater, step))
            + both(step, .charged(.unknown(.timedOut)), (.repeatLater, step))
    }

    private static var completing: [Transition] {
        let step = Saga.Step.completing(goods)
        return both(step, .completed(.succeeded(Done())), (.end, .completed(goods)))
            + both(
                step, .completed(.refused(.insufficientStock)),
                (.call(.release), .releasing(.reservationLost, thenRefund: true)))
            + both(step, .completed(.notExecuted(.unreachable)), (.repeatLater, step))
            + both(step, .completed(.unknown(.timedOut)), (.repeatLater, step))
    }

    private static var releasing: [Transition] {
        [false, true].flatMap { thenRefund in
            let step = Saga.Step.releasing(failure, thenRefund: thenRefund)
            return both(
                step, .released(.succeeded(Done())),
                thenRefund ? (.call(.refund), .refunding(failure)) : (.end, .failed(failure)))
                + both(step, .released(.refused(.insufficientStock)), (.repeatLater, step))
                + both(step, .released(.notExecuted(.unreachable)), (.repeatLater, step))
                + both(step, .released(.unknown(.timedOut)), (.repeatLater, step))
        }
    }

    private static var refunding: [Transition] {
        let step = Saga.Step.refunding(failure)
        return both(step, .refunded(.succeeded(Done())), (.end, .failed(failure)))
            + both(step, .refunded(.refused(.insufficientStock)), (.repeatLater, step))
            + both(step, .refunded(.notExecuted(.unreachable)), (.repeatLater, step))
            + both(step, .refunded(.unknown(.timedOut)), (.repeatLater, step))
    }
}

extension OrderPlan {
    static let sample = OrderPlan(
        orderID: "order", reservationID: "reservation", chargeID: "charge", refundID: "refund", user: "ada",
        lines: [LineRequest(itemID: 1, quantity: 2), LineRequest(itemID: 7, quantity: 1)], method: nil)
}

extension ReservedGoods {
    static let sample = FakeShop.goods(OrderPlan.sample.lines)
}

extension Failure {
    static let sample = Failure(kind: .refused, code: "payment-declined", detail: "No.", declineCode: "card_declined")
}

extension Saga.Step {
    /// One of each.
    static let samples: [Saga.Step] = [
        .reserving, .charging(.sample), .completing(.sample), .releasing(.sample, thenRefund: false),
        .releasing(.sample, thenRefund: true), .refunding(.sample), .completed(.sample), .failed(.sample),
    ]

    var thenRefund: Bool {
        if case .releasing(_, thenRefund: true) = self { true } else { false }
    }

    /// Whether an event is the outcome of the step's call.
    func awaits(_ event: Saga.Event) -> Bool {
        switch (self, event) {
        case (.reserving, .reserved), (.charging, .charged), (.completing, .completed), (.releasing, .released),
            (.refunding, .refunded):
            true
        default: false
        }
    }
}

extension Saga.Event {
    /// One of each.
    static let samples: [Saga.Event] =
        [false, true].flatMap { mayCharge in
            [
                Outcome.succeeded(ReservedGoods.sample), .refused(.insufficientStock), .notExecuted(.unreachable),
                .unknown(.timedOut),
            ].map { .reserved($0, mayCharge: mayCharge) }
        }
        + outcomes.map { .charged($0) } + outcomes.map { .completed($0) } + outcomes.map { .released($0) }
        + outcomes.map { .refunded($0) }

    private static let outcomes: [Outcome<Done>] = [
        .succeeded(Done()), .refused(.insufficientStock), .notExecuted(.unreachable), .unknown(.timedOut),
    ]
}
