/// Reads exactly one JSON value (RFC 8259) from bytes.
///
/// Strict: UTF-8 only and without a byte order mark, no trailing bytes, no lone surrogates, at most 16 levels deep. The
/// caller bounds the length.
public struct JSONParser {
    /// How deep arrays and objects may nest. No message of the contract needs more than five levels.
    public static let maximumDepth = 16

    private let bytes: UnsafeBufferPointer<UInt8>
    private var index = 0

    /// The value that the bytes hold. - Throws: `JSONSyntaxError`.
    public static func parse(_ bytes: some Sequence<UInt8>) throws(JSONSyntaxError) -> JSONValue {
        func parse(_ buffer: UnsafeBufferPointer<UInt8>) -> Result<JSONValue, JSONSyntaxError> {
            var parser = JSONParser(bytes: buffer)
            return Result { () throws(JSONSyntaxError) in try parser.document() }
        }
        let result =
            bytes.withContiguousStorageIfAvailable(parse) ?? ContiguousArray(bytes).withUnsafeBufferPointer(parse)
        return try result.get()
    }

    private init(bytes: UnsafeBufferPointer<UInt8>) {
        self.bytes = bytes
    }

    private func failure(_ reason: String) -> JSONSyntaxError { JSONSyntaxError(offset: index, reason: reason) }

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func document() throws(JSONSyntaxError) -> JSONValue {
        let value = try value(depth: 0)
        skipWhitespace()
        guard index == bytes.count else { throw failure("more text after the value") }
        return value
    }

    private mutating func skipWhitespace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func value(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        skipWhitespace()
        if current == UInt8(ascii: "{") || current == UInt8(ascii: "[") {
            guard depth < Self.maximumDepth else { throw failure("nested too deeply") }
        }
        switch current {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case nil: throw failure("the text ends where a value is expected")
        default: return try number()
        }
    }

    private mutating func word(_ text: StaticString, _ value: JSONValue) throws(JSONSyntaxError) -> JSONValue {
        for offset in 0..<text.utf8CodeUnitCount {
            guard current == text.utf8Start[offset] else { throw failure("not a JSON value") }
            index += 1
        }
        return value
    }

    private mutating func object(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        index += 1
        skipWhitespace()
        if current == UInt8(ascii: "}") {
            index += 1
            return .object([])
        }
        var members: [JSONValue.Member] = []
        // Most objects have a handful; growing to that by doubling would cost three allocations.
        members.reserveCapacity(8)
        while true {
            skipWhitespace()
            guard current == UInt8(ascii: "\"") else { throw failure("a member needs a name in double quotes") }
            let name = try string()
            skipWhitespace()
            guard current == UInt8(ascii: ":") else { throw failure("a colon must follow the name of a member") }
            index += 1
            members.append(JSONValue.Member(name, try value(depth: depth + 1)))
            skipWhitespace()
            switch current {
            case UInt8(ascii: ","): index += 1
            case UInt8(ascii: "}"):
                index += 1
                return .object(members)
            default: throw failure("a comma or a closing brace must follow a member")
            }
        }
    }

    private mutating func array(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        index += 1
        var elements: [JSONValue] = []
        skipWhitespace()
        if current == UInt8(ascii: "]") {
            index += 1
            return .array(elements)
        }
        while true {
            elements.append(try value(depth: depth + 1))
            skipWhitespace()
            switch current {
            case UInt8(ascii: ","): index += 1
            case UInt8(ascii: "]"):
                index += 1
                return .array(elements)
            default: throw failure("a comma or a closing bracket must follow an element")
            }
        }
    }

    private mutating func number() throws(JSONSyntaxError) -> JSONValue {
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
        return .number(String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<index]), as: UTF8.self))
    }

    private mutating func string() throws(JSONSyntaxError) -> String {
        index += 1
        var text = try run()
        while current == UInt8(ascii: "\\") {
            index += 1
            text.unicodeScalars.append(try escape())
            text += try run()
        }
        guard current == UInt8(ascii: "\"") else { throw failure("the text ends inside a string") }
        index += 1
        return text
    }

    /// What a string holds up to its end, or its next escape.
    private mutating func run() throws(JSONSyntaxError) -> String {
        let start = index
        var allBits: UInt8 = 0
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            guard byte >= 0x20 else { throw failure("a control character in a string must be escaped") }
            allBits |= byte
            index += 1
        }
        let run = bytes[start..<index]
        // Nearly every string is ASCII, which is valid UTF-8; the standard library's validation is generic, and costs more than
        // the rest of a string.
        if allBits < 0x80 { return String(decoding: UnsafeBufferPointer(rebasing: run), as: UTF8.self) }
        guard let text = String(validating: run, as: UTF8.self) else { throw failure("a string is not valid UTF-8") }
        return text
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
