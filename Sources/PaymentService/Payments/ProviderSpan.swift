import Correlation
import ProviderAPI
import ServiceClient
import Tracing

/// The span of one asking of a provider, in a trace of its own that points to the request by which the payment was made: that
/// request has long been answered.
struct ProviderSpan {
    private let span: any Span

    /// Nil when the trace is not recorded.
    init?(_ traces: Traces, _ call: ProviderCall, _ payment: Payment, as trace: TraceContext) {
        guard let span = traces.start("\(payment.provider.rawValue) \(call.name)", as: trace, ofKind: .client) else {
            return nil
        }
        self.span = span
        if let origin = payment.origin?.trace { span.link(to: origin) }
        span.updateAttributes { attributes in
            attributes["peer.service"] = payment.provider.rawValue
            attributes["checkout.payment_id"] = payment.id
            if let origin = payment.origin { attributes["checkout.request_id"] = origin.requestID }
            if payment.task.rounds > 1 { attributes["http.request.resend_count"] = Int(payment.task.rounds - 1) }
        }
    }

    func end(_ reply: ProviderReply) {
        span.updateAttributes { $0["checkout.provider.answer"] = reply.name }
        switch reply {
        case .succeeded, .pending, .declined, .canceled, .notFound, .refused, .throttled: span.end()
        case .notSent(let trouble), .unknown(let trouble, _): span.fail(trouble.rawValue)
        case .contradicted(let how): span.fail("contradicted", how)
        }
    }
}
