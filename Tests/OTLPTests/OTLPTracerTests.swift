import Correlation
import Prometheus
import Testing
import Tracing

@testable import OTLP

@Suite("OTLP tracer")
struct OTLPTracerTests {
    private let registry = PrometheusRegistry([SpanCounters.family])
    private let trace = TraceContext(continuing: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

    private func queue(capacity: Int = 100, batchSize: Int = 10) -> SpanQueue {
        SpanQueue(capacity: capacity, batchSize: batchSize, counters: SpanCounters(registry))
    }

    private func context(_ set: (inout InstrumentationContext) -> Void) -> InstrumentationContext {
        var context = InstrumentationContext.topLevel
        set(&context)
        return context
    }

    private func dropped(_ result: String) -> String? {
        registry.text.split(separator: "\n").map(String.init)
            .first { $0.hasPrefix(#"otlp_spans_total{result="\#(result)"} "#) }
            .flatMap { $0.split(separator: " ").last.map(String.init) }
    }

    @Test("a span has the identity that was made for it, or is under the span of its context, or begins a trace")
    func identities() throws {
        let tracer = OTLPTracer(queue: queue(), sampler: .parentBasedAlwaysOn)
        let given = tracer.startSpan("a", context: context { $0.spanToBe = trace })
        #expect(given.trace == trace)
        #expect(given.context.trace == trace)
        let under = tracer.startSpan("b", context: given.context)
        #expect(under.trace.traceID == trace.traceID)
        #expect(under.trace.numbers.parent == trace.numbers.span)
        let first = tracer.startSpan("c", context: .topLevel)
        #expect(first.trace.traceID != trace.traceID)
        #expect(first.trace.numbers.parent == 0)
    }

    @Test("a span is queued once, when it ends, with what was said of it until then")
    func ends() throws {
        let queue = queue()
        let span = OTLPTracer(queue: queue, sampler: .parentBasedAlwaysOn)
            .startSpan(
                "first name", context: context { $0.spanToBe = trace }, ofKind: .client,
                at: DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: 1000))
        span.operationName = "POST /reserve"
        span.attributes["http.request.method"] = "POST"
        span.setStatus(SpanStatus(code: .error, message: "409"))
        span.link(to: trace.newTrace())
        span.recordError(CancellationError())
        #expect(queue.count == 0)
        span.end(at: DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: 3000))
        span.attributes["late"] = 1
        span.end()
        let finished = try #require(queue.take().first)
        #expect(queue.count == 0)
        #expect(!span.isRecording)
        #expect((finished.start, finished.end) == (1000, 3000))
        #expect(finished.kind == .client)
        #expect(finished.content.name == "POST /reserve")
        #expect(finished.content.attributes == ["http.request.method": "POST"])
        #expect(finished.content.status == SpanStatus(code: .error, message: "409"))
        #expect(finished.content.links.count == 1)
        #expect(finished.content.events.map(\.name) == ["exception"])
    }

    @Test("a span does not end before it has begun, whatever becomes of the clock")
    func clock() throws {
        let queue = queue()
        let span = OTLPTracer(queue: queue, sampler: .parentBasedAlwaysOn)
            .startSpan(
                "a", context: .topLevel, at: DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: 5000))
        span.end(at: DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: 2000))
        #expect(queue.take().map(\.end) == [5000])
    }

    @Test("what a span holds is bounded, and what is too much is counted")
    func bounds() throws {
        let queue = queue()
        let span = OTLPTracer(queue: queue, sampler: .parentBasedAlwaysOn).startSpan("a", context: .topLevel)
        for number in 0..<130 {
            span.attributes["a\(number)"] = number
            span.addEvent(SpanEvent(name: "e"))
            span.link(to: trace)
        }
        span.attributes["a0"] = "changed"
        span.end()
        let content = try #require(queue.take().first).content
        #expect(content.attributes.count == 128)
        #expect(content.attributes.get("a0") == .string("changed"))
        #expect(content.events.count == 128)
        #expect(content.links.count == 128)
        #expect((content.droppedAttributes, content.droppedEvents, content.droppedLinks) == (2, 2, 2))
    }

    @Test("a span whose trace is not recorded keeps nothing and is not queued")
    func unsampled() {
        let queue = queue()
        let tracer = OTLPTracer(queue: queue, sampler: Sampler(share: 0, followsParent: true))
        let span = tracer.startSpan("a", context: .topLevel)
        span.attributes["a"] = 1
        span.end()
        #expect(!span.isRecording)
        #expect(!span.trace.isSampled)
        #expect(queue.count == 0)
        #expect(Traces(tracer, sampler: Sampler(share: 0, followsParent: true)).start("b", as: span.trace) == nil)
    }

    @Test("a full queue drops what comes and counts it; a closed one as well")
    func full() {
        let queue = queue(capacity: 3, batchSize: 2)
        let tracer = OTLPTracer(queue: queue, sampler: .parentBasedAlwaysOn)
        for number in 0..<5 { tracer.startSpan("\(number)", context: .topLevel).end() }
        #expect(queue.count == 3)
        #expect(dropped("queue_full") == "2")
        #expect(queue.take().map(\.content.name) == ["0", "1"])
        queue.close()
        tracer.startSpan("late", context: .topLevel).end()
        queue.putBack([])
        #expect(dropped("unsent") == "2")
        #expect(queue.count == 0)
    }

    // MARK: - What travels

    private struct Carrier: Injector, Extractor {
        func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) { carrier[key] = value }
        func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
    }

    @Test("a context travels as traceparent")
    func propagation() {
        let tracer = OTLPTracer(queue: queue(), sampler: .parentBasedAlwaysOn)
        var headers: [String: String] = [:]
        tracer.inject(InstrumentationContext(in: trace), into: &headers, using: Carrier())
        #expect(headers == ["traceparent": trace.header])
        var context = InstrumentationContext.topLevel
        tracer.extract(headers, into: &context, using: Carrier())
        #expect(context.trace?.header == trace.header)
        var none = InstrumentationContext.topLevel
        tracer.extract(["traceparent": "garbage"], into: &none, using: Carrier())
        #expect(none.trace == nil)
    }
}
