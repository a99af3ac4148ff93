/// Writes the binary form of protocol buffers: as much of it as OTLP's traces need (decision 20).
///
/// As in every proto3 writer a field with its default value, zero or empty, is left out.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    private enum WireType: UInt64 {
        case varint = 0
        case fixed64 = 1
        case lengthDelimited = 2
        case fixed32 = 5
    }

    mutating func unsigned(_ field: Int, _ value: UInt64) {
        guard value != 0 else { return }
        key(field, .varint)
        varint(value)
    }

    mutating func fixed64(_ field: Int, _ value: UInt64) {
        guard value != 0 else { return }
        key(field, .fixed64)
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func fixed32(_ field: Int, _ value: UInt32) {
        guard value != 0 else { return }
        key(field, .fixed32)
        for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func string(_ field: Int, _ value: String) {
        guard !value.isEmpty else { return }
        blob(field, value.utf8)
    }

    /// Numbers whose bytes, the highest first, make an identifier; nothing when all are zero.
    mutating func identifier(_ field: Int, _ numbers: UInt64...) {
        guard numbers.contains(where: { $0 != 0 }) else { return }
        key(field, .lengthDelimited)
        varint(UInt64(numbers.count) * 8)
        for number in numbers {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: number >> shift))
            }
        }
    }

    /// A message inside this one, written also when it is empty: its presence may say something.
    mutating func message(_ field: Int, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        blob(field, inner.bytes)
    }

    // MARK: - Members of a oneof, of which also a default value says something

    mutating func choice(_ field: Int, string value: String) { blob(field, value.utf8) }

    mutating func choice(_ field: Int, integer value: Int64) {
        key(field, .varint)
        varint(UInt64(bitPattern: value))
    }

    mutating func choice(_ field: Int, bool value: Bool) { choice(field, integer: value ? 1 : 0) }

    mutating func choice(_ field: Int, double value: Double) {
        key(field, .fixed64)
        let pattern = value.bitPattern
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: pattern >> shift))
        }
    }

    // MARK: - Parts

    private mutating func blob(_ field: Int, _ content: some Collection<UInt8>) {
        key(field, .lengthDelimited)
        varint(UInt64(content.count))
        bytes.append(contentsOf: content)
    }

    private mutating func key(_ field: Int, _ type: WireType) {
        varint(UInt64(field) << 3 | type.rawValue)
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
