import Resilience

/// Makes identifiers that no two effects share: UUIDs of version 7 (RFC 9562), which sort by the time they were made.
///
/// Made before the effect they name and stored with its intent (docs/design.md, rule 2). Sorting by time lets an index
/// grow at its end, and lists orders newest first without a second index column.
public struct IdentifierSource: Sendable {
    private let time: any TimeSource
    private let random: @Sendable () -> UInt64

    /// A source. - Parameters: time: gives the first 48 bits. random: gives the rest; must be unpredictable outside tests.
    public init(
        time: any TimeSource,
        random: @escaping @Sendable () -> UInt64 = { RandomPool.next() }
    ) {
        self.time = time
        self.random = random
    }

    /// A new identifier: 36 characters, lower case.
    public func next() -> String {
        let milliseconds = UInt64(bitPattern: time.now.milliseconds) & 0xFFFF_FFFF_FFFF
        let high = milliseconds << 16 | 0x7000 | (random() & 0x0FFF)
        let low = 0x8000_0000_0000_0000 | (random() & 0x3FFF_FFFF_FFFF_FFFF)
        return String(unsafeUninitializedCapacity: 36) { text in
            text.putHexadecimal(high >> 32, digits: 8, at: 0)
            text.putHexadecimal(high >> 16, digits: 4, at: 9)
            text.putHexadecimal(high, digits: 4, at: 14)
            text.putHexadecimal(low >> 48, digits: 4, at: 19)
            text.putHexadecimal(low, digits: 12, at: 24)
            text[8] = UInt8(ascii: "-")
            text[13] = UInt8(ascii: "-")
            text[18] = UInt8(ascii: "-")
            text[23] = UInt8(ascii: "-")
            return 36
        }
    }
}

extension IdentifierSource {
    /// What identifiers look like, as a regular expression.
    public static let pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"

    /// Whether a text has the form of an identifier as `next` makes them: a UUID of version 7, in lower case.
    public static func isIdentifier(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.count == 36
            && bytes.enumerated().allSatisfy { position, byte in
                switch position {
                case 8, 13, 18, 23: byte == UInt8(ascii: "-")
                case 14: byte == UInt8(ascii: "7")
                case 19: "89ab".utf8.contains(byte)
                default: (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
                }
            }
    }
}
