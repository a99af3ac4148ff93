/// Eight bytes of a text, looked at in one step: most of JSON is runs of characters that mean nothing special. The arithmetic is
/// that of "Determine if a word has a byte less than n" in Bit Twiddling Hacks (https://graphics.stanford.edu/~seander/bithacks.html).
struct EightBytes {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highBits: UInt64 = 0x8080_8080_8080_8080

    let word: UInt64

    /// The bytes from an offset on. - Parameter text: at least eight bytes longer than the offset.
    init(_ text: UnsafeBufferPointer<UInt8>, at offset: Int) {
        word = UnsafeRawBufferPointer(text).loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// Whether a byte is a control character below 0x20.
    var haveControl: Bool { (word &- Self.ones &* 0x20) & ~word & Self.highBits != 0 }

    /// Whether one of them is this byte.
    func have(_ byte: UInt8) -> Bool {
        let difference = word ^ Self.ones &* UInt64(byte)
        return (difference &- Self.ones) & ~difference & Self.highBits != 0
    }

    /// Whether one of them is written as an escape in a JSON string: a control character, DEL, a quote or a backslash.
    var needEscapes: Bool {
        let quote = word ^ Self.ones &* 0x22
        let backslash = word ^ Self.ones &* 0x5C
        let delete = word ^ Self.ones &* 0x7F
        let found =
            (word &- Self.ones &* 0x20) & ~word | (quote &- Self.ones) & ~quote
            | (backslash &- Self.ones) & ~backslash | (delete &- Self.ones) & ~delete
        return found & Self.highBits != 0
    }

    /// Whether all of them are ASCII.
    var areASCII: Bool { word & Self.highBits == 0 }
}
