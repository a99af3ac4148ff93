/// The whole number that a decimal's text stands for once it is multiplied by ten to the power of `exponent`, exactly.
///
/// `20.00` with exponent 2 is 2000. Digits are counted as written: `20.000` with exponent 2 has too many, although its
/// value would fit, because a third digit shows that the sender means something else than cents.
///
/// - Parameters:
///   - decimal: a number in JSON's syntax: an optional minus, digits, an optional fraction, an optional power of ten.
///   - exponent: how many digits after the point the result keeps, 0 to 18.
/// - Throws: `MoneyError.notANumber`, `.tooManyDigits`, `.overflow`.
func scaledInteger(decimal: some StringProtocol, exponent: Int) throws(MoneyError) -> Int64 {
    var bytes = decimal.utf8.makeIterator()
    var byte = bytes.next()

    func isDigit(_ byte: UInt8?) -> Bool { byte.map { (0x30...0x39).contains($0) } ?? false }

    let isNegative = byte == UInt8(ascii: "-")
    if isNegative { byte = bytes.next() }

    var digits: [UInt8] = []
    guard isDigit(byte) else { throw .notANumber }
    while let digit = byte, isDigit(digit) {
        digits.append(digit - 0x30)
        byte = bytes.next()
    }
    guard digits.count == 1 || digits[0] != 0 else { throw .notANumber }
    var fractionDigits = 0
    if byte == UInt8(ascii: ".") {
        byte = bytes.next()
        guard isDigit(byte) else { throw .notANumber }
        while let digit = byte, isDigit(digit) {
            digits.append(digit - 0x30)
            fractionDigits += 1
            byte = bytes.next()
        }
    }
    var power = 0
    if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
        byte = bytes.next()
        let powerIsNegative = byte == UInt8(ascii: "-")
        if powerIsNegative || byte == UInt8(ascii: "+") { byte = bytes.next() }
        guard isDigit(byte) else { throw .notANumber }
        while let digit = byte, isDigit(digit) {
            // A power past this bound overflows or has too many digits, whatever else was written, unless it is zero.
            power = min(power * 10 + Int(digit - 0x30), 10_000)
            byte = bytes.next()
        }
        if powerIsNegative { power = -power }
    }
    guard byte == nil else { throw .notANumber }

    guard fractionDigits - power <= exponent else { throw .tooManyDigits }
    guard digits.contains(where: { $0 != 0 }) else { return 0 }

    // Negative from the start: the magnitude of Int64.min is one larger than that of Int64.max.
    var result: Int64 = 0
    func append(_ digit: UInt8) throws(MoneyError) {
        let (shifted, tooLarge) = result.multipliedReportingOverflow(by: 10)
        let (sum, overflow) = shifted.subtractingReportingOverflow(Int64(digit))
        guard !tooLarge, !overflow else { throw .overflow }
        result = sum
    }
    for digit in digits { try append(digit) }
    for _ in 0..<(exponent - (fractionDigits - power)) { try append(0) }
    if isNegative { return result }
    let (positive, overflow) = Int64(0).subtractingReportingOverflow(result)
    guard !overflow else { throw .overflow }
    return positive
}
