/// A text of so many bytes of ASCII, all of which `fill` writes.
func asciiText(_ length: Int, _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Void) -> String {
    String(unsafeUninitializedCapacity: length) { text in
        fill(text)
        return length
    }
}

/// The 32 hexadecimal digits of a number in two halves.
func hexadecimalText(_ high: UInt64, _ low: UInt64) -> String {
    asciiText(32) { text in
        text.putHexadecimal(high, at: 0)
        text.putHexadecimal(low, at: 16)
    }
}

extension UnsafeMutableBufferPointer<UInt8> {
    /// Puts the last digits of a number into a text, in lower case.
    func putHexadecimal(_ value: UInt64, digits: Int = 16, at start: Int) {
        var rest = value
        for position in (start..<start + digits).reversed() {
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            self[position] = digit + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
            rest >>= 4
        }
    }
}
