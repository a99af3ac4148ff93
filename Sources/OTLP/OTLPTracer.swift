import Correlation
import Tracing

/// Makes spans and queues those that have ended for `SpanExporter`. Nothing in it waits for the collector: what the queue cannot
/// hold is dropped and counted.
public final class OTLPTracer: Tracer {
    private static let traceparent = "traceparent"

    private let queue: SpanQueue
    private let sampler: Sampler

    init(queue: SpanQueue, sampler: Sampler) {
        self.queue = queue
        self.sampler = sampler
    }

    /// Starts a span: the one that its context says is to be, else one under the context's span, else the first of a new trace.
    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> OTLPSpan {
        var context = context()
        let trace = context.spanToBe ?? context.trace?.child() ?? TraceContext(continuing: nil, sampler: sampler)
        context.spanToBe = nil
        context.trace = trace
        return OTLPSpan(
            operationName, trace, kind, in: context, start: instant().nanosecondsSinceEpoch,
            queue: trace.isSampled ? queue : nil)
    }

    /// Has what is queued exported without waiting for more.
    public func forceFlush() { queue.hurry() }

    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        guard let header = extractor.extract(key: Self.traceparent, from: carrier),
            let trace = TraceContext(of: header)
        else { return }
        context.trace = trace
    }

    public func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        guard let trace = context.trace else { return }
        injector.inject(trace.header, forKey: Self.traceparent, into: &carrier)
    }
}
