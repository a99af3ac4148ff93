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
            case .releasing, .canceling, .refunding, .completed, .failed: false
            }
        #expect(saga.mustBeStored == !goesForward)
    }

    @Test("the table of transitions has every outcome of every step, fresh and resumed")
    func completeness() {
        let pairs = Set(Transition.all.map { "\($0.step) \($0.event) \($0.isResumed)" })
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

    // MARK: - An operator's word

    @Test(
        "an operator turns back what still goes forward or waits for its goods, and nothing else; the goods come before the money"
    )
    func withdraw() {
        for step in Saga.Step.samples {
            var saga = Saga(.sample, step: step, isResumed: true)
            let next = saga.withdraw()
            switch step {
            case .reserving, .charging, .completing:
                #expect(next == .call(.release))
                #expect(saga.step == .releasing(.withdrawn, then: .withdraw))
                #expect(saga.mustBeStored)
                #expect(saga.certainFailure == nil)
            case .releasing(_, .nothing), .releasing(_, .cancel), .releasing(_, .refund):
                #expect(next == .call(.release))
                #expect(saga.step == .releasing(.withdrawn, then: .abandon))
                #expect(saga.mustBeStored)
                #expect(saga.certainFailure == nil)
            case .releasing(_, .withdraw), .releasing(_, .abandon), .canceling, .refunding, .completed, .failed:
                #expect(next == nil)
                #expect(saga.step == step)
            }
        }
    }

    @Test("what was withdrawn after its goods had left goes forward; any other refusal is waited out")
    func withdrawnTooLate() {
        var saga = Saga(.sample, step: .releasing(.withdrawn, then: .withdraw), isResumed: true)
        #expect(saga.apply(.released(.refused(.itemNotFound))) == .repeatLater)
        guard case .call(.reserve) = saga.apply(.released(.refused(.conflict))) else {
            Issue.record("it does not go forward, but is \(saga.step)")
            return
        }
        #expect(saga.step == .reserving)
        var other = Saga(.sample, step: .releasing(.sample, then: .refund), isResumed: true)
        #expect(other.apply(.released(.refused(.conflict))) == .repeatLater)
    }

    @Test("an order whose goods the operator does not wait for gives its money back, whether they come back or not")
    func abandoned() {
        for outcome in [Outcome.succeeded(Done()), .refused(.conflict)] {
            for isResumed in [false, true] {
                var saga = Saga(.sample, step: .releasing(.withdrawn, then: .abandon), isResumed: isResumed)
                #expect(saga.apply(.released(outcome)) == .call(.refund))
                #expect(saga.step == .refunding(.withdrawn))
            }
        }
        var unknown = Saga(.sample, step: .releasing(.withdrawn, then: .abandon), isResumed: true)
        #expect(unknown.apply(.released(.refused(.itemNotFound))) == .repeatLater)
        #expect(unknown.apply(.released(.unknown(.timedOut))) == .repeatLater)
    }

    @Test(
        "goods that somebody else has taken out of the stock do not keep an order from failing that has no money to give back",
        arguments: [Saga.ChargeUndo.nothing, .cancel, .refund])
    func goodsGone(_ undo: Saga.ChargeUndo) {
        for isResumed in [false, true] {
            var saga = Saga(.sample, step: .releasing(.sample, then: undo), isResumed: isResumed)
            let before = saga.step
            let next = saga.apply(.released(.refused(.conflict)))
            switch (undo, isResumed) {
            case (.nothing, false): #expect(next == .end && saga.step == .failed(.sample))
            case (.cancel, false): #expect(next == .call(.refund) && saga.step == .canceling(.sample))
            // The money may have been taken for these goods.
            default: #expect(next == .repeatLater && saga.step == before)
            }
        }
    }

    // MARK: - Calls

    @Test("a saga begins by reserving its lines under its own reservation id")
    func beginning() {
        let saga = Saga(.sample)
        #expect(saga.step == .reserving)
        #expect(!saga.isResumed)
        #expect(
            saga.call
                == .reserve(
                    ReserveCommand(reservationID: "reservation", lines: OrderPlan.sample.lines, holdSeconds: 900)))
    }

    @Test("each step waits for its own call, and an end for none")
    func calls() {
        func call(_ step: Saga.Step) -> Saga.Call? { Saga(.sample, step: step, isResumed: false).call }
        #expect(call(.charging(.sample)) == .charge(ReservedGoods.sample.total))
        #expect(call(.completing(.sample)) == .complete)
        for undo in Saga.ChargeUndo.samples { #expect(call(.releasing(.sample, then: undo)) == .release) }
        #expect(call(.canceling(.sample)) == .refund)
        #expect(call(.refunding(.sample)) == .refund)
        #expect(call(.completed(.sample)) == nil)
        #expect(call(.failed(.sample)) == nil)
    }

    // MARK: - What one transition cannot show

    @Test(
        "only a charge that was declined is known to have left nothing under its id; after any other refusal it is refunded",
        arguments: [
            ("payment-declined", Saga.ChargeUndo.nothing), ("charge-state-conflict", .refund),
            ("idempotency-key-reused", .refund), ("validation-failed", .refund),
        ])
    func refusedCharges(_ code: String, _ undo: Saga.ChargeUndo) {
        for isResumed in [false, true] {
            var saga = Saga(.sample, step: .charging(.sample), isResumed: isResumed)
            let refusal = Refusal(code: code, detail: "No.")
            #expect(saga.apply(.charged(.refused(refusal))) == .call(.release))
            #expect(saga.step == .releasing(Failure(refusal), then: undo))
        }
    }

    @Test("a refund of what is another user's charge is at an end: nothing of this order's lies under the id")
    func chargeOfAnother() {
        let notFound = Refusal(code: "charge-not-found", detail: "There is no such charge.")
        for step in [Saga.Step.refunding(.sample), .canceling(.sample)] {
            var saga = Saga(.sample, step: step, isResumed: true)
            #expect(saga.apply(.refunded(.refused(notFound))) == .end)
            #expect(saga.step == .failed(.sample))
        }
    }

    @Test("a saga that is taken up again goes on where it was, but asks for its charge again (hazard 50)")
    func resuming() {
        for step in Saga.Step.samples {
            let saga = Saga(resuming: .sample, at: step)
            #expect(saga.isResumed)
            if case .completing(let goods) = step {
                #expect(saga.step == .charging(goods))
            } else {
                #expect(saga.step == step)
            }
        }
    }

    @Test("after a round of the charge with an unknown outcome, a round known not to have run proves nothing")
    func notExecutedAfterUnknown() {
        var saga = Saga(.sample, step: .charging(.sample), isResumed: false)

        #expect(saga.apply(.charged(.unknown(.timedOut))) == .repeatLater)
        #expect(saga.apply(.charged(.notExecuted(.unavailable))) == .repeatLater)
        #expect(saga.apply(.charged(.notSent(.unreachable))) == .repeatLater)
        #expect(saga.step == .charging(.sample))
        #expect(saga.apply(.charged(.refused(.declined))) == .call(.release))
        #expect(saga.step == .releasing(Failure(.declined), then: .nothing))
    }

    @Test("that the provider is not available ends a checkout whose charge was in doubt, and its id is canceled")
    func providerUnavailableAfterUnknown() {
        var saga = Saga(.sample, step: .charging(.sample), isResumed: false)

        #expect(saga.apply(.charged(.unknown(.timedOut))) == .repeatLater)
        #expect(saga.apply(.charged(.notExecuted(.providerUnavailable))) == .call(.release))
        #expect(saga.step == .releasing(Failure(.providerUnavailable, of: "Payment"), then: .cancel))
        #expect(saga.apply(.released(.succeeded(Done()))) == .call(.refund))
    }

    @Test("a resumed saga waits for the provider, because another process may have asked for more than this one knows")
    func providerUnavailableWhenResumed() {
        var saga = Saga(.sample, step: .charging(.sample), isResumed: true)
        #expect(saga.apply(.charged(.notExecuted(.providerUnavailable))) == .repeatLater)
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

    @Test("only a reserve and a charge that no process can have begun may fail at once (hazard 35)")
    func failingFast() {
        for step in Saga.Step.samples {
            let (fresh, resumed) = (
                Saga(.sample, step: step, isResumed: false), Saga(.sample, step: step, isResumed: true)
            )
            let isAtBeginning =
                switch step {
                case .reserving, .charging: true
                case .completing, .releasing, .canceling, .refunding, .completed, .failed: false
                }
            #expect(fresh.mayFailFast == isAtBeginning)
            #expect(!resumed.mayFailFast)
        }
        var saga = Saga(.sample, step: .charging(.sample), isResumed: false)
        _ = saga.apply(.charged(.unknown(.timedOut)))
        #expect(!saga.mayFailFast)
    }

    @Test("a failure is certain once no money can have been taken by what has begun, and not before")
    func certainFailures() {
        for step in Saga.Step.samples {
            let saga = Saga(.sample, step: step, isResumed: false)
            switch step {
            case .releasing(_, then: .nothing), .releasing(_, then: .cancel), .canceling, .failed:
                #expect(saga.certainFailure == .sample)
            case .reserving, .charging, .completing, .releasing(_, then: .refund), .releasing(_, then: .withdraw),
                .releasing(_, then: .abandon), .refunding, .completed:
                #expect(saga.certainFailure == nil)
            }
        }
    }

    @Test("a step that was not begun for want of time is not blamed on the service that was not asked (INV-10)")
    func notAsked() {
        #expect(Failure.notSent(.timedOut, to: "Payment") == .deadline)
        #expect(Failure.notSent(.unreachable, to: "Payment") == Failure(.unreachable, of: "Payment"))
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
