import Correlation
import ServiceKit
import Synchronization
import Tracing

/// A tracer that keeps the spans that have ended.
public final class RecordingTracer: Tracer {
    /// A span that has ended.
    public struct Recorded: Sendable {
        public let name: String
        public let kind: SpanKind
        public let trace: TraceContext
        public let attributes: SpanAttributes
        public let status: SpanStatus?
        public let links: [TraceContext]

        /// Whether it is directly under another one.
        public func isUnder(_ other: Recorded) -> Bool { isUnder(other.trace) }

        /// Whether it is directly under a span.
        public func isUnder(_ other: TraceContext) -> Bool {
            trace.numbers.parent == other.numbers.span && trace.traceID == other.traceID
        }
    }

    private let recorded = Mutex<[Recorded]>([])

    /// A tracer that has recorded nothing.
    public init() {}

    /// The spans so far, in the order of their ends.
    public var spans: [Recorded] { recorded.withLock { $0 } }

    /// Those with a name.
    public func spans(_ name: String) -> [Recorded] { spans.filter { $0.name == name } }

    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> RunningSpan {
        var context = context()
        let trace = context.spanToBe ?? context.trace?.child() ?? TraceContext(continuing: nil)
        context.spanToBe = nil
        context.trace = trace
        return RunningSpan(operationName, kind, trace, context) { span in self.recorded.withLock { $0.append(span) } }
    }

    public func forceFlush() {}
    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {}
    public func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {}

    /// A span under way.
    public final class RunningSpan: Tracing.Span {
        private struct State {
            var name: String
            var attributes: SpanAttributes = [:]
            var status: SpanStatus?
            var links: [TraceContext] = []
        }

        public let context: InstrumentationContext
        private let kind: SpanKind
        private let trace: TraceContext
        private let state: Mutex<State>
        private let record: @Sendable (Recorded) -> Void

        init(
            _ name: String, _ kind: SpanKind, _ trace: TraceContext, _ context: InstrumentationContext,
            _ record: @escaping @Sendable (Recorded) -> Void
        ) {
            self.kind = kind
            self.trace = trace
            self.context = context
            self.record = record
            state = Mutex(State(name: name))
        }

        public var isRecording: Bool { true }
        public var operationName: String {
            get { state.withLock { $0.name } }
            set { state.withLock { $0.name = newValue } }
        }
        public var attributes: SpanAttributes {
            get { state.withLock { $0.attributes } }
            set { state.withLock { $0.attributes = newValue } }
        }
        public func setStatus(_ status: SpanStatus) { state.withLock { $0.status = status } }
        public func addEvent(_ event: SpanEvent) {}
        public func addLink(_ link: SpanLink) {
            guard let trace = link.context.trace else { return }
            state.withLock { $0.links.append(trace) }
        }
        public func recordError<Instant: TracerInstant>(
            _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
        ) {}
        public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
            let state = state.withLock { $0 }
            record(
                Recorded(
                    name: state.name, kind: kind, trace: trace, attributes: state.attributes, status: state.status,
                    links: state.links))
        }
    }
}

extension TestEnvironment {
    /// The same environment with somebody who records its spans.
    public func environment(
        recording tracer: RecordingTracer, sampler: Sampler = .parentBasedAlwaysOn
    ) -> ServiceEnvironment {
        ServiceEnvironment(
            store: store, keys: environment.keys, time: time, sleeper: sleeper, identifiers: environment.identifiers,
            logger: environment.logger, traces: Traces(tracer, sampler: sampler))
    }
}
