/// Reads exactly one JSON value (RFC 8259) from bytes.
///
/// Strict: UTF-8 only and without a byte order mark, no trailing bytes, no lone surrogates, at most 16 levels deep. The
/// caller bounds the length.
public struct JSONParser {
    /// How deep arrays and objects may nest. No message of the contract needs more than five levels.
    public static let maximumDepth = 16

    private let bytes: UnsafeBufferPointer<UInt8>
    private var index = 0
    private var tokens: [JSONToken] = []

    /// The value that the bytes hold. - Throws: `JSONSyntaxError`.
    public static func parse(_ bytes: some Sequence<UInt8>) throws(JSONSyntaxError) -> JSONNode {
        let bytes = Array(bytes)
        let result = bytes.withUnsafeBufferPointer { buffer in
            var parser = JSONParser(bytes: buffer)
            return Result { () throws(JSONSyntaxError) in try parser.document() }
        }
        return JSONNode(JSONText(bytes, try result.get()))
    }

    private init(bytes: UnsafeBufferPointer<UInt8>) {
        self.bytes = bytes
    }

    private func failure(_ reason: String) -> JSONSyntaxError { JSONSyntaxError(offset: index, reason: reason) }

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func document() throws(JSONSyntaxError) -> [JSONToken] {
        // The tokens hold places as 32 bits.
        guard bytes.count <= Int32.max else { throw failure("the text is too long") }
        // A message of ours has a token for each 10 to 20 bytes.
        tokens.reserveCapacity(bytes.count / 16 + 4)
        try value(depth: 0)
        skipWhitespace()
        guard index == bytes.count else { throw failure("more text after the value") }
        return tokens
    }

    /// Adds a value that begins at a place and ends before the next byte.
    private mutating func add(_ kind: JSONToken.Kind, from start: Int) {
        tokens.append(
            JSONToken(
                kind: kind, start: UInt32(truncatingIfNeeded: start), end: UInt32(truncatingIfNeeded: index),
                next: UInt32(truncatingIfNeeded: tokens.count + 1)))
    }

    /// Ends the array or object that was added under a number.
    private mutating func end(_ number: Int) {
        index += 1
        tokens[number].end = UInt32(truncatingIfNeeded: index)
        tokens[number].next = UInt32(truncatingIfNeeded: tokens.count)
    }

    private mutating func skipWhitespace() {
        while let byte = current, byte <= 0x20, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            index += 1
        }
    }

    private mutating func value(depth: Int) throws(JSONSyntaxError) {
        skipWhitespace()
        if current == UInt8(ascii: "{") || current == UInt8(ascii: "[") {
            guard depth < Self.maximumDepth else { throw failure("nested too deeply") }
        }
        switch current {
        case UInt8(ascii: "{"): try object(depth: depth)
        case UInt8(ascii: "["): try array(depth: depth)
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try word("true", .true)
        case UInt8(ascii: "f"): try word("false", .false)
        case UInt8(ascii: "n"): try word("null", .null)
        case nil: throw failure("the text ends where a value is expected")
        default: try number()
        }
    }

    private mutating func word(_ text: StaticString, _ kind: JSONToken.Kind) throws(JSONSyntaxError) {
        let start = index
        for offset in 0..<text.utf8CodeUnitCount {
            guard current == text.utf8Start[offset] else { throw failure("not a JSON value") }
            index += 1
        }
        add(kind, from: start)
    }

    private mutating func object(depth: Int) throws(JSONSyntaxError) {
        let number = tokens.count
        add(.object, from: index)
        index += 1
        skipWhitespace()
        if current == UInt8(ascii: "}") { return end(number) }
        while true {
            skipWhitespace()
            guard current == UInt8(ascii: "\"") else { throw failure("a member needs a name in double quotes") }
            try string()
            skipWhitespace()
            guard current == UInt8(ascii: ":") else { throw failure("a colon must follow the name of a member") }
            index += 1
            try value(depth: depth + 1)
            skipWhitespace()
            switch current {
            case UInt8(ascii: ","): index += 1
            case UInt8(ascii: "}"): return end(number)
            default: throw failure("a comma or a closing brace must follow a member")
            }
        }
    }

    private mutating func array(depth: Int) throws(JSONSyntaxError) {
        let number = tokens.count
        add(.array, from: index)
        index += 1
        skipWhitespace()
        if current == UInt8(ascii: "]") { return end(number) }
        while true {
            try value(depth: depth + 1)
            skipWhitespace()
            switch current {
            case UInt8(ascii: ","): index += 1
            case UInt8(ascii: "]"): return end(number)
            default: throw failure("a comma or a closing bracket must follow an element")
            }
        }
    }

    private mutating func number() throws(JSONSyntaxError) {
        let start = index
        func isDigit(_ byte: UInt8?) -> Bool { byte.map { (0x30...0x39).contains($0) } ?? false }

        if current == UInt8(ascii: "-") { index += 1 }
        guard isDigit(current) else { throw failure("not a JSON value") }
        if current == UInt8(ascii: "0") {
            index += 1
        } else {
            while isDigit(current) { index += 1 }
        }
        if current == UInt8(ascii: ".") {
            index += 1
            guard isDigit(current) else { throw failure("a digit must follow the decimal point") }
            while isDigit(current) { index += 1 }
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            index += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { index += 1 }
            guard isDigit(current) else { throw failure("a digit must follow the exponent mark") }
            while isDigit(current) { index += 1 }
        }
        add(.number, from: start)
    }

    private mutating func string() throws(JSONSyntaxError) {
        index += 1
        let start = index
        try run()
        var isEscaped = false
        while current == UInt8(ascii: "\\") {
            isEscaped = true
            index += 1
            _ = try escape()
            try run()
        }
        guard current == UInt8(ascii: "\"") else { throw failure("the text ends inside a string") }
        add(.string, from: start)
        if isEscaped { tokens[tokens.count - 1].isEscaped = true }
        index += 1
    }

    /// What a string with escapes stands for. - Parameter token: of the same bytes, which were read without a fault.
    static func unescaped(_ bytes: UnsafeBufferPointer<UInt8>, _ token: JSONToken) -> String {
        var text = ""
        var parser = JSONParser(bytes: bytes)
        parser.index = Int(token.start)
        while parser.index < token.end {
            if parser.current == UInt8(ascii: "\\") {
                parser.index += 1
                guard let scalar = try? parser.escape() else { break }
                text.unicodeScalars.append(scalar)
            } else {
                let start = parser.index
                guard (try? parser.run()) != nil else { break }
                text += String(decoding: bytes[start..<parser.index], as: UTF8.self)
            }
        }
        return text
    }

    /// Reads a string up to its end, or its next escape.
    private mutating func run() throws(JSONSyntaxError) {
        let start = index
        var isASCII = true
        while index + 8 <= bytes.count {
            let eight = EightBytes(bytes, at: index)
            let plain = eight.plainInString
            isASCII = isASCII && eight.areASCII(first: plain)
            index += plain
            if plain < 8 { break }
        }
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            guard byte >= 0x20 else { throw failure("a control character in a string must be escaped") }
            isASCII = isASCII && byte < 0x80
            index += 1
        }
        // Nearly every string is ASCII, which is valid UTF-8; the standard library's validation is generic, and costs more than
        // the rest of a string.
        if !isASCII, String(validating: bytes[start..<index], as: UTF8.self) == nil {
            throw failure("a string is not valid UTF-8")
        }
    }

    private mutating func escape() throws(JSONSyntaxError) -> Unicode.Scalar {
        defer { index += 1 }
        switch current {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let unit = try hexadecimalUnit()
            if UTF16.isLeadSurrogate(unit) {
                guard index + 2 < bytes.count, bytes[index + 1] == UInt8(ascii: "\\"),
                    bytes[index + 2] == UInt8(ascii: "u")
                else { throw failure("half of a surrogate pair") }
                index += 2
                let trail = try hexadecimalUnit()
                guard UTF16.isTrailSurrogate(trail) else { throw failure("half of a surrogate pair") }
                let high = UInt32(unit - 0xD800) << 10
                let scalar = Unicode.Scalar(0x10000 + high + UInt32(trail - 0xDC00))
                guard let scalar else { throw failure("half of a surrogate pair") }
                return scalar
            }
            guard let scalar = Unicode.Scalar(UInt32(unit)) else { throw failure("half of a surrogate pair") }
            return scalar
        default: throw failure("an unknown escape in a string")
        }
    }

    /// Reads the four digits after `\u`; leaves the index on the last of them.
    private mutating func hexadecimalUnit() throws(JSONSyntaxError) -> UInt16 {
        guard index + 4 < bytes.count else { throw failure("the text ends inside an escape") }
        var unit: UInt16 = 0
        for _ in 0..<4 {
            index += 1
            switch bytes[index] {
            case 0x30...0x39: unit = unit << 4 | UInt16(bytes[index] - 0x30)
            case 0x41...0x46: unit = unit << 4 | UInt16(bytes[index] - 0x41 + 10)
            case 0x61...0x66: unit = unit << 4 | UInt16(bytes[index] - 0x61 + 10)
            default: throw failure("an escape needs four hexadecimal digits")
            }
        }
        return unit
    }
}
