import Correlation
import Synchronization
import Tracing

/// A span on its way to the collector.
struct FinishedSpan: Sendable {
    let trace: TraceContext
    let kind: SpanKind
    /// Nanoseconds since 1970.
    let start: UInt64
    /// The same, never before `start`.
    let end: UInt64
    let content: SpanContent
}

/// What is said of a span while it runs. Everything in it is bounded, as the standard has it (`OTEL_SPAN_*_COUNT_LIMIT`), and what
/// is too much is counted.
struct SpanContent: Sendable {
    /// The most attributes of a span, events of a span, and links of a span.
    static let maximum = 128

    var name: String
    var attributes: SpanAttributes = [:]
    var events: [SpanEvent] = []
    var links: [SpanLink] = []
    var status: SpanStatus?
    var droppedAttributes = 0
    var droppedEvents = 0
    var droppedLinks = 0

    mutating func set(_ attributes: SpanAttributes) {
        guard attributes.count > Self.maximum else { return self.attributes = attributes }
        var kept: SpanAttributes = [:]
        // Those that were there stay, with what they are now.
        attributes.forEach { name, value in
            if self.attributes.get(name) != nil { kept.set(name, value: value) }
        }
        attributes.forEach { name, value in
            if kept.count < Self.maximum { kept.set(name, value: value) }
        }
        droppedAttributes += attributes.count - kept.count
        self.attributes = kept
    }

    mutating func add(_ event: SpanEvent) {
        guard events.count < Self.maximum else { return droppedEvents += 1 }
        events.append(event)
    }

    mutating func add(_ link: SpanLink) {
        guard links.count < Self.maximum else { return droppedLinks += 1 }
        links.append(link)
    }
}

/// A span that is recorded: it is queued for the collector when it ends, and does not change after that. One whose trace is not
/// recorded takes everything and keeps nothing.
public final class OTLPSpan: Span {
    /// Which span it is.
    public let trace: TraceContext
    public let context: InstrumentationContext
    private let kind: SpanKind
    private let start: UInt64
    private let queue: SpanQueue?
    /// Nil when it has ended.
    private let content: Mutex<SpanContent?>

    init(
        _ name: String, _ trace: TraceContext, _ kind: SpanKind, in context: InstrumentationContext, start: UInt64,
        queue: SpanQueue?
    ) {
        self.trace = trace
        self.kind = kind
        self.context = context
        self.start = start
        self.queue = queue
        content = Mutex(queue == nil ? nil : SpanContent(name: name))
    }

    public var isRecording: Bool { content.withLock { $0 != nil } }

    public var operationName: String {
        get { content.withLock { $0?.name ?? "" } }
        set { content.withLock { $0?.name = newValue } }
    }

    public var attributes: SpanAttributes {
        get { content.withLock { $0?.attributes ?? [:] } }
        set { content.withLock { $0?.set(newValue) } }
    }

    public func setStatus(_ status: SpanStatus) { content.withLock { $0?.status = status } }

    public func addEvent(_ event: SpanEvent) { content.withLock { $0?.add(event) } }

    public func addLink(_ link: SpanLink) { content.withLock { $0?.add(link) } }

    /// The event `exception` of the semantic conventions.
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        var attributes = attributes
        attributes["exception.type"] = String(reflecting: type(of: error))
        attributes["exception.message"] = String(describing: error)
        addEvent(SpanEvent(name: "exception", at: instant(), attributes: attributes))
    }

    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        guard let queue else { return }
        let finished = content.withLock { content in
            defer { content = nil }
            return content
        }
        guard let finished else { return }
        // The clock on the wall may have been set back.
        let end = max(start, instant().nanosecondsSinceEpoch)
        queue.append(FinishedSpan(trace: trace, kind: kind, start: start, end: end, content: finished))
    }
}
