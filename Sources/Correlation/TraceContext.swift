/// The position in a distributed trace, as the `traceparent` header of W3C Trace Context carries it (OP-04).
public struct TraceContext: Hashable, Sendable {
    /// 32 lower-case hexadecimal digits, not all zero.
    public let traceID: String
    /// 16 lower-case hexadecimal digits, not all zero: the span of this process.
    public let spanID: String
    /// Whether the caller records this trace.
    public let isSampled: Bool

    /// Continues the trace that a header names with a span of its own; begins a new trace when the header is missing or
    /// not valid.
    public init(continuing header: String?, random: () -> UInt64 = { RandomPool.next() }) {
        if let header, let (traceID, isSampled) = Self.parse(header) {
            self.init(traceID: traceID, isSampled: isSampled, random: random)
        } else {
            self.init(traceID: hexadecimalText(random() | 1, random()), isSampled: true, random: random)
        }
    }

    private init(traceID: String, isSampled: Bool, random: () -> UInt64) {
        self.traceID = traceID
        self.isSampled = isSampled
        spanID = hexadecimalText(random() | 1)
    }

    /// A span under this one, in the same trace.
    public func child(random: () -> UInt64 = { RandomPool.next() }) -> TraceContext {
        TraceContext(traceID: traceID, isSampled: isSampled, random: random)
    }

    /// The header that names this span as the parent.
    public var header: String { "00-\(traceID)-\(spanID)-\(isSampled ? "01" : "00")" }

    /// Version 00 is exactly 55 characters; a later version may be longer, with a dash after those (W3C, section 3.2.2).
    private static func parse(_ header: String) -> (traceID: String, isSampled: Bool)? {
        var header = header
        return header.withUTF8 { bytes in
            guard bytes.count >= 55, bytes[2] == dash, bytes[35] == dash, bytes[52] == dash else { return nil }
            let version = bytes[0..<2]
            let traceID = bytes[3..<35]
            let parentID = bytes[36..<52]
            let flags = bytes[53..<55]
            for field in [version, traceID, parentID, flags] where !field.allSatisfy(isLowerHexadecimal) { return nil }
            guard !version.elementsEqual("ff".utf8) else { return nil }
            let mayBeLonger = !version.elementsEqual("00".utf8)
            guard bytes.count == 55 || mayBeLonger && bytes[55] == dash else { return nil }
            guard traceID.contains(where: { $0 != zero }), parentID.contains(where: { $0 != zero }) else { return nil }
            let isSampled = UInt8(String(decoding: flags, as: UTF8.self), radix: 16).map { $0 & 1 == 1 } ?? false
            return (String(decoding: traceID, as: UTF8.self), isSampled)
        }
    }

    private static let dash = UInt8(ascii: "-")
    private static let zero = UInt8(ascii: "0")

    private static func isLowerHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }
}
