import Correlation
import ServiceClient
import Tracing

/// The span of one step of a saga: all attempts of its call, and what came of them. The attempts are spans under it.
struct RoundSpan {
    /// The context of the step's calls.
    let context: CallContext
    private let span: any Span

    /// Nil when the saga's trace is not recorded.
    init?(_ traces: Traces, _ call: Saga.Call, of saga: Saga, _ context: CallContext) {
        guard context.trace.isSampled else { return nil }
        let trace = context.trace.child()
        guard let span = traces.start("saga \(call.name)", as: trace) else { return nil }
        self.span = span
        self.context = context.with(trace: trace)
        span.updateAttributes { attributes in
            attributes["checkout.order_id"] = saga.plan.orderID
            attributes["checkout.saga.step"] = saga.step.name
        }
    }

    func end(_ event: Saga.Event) {
        span.updateAttributes { $0["checkout.saga.event"] = event.description }
        // A refusal is an answer. What needs asking again is not.
        if event.isTrouble { span.fail("no_definite_answer", event.description) } else { span.end() }
    }
}

extension Saga.Call {
    /// What the other service is asked to do.
    var name: String {
        switch self {
        case .reserve: "reserve"
        case .charge: "charge"
        case .complete: "complete"
        case .release: "release"
        case .refund: "refund"
        }
    }
}
