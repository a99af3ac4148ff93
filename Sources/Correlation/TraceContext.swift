/// The position in a distributed trace, as the `traceparent` header of W3C Trace Context carries it (OP-04).
///
/// Kept as numbers, because it travels with every call and is written as text far less often.
public struct TraceContext: Hashable, Sendable {
    private let traceHigh: UInt64
    private let traceLow: UInt64
    private let span: UInt64
    /// The span above this one as a number; zero when there is none.
    private let parent: UInt64
    /// Whether this trace is recorded.
    public let isSampled: Bool

    /// 32 lower-case hexadecimal digits, not all zero.
    public var traceID: String { asciiText(Self.traceIDLength, putTraceID) }
    /// How many bytes a trace's id has as a text.
    public static let traceIDLength = 32
    /// Writes the text of `traceID`.
    public func putTraceID(into text: UnsafeMutableBufferPointer<UInt8>) {
        text.putHexadecimal(traceHigh, at: 0)
        text.putHexadecimal(traceLow, at: 16)
    }
    /// 16 lower-case hexadecimal digits, not all zero: the span of this process.
    public var spanID: String { asciiText(Self.spanIDLength, putSpanID) }
    /// How many bytes a span's id has as a text.
    public static let spanIDLength = 16
    /// Writes the text of `spanID`.
    public func putSpanID(into text: UnsafeMutableBufferPointer<UInt8>) {
        text.putHexadecimal(span, at: 0)
    }

    /// Continues the trace that a header names with a span of its own; begins a new trace when the header is missing or
    /// not valid.
    ///
    /// - Parameter sampler: says whether the trace is recorded; without one the caller's word is passed on, and a new trace may
    ///   be recorded by whoever can.
    public init(
        continuing header: String?, sampler: Sampler? = nil, random: () -> UInt64 = { RandomPool.next() }
    ) {
        if let header, let parsed = Self.parse(header) {
            let isSampled = sampler?.records(parsed.traceLow, parentIsSampled: parsed.isSampled) ?? parsed.isSampled
            self.init(parsed.traceHigh, parsed.traceLow, span: random() | 1, parent: parsed.span, isSampled)
        } else {
            let (high, low) = (random() | 1, random())
            let isSampled = sampler?.records(low, parentIsSampled: nil) ?? true
            self.init(high, low, span: random() | 1, parent: 0, isSampled)
        }
    }

    /// The very span that a header names; nil when the header is not valid.
    public init?(of header: String) {
        guard let parsed = Self.parse(header) else { return nil }
        self.init(parsed.traceHigh, parsed.traceLow, span: parsed.span, parent: 0, parsed.isSampled)
    }

    private init(_ traceHigh: UInt64, _ traceLow: UInt64, span: UInt64, parent: UInt64, _ isSampled: Bool) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.parent = parent
        self.isSampled = isSampled
    }

    /// A span under this one, in the same trace.
    public func child() -> TraceContext {
        TraceContext(traceHigh, traceLow, span: RandomPool.next() | 1, parent: span, isSampled)
    }

    /// The first span of another trace, which is recorded if this one is.
    public func newTrace() -> TraceContext {
        TraceContext(
            RandomPool.next() | 1, RandomPool.next(), span: RandomPool.next() | 1, parent: 0, isSampled)
    }

    /// The numbers behind the texts, for a form that has no use for texts. Of a trace the high half comes first; a parent of
    /// zero is none.
    public var numbers: (traceHigh: UInt64, traceLow: UInt64, span: UInt64, parent: UInt64) {
        (traceHigh, traceLow, span, parent)
    }

    /// The header that names this span as the parent.
    public var header: String {
        String(unsafeUninitializedCapacity: 55) { text in
            text.putHexadecimal(0, digits: 2, at: 0)
            text[2] = Self.dash
            text.putHexadecimal(traceHigh, at: 3)
            text.putHexadecimal(traceLow, at: 19)
            text[35] = Self.dash
            text.putHexadecimal(span, at: 36)
            text[52] = Self.dash
            text.putHexadecimal(isSampled ? 1 : 0, digits: 2, at: 53)
            return 55
        }
    }

    /// Version 00 is exactly 55 characters; a later version may be longer, with a dash after those (W3C, section 3.2.2).
    private static func parse(
        _ header: String
    ) -> (traceHigh: UInt64, traceLow: UInt64, span: UInt64, isSampled: Bool)? {
        var header = header
        return header.withUTF8 { bytes in
            guard bytes.count >= 55, bytes[2] == dash, bytes[35] == dash, bytes[52] == dash else { return nil }
            guard let version = number(bytes[0..<2]), let traceHigh = number(bytes[3..<19]),
                let traceLow = number(bytes[19..<35]), let span = number(bytes[36..<52]),
                let flags = number(bytes[53..<55])
            else { return nil }
            guard version != 0xFF else { return nil }
            guard bytes.count == 55 || version != 0 && bytes[55] == dash else { return nil }
            guard traceHigh | traceLow != 0, span != 0 else { return nil }
            return (traceHigh, traceLow, span, flags & 1 == 1)
        }
    }

    private static let dash = UInt8(ascii: "-")

    /// The number that at most 16 lower-case hexadecimal digits say.
    private static func number(_ digits: Slice<UnsafeBufferPointer<UInt8>>) -> UInt64? {
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case 0x30...0x39: number = number << 4 | UInt64(digit - 0x30)
            case 0x61...0x66: number = number << 4 | UInt64(digit - 0x61 + 10)
            default: return nil
            }
        }
        return number
    }
}
