import Resilience

/// Makes identifiers that no two effects share: UUIDs of version 7 (RFC 9562), which sort by the time they were made.
///
/// Made before the effect they name and stored with its intent (DESIGN.md, rule 2). Sorting by time lets an index grow at
/// its end, and lists orders newest first without a second index column.
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
            var end = 0
            for position in 0..<32 {
                if position == 8 || position == 12 || position == 16 || position == 20 {
                    text[end] = UInt8(ascii: "-")
                    end += 1
                }
                let half = position < 16 ? high : low
                text[end] = hexadecimalDigit(half, at: position & 15)
                end += 1
            }
            return end
        }
    }
}

extension IdentifierSource {
    /// Whether a text has the form of an identifier: 36 lower-case hexadecimal digits and dashes, as in `next`.
    public static func isIdentifier(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.count == 36
            && bytes.enumerated().allSatisfy { position, byte in
                switch position {
                case 8, 13, 18, 23: byte == UInt8(ascii: "-")
                default: (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
                }
            }
    }
}

/// The hexadecimal digits of numbers, 16 each, as text.
func hexadecimalText(_ values: UInt64...) -> String {
    String(unsafeUninitializedCapacity: 16 * values.count) { text in
        for position in 0..<16 * values.count {
            text[position] = hexadecimalDigit(values[position / 16], at: position & 15)
        }
        return 16 * values.count
    }
}

/// One digit of a number as ASCII, counted from the left of 16.
private func hexadecimalDigit(_ value: UInt64, at position: Int) -> UInt8 {
    let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * position)) & 15
    return digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
}
