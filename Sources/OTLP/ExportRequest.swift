import Correlation
import Tracing

/// The body of `POST /v1/traces`: an `ExportTraceServiceRequest` of OTLP 1.x. The numbers are those of the fields in
/// opentelemetry/proto/trace/v1/trace.proto, common/v1/common.proto and resource/v1/resource.proto.
enum ExportRequest {
    /// - Parameters:
    ///   - resource: what is true of every span of this process.
    ///   - scope: the name and version of what makes the spans.
    static func write(
        _ spans: [FinishedSpan], resource: [(name: String, value: String)], scope: (name: String, version: String)
    ) -> [UInt8] {
        var request = ProtobufWriter()
        request.message(1) { resourceSpans in
            resourceSpans.message(1) { message in
                for attribute in resource { write(attribute.name, .string(attribute.value), 1, to: &message) }
            }
            resourceSpans.message(2) { scopeSpans in
                scopeSpans.message(1) { message in
                    message.string(1, scope.name)
                    message.string(2, scope.version)
                }
                for span in spans { scopeSpans.message(2) { write(span, to: &$0) } }
            }
        }
        return request.bytes
    }

    private static func write(_ span: FinishedSpan, to message: inout ProtobufWriter) {
        let ids = span.trace.numbers
        message.identifier(1, ids.traceHigh, ids.traceLow)
        message.identifier(2, ids.span)
        message.identifier(4, ids.parent)
        message.string(5, span.content.name)
        message.unsigned(6, span.kind.number)
        message.fixed64(7, span.start)
        message.fixed64(8, span.end)
        write(span.content.attributes, 9, to: &message)
        message.unsigned(10, UInt64(span.content.droppedAttributes))
        for event in span.content.events {
            message.message(11) { message in
                message.fixed64(1, event.nanosecondsSinceEpoch)
                message.string(2, event.name)
                write(event.attributes, 3, to: &message)
            }
        }
        message.unsigned(12, UInt64(span.content.droppedEvents))
        for link in span.content.links {
            guard let linked = link.context.trace else { continue }
            let ids = linked.numbers
            message.message(13) { message in
                message.identifier(1, ids.traceHigh, ids.traceLow)
                message.identifier(2, ids.span)
                write(link.attributes, 4, to: &message)
                message.fixed32(6, linked.flags)
            }
        }
        message.unsigned(14, UInt64(span.content.droppedLinks))
        if let status = span.content.status {
            message.message(15) { message in
                message.string(2, status.message ?? "")
                message.unsigned(3, status.code == .ok ? 1 : 2)
            }
        }
        message.fixed32(16, span.trace.flags)
    }

    /// In the order of their names, so that equal spans are equal bytes.
    private static func write(_ attributes: SpanAttributes, _ field: Int, to message: inout ProtobufWriter) {
        var list: [(name: String, value: SpanAttribute)] = []
        attributes.forEach { list.append(($0, $1)) }
        for (name, value) in list.sorted(by: { $0.name < $1.name }) { write(name, value, field, to: &message) }
    }

    private static func write(
        _ name: String, _ value: SpanAttribute, _ field: Int, to message: inout ProtobufWriter
    ) {
        message.message(field) { pair in
            pair.string(1, name)
            pair.message(2) { write(value, to: &$0) }
        }
    }

    /// An `AnyValue`.
    private static func write(_ value: SpanAttribute, to message: inout ProtobufWriter) {
        switch value {
        case .int32(let number): message.choice(3, integer: Int64(number))
        case .int64(let number): message.choice(3, integer: number)
        case .double(let number): message.choice(4, double: number)
        case .bool(let flag): message.choice(2, bool: flag)
        case .string(let text): message.choice(1, string: text)
        case .stringConvertible(let value): message.choice(1, string: "\(value)")
        case .int32Array(let values): write(values.map { .int32($0) }, to: &message)
        case .int64Array(let values): write(values.map { .int64($0) }, to: &message)
        case .doubleArray(let values): write(values.map { .double($0) }, to: &message)
        case .boolArray(let values): write(values.map { .bool($0) }, to: &message)
        case .stringArray(let values): write(values.map { .string($0) }, to: &message)
        case .stringConvertibleArray(let values): write(values.map { .string("\($0)") }, to: &message)
        // Cases that a later version of the library may have.
        default: message.choice(1, string: "\(value)")
        }
    }

    private static func write(_ values: [SpanAttribute], to message: inout ProtobufWriter) {
        message.message(5) { array in
            for value in values { array.message(1) { write(value, to: &$0) } }
        }
    }
}

/// What a collector answers to spans that it has taken: an `ExportTraceServiceResponse`.
enum ExportReply {
    /// How many of the spans it has refused all the same (field 1 of field 1); 0 for an answer that cannot be read, since they
    /// were taken.
    static func rejectedSpans(_ body: [UInt8]) -> Int {
        var reader = ProtobufReader(body[...])
        guard case .bytes(let partialSuccess)? = reader.value(of: 1) else { return 0 }
        var inner = ProtobufReader(partialSuccess)
        guard case .number(let count)? = inner.value(of: 1) else { return 0 }
        return Int(clamping: count)
    }
}

/// Reads the fields of one message, in so far as they are numbers or bytes.
struct ProtobufReader {
    private var rest: ArraySlice<UInt8>

    enum Value: Equatable {
        case number(UInt64)
        case bytes(ArraySlice<UInt8>)
    }

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// The first value of a field from here on; nil when there is none, or the bytes are no message.
    mutating func value(of wanted: UInt64) -> Value? {
        while let key = varint() {
            let value: Value
            switch key & 7 {
            case 0:
                guard let number = varint() else { return nil }
                value = .number(number)
            case 1, 5:
                let width = key & 7 == 1 ? 8 : 4
                guard rest.count >= width else { return nil }
                value = .number(rest.prefix(width).reversed().reduce(0) { $0 << 8 | UInt64($1) })
                rest = rest.dropFirst(width)
            case 2:
                guard let length = varint(), length <= UInt64(rest.count) else { return nil }
                value = .bytes(rest.prefix(Int(length)))
                rest = rest.dropFirst(Int(length))
            default: return nil
            }
            if key >> 3 == wanted { return value }
        }
        return nil
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }
}

extension SpanKind {
    /// The number of the protocol's enumeration.
    fileprivate var number: UInt64 {
        switch self {
        case .internal: 1
        case .server: 2
        case .client: 3
        case .producer: 4
        case .consumer: 5
        }
    }
}

extension TraceContext {
    /// The flags of W3C Trace Context.
    fileprivate var flags: UInt32 { isSampled ? 1 : 0 }
}
