/// The name under which one request is found in the logs of every service it passes (NX-04). Never an identity of an
/// effect: a client may send any value, also one it sent before (hazard 27).
public struct RequestID: Hashable, Sendable, CustomStringConvertible {
    /// 1 to 128 letters, digits, dots, underscores and dashes.
    public let value: String

    /// The client's id if it is well-formed.
    public init?(_ value: String) {
        guard (1...128).contains(value.utf8.count) else { return nil }
        var text = value
        guard text.withUTF8({ $0.allSatisfy(Self.isAllowed) }) else { return nil }
        self.value = value
    }

    /// A new id.
    public init(random: () -> UInt64 = { RandomPool.next() }) {
        value = hexadecimalText(random(), random())
    }

    public var description: String { value }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }
}
