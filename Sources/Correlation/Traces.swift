import Tracing

/// Records spans, by the API of swift-distributed-tracing, in the traces that a sampler chooses (OP-04).
///
/// The identity of a span is made before the span (`TraceContext`), because it stands in the log and travels with calls whether or
/// not anybody records it. So what is not recorded costs no more than a look at a flag.
public struct Traces: Sendable {
    /// What records.
    public let tracer: any Tracer
    /// What it records.
    public let sampler: Sampler

    /// Traces. - Parameter tracer: one that gives a span the identity that its context carries as `spanToBe`.
    public init(_ tracer: any Tracer, sampler: Sampler) {
        self.tracer = tracer
        self.sampler = sampler
    }

    /// Starts the span that `trace` names; nil when its trace is not recorded.
    public func start(_ name: String, as trace: TraceContext, ofKind kind: SpanKind = .internal) -> (any Span)? {
        guard trace.isSampled else { return nil }
        var context = InstrumentationContext.topLevel
        context.spanToBe = trace
        return tracer.startSpan(name, context: context, ofKind: kind)
    }
}

extension InstrumentationContext {
    private enum TraceKey: InstrumentationContextKey { typealias Value = TraceContext }
    private enum SpanToBeKey: InstrumentationContextKey { typealias Value = TraceContext }

    /// The span that work in this context belongs to.
    public var trace: TraceContext? {
        get { self[TraceKey.self] }
        set { self[TraceKey.self] = newValue }
    }

    /// The identity for the span that is about to be started in this context; without it the span gets a new one under `trace`.
    public var spanToBe: TraceContext? {
        get { self[SpanToBeKey.self] }
        set { self[SpanToBeKey.self] = newValue }
    }

    /// A context in a span.
    public init(in trace: TraceContext) {
        self = .topLevel
        self.trace = trace
    }
}

extension Span {
    /// Points to a span in another trace, or elsewhere in this one.
    public func link(to trace: TraceContext) {
        addLink(SpanLink(context: InstrumentationContext(in: trace), attributes: [:]))
    }

    /// Ends the span as one that did not do what it was for.
    ///
    /// - Parameter type: `error.type` of the semantic conventions: one of few words, or a status.
    public func fail(_ type: String, _ message: String? = nil) {
        updateAttributes { $0["error.type"] = type }
        setStatus(SpanStatus(code: .error, message: message))
        end()
    }
}
