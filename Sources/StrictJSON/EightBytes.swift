/// Eight bytes of a text, looked at in one step: most of JSON is runs of characters that mean nothing special. The arithmetic is
/// that of "Determine if a word has a byte less than n" in Bit Twiddling Hacks (https://graphics.stanford.edu/~seander/bithacks.html).
struct EightBytes {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highBits: UInt64 = 0x8080_8080_8080_8080
    private static let spaces: UInt64 = 0x2020_2020_2020_2020

    let word: UInt64

    /// The bytes from an offset on. - Parameter text: at least eight bytes longer than the offset.
    init(_ text: UnsafeBufferPointer<UInt8>, at offset: Int) {
        word = UnsafeRawBufferPointer(text).loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// The last bytes of a text, with spaces behind them. - Parameter offset: one to seven bytes before the end.
    init(_ text: UnsafeBufferPointer<UInt8>, lastFrom offset: Int) {
        let count = text.count - offset
        let bytes: UInt64
        if text.count >= 8 {
            bytes = Self(text, at: text.count - 8).word >> UInt64(64 - 8 * count)
        } else {
            bytes = (offset..<text.count).reversed().reduce(0) { bytes, index in bytes << 8 | UInt64(text[index]) }
        }
        word = bytes | Self.spaces << UInt64(8 * count)
    }

    /// How many of them come before the first that means something in a JSON string: a quote, a backslash, or a control character, which
    /// may not be there; 8 if there is none. What the arithmetic finds wrongly is always behind what it finds rightly.
    var plainInString: Int {
        let quote = word ^ Self.ones &* 0x22
        let backslash = word ^ Self.ones &* 0x5C
        let found =
            (word &- Self.spaces) & ~word | (quote &- Self.ones) & ~quote | (backslash &- Self.ones) & ~backslash
        return (found & Self.highBits).trailingZeroBitCount / 8
    }

    /// Whether one of them is written as an escape in a JSON string: a control character, DEL, a quote or a backslash.
    var needEscapes: Bool {
        let quote = word ^ Self.ones &* 0x22
        let backslash = word ^ Self.ones &* 0x5C
        let delete = word ^ Self.ones &* 0x7F
        let found =
            (word &- Self.spaces) & ~word | (quote &- Self.ones) & ~quote
            | (backslash &- Self.ones) & ~backslash | (delete &- Self.ones) & ~delete
        return found & Self.highBits != 0
    }

    /// Whether the first so many of them, up to eight, are ASCII.
    func areASCII(first count: Int) -> Bool { (word & Self.highBits).trailingZeroBitCount >= 8 * count }
}
