/// Writes JSON text member by member, in the order given, so that equal values have equal bytes (IK-11).
///
/// The text grows in memory of its own and not in an array, which for every byte would look whether it is shared: a checkout
/// writes some 300 names and values.
public struct JSONWriter: ~Copyable {
    /// Room behind everything that is written: the last bytes of a string are stored as eight.
    private static let slack = 8

    /// How many bytes have been written.
    public private(set) var count = 0
    private var start: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    private var needsComma = false

    /// An empty text with room for a common message.
    public init(capacity: Int = 512) {
        self.capacity = capacity + Self.slack
        start = .allocate(capacity: self.capacity)
    }

    deinit { start.deallocate() }

    /// What has been written.
    public var bytes: [UInt8] { Array(UnsafeBufferPointer(start: start, count: count)) }

    /// The bytes of one value. - Parameter write: writes that value.
    public static func bytes(_ write: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        write(&writer)
        return writer.bytes
    }

    /// An object. - Parameter members: writes the members.
    public mutating func object(_ members: (inout JSONWriter) -> Void) {
        open(UInt8(ascii: "{"))
        members(&self)
        close(UInt8(ascii: "}"))
    }

    /// An array. - Parameter elements: writes the elements.
    public mutating func array(_ elements: (inout JSONWriter) -> Void) {
        open(UInt8(ascii: "["))
        elements(&self)
        close(UInt8(ascii: "]"))
    }

    /// The name of the member whose value is written next. Names that stand in the code need no escapes and are not looked through:
    /// a checkout writes more than a hundred.
    public mutating func name(_ name: StaticString) {
        reserve(name.utf8CodeUnitCount + 4)
        putComma()
        put(UInt8(ascii: "\""))
        put(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        put(UInt8(ascii: "\""))
        put(UInt8(ascii: ":"))
        needsComma = false
    }

    /// The name of the member whose value is written next, whatever is in it.
    public mutating func name(escaping name: String) {
        string(name)
        append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// A member that is a string, by a name that may have anything in it.
    public mutating func string(escaping name: String, _ value: String) {
        self.name(escaping: name)
        string(value)
    }

    /// A member that is a whole number, by a name that may have anything in it.
    public mutating func integer(escaping name: String, _ value: Int64) {
        self.name(escaping: name)
        integer(value)
    }

    /// A member that is a number whose text is given, by a name that may have anything in it.
    public mutating func number(escaping name: String, _ text: String) {
        self.name(escaping: name)
        number(text)
    }

    /// A member that is an object.
    public mutating func object(_ name: StaticString, _ members: (inout JSONWriter) -> Void) {
        self.name(name)
        object(members)
    }

    /// A member that is an array.
    public mutating func array(_ name: StaticString, _ elements: (inout JSONWriter) -> Void) {
        self.name(name)
        array(elements)
    }

    /// A member that is a string.
    public mutating func string(_ name: StaticString, _ value: String) {
        self.name(name)
        string(value)
    }

    /// A member that is a string whose text is made where it stands. - Parameter fill: gets room for `length` bytes and writes them all;
    /// vouches that they are ASCII without anything to escape.
    public mutating func string(
        _ name: StaticString, plain length: Int, _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Void
    ) {
        self.name(name)
        reserve(length + 3)
        putComma()
        put(UInt8(ascii: "\""))
        fill(UnsafeMutableBufferPointer(start: start + count, count: length))
        count += length
        put(UInt8(ascii: "\""))
    }

    /// A member that is a whole number.
    public mutating func integer(_ name: StaticString, _ value: Int64) {
        self.name(name)
        integer(value)
    }

    /// A whole number.
    public mutating func integer(_ value: Int64) {
        separate()
        if value < 0 { append(UInt8(ascii: "-")) }
        append(digitsOf: value.magnitude)
    }

    /// A member that is a whole number.
    public mutating func integer(_ name: StaticString, _ value: Int) { integer(name, Int64(value)) }

    /// A member that is a whole number, such as a sum of many.
    public mutating func integer(_ name: StaticString, _ value: Int128) { number(name, String(value)) }

    /// A member that is a number whose text is given.
    public mutating func number(_ name: StaticString, _ text: String) {
        self.name(name)
        number(text)
    }

    /// A member that is a decimal number: so many units, of which 10 to the power of `exponent` are one. All digits after the point are
    /// written.
    public mutating func decimal(_ name: StaticString, _ units: Int64, exponent: Int) {
        self.name(name)
        separate()
        if units < 0 { append(UInt8(ascii: "-")) }
        let one = (0..<exponent).reduce(UInt64(1)) { one, _ in 10 * one }
        append(digitsOf: units.magnitude / one)
        guard exponent > 0 else { return }
        append(UInt8(ascii: "."))
        append(digitsOf: units.magnitude % one, atLeast: exponent)
    }

    /// A member that is true or false.
    public mutating func bool(_ name: StaticString, _ value: Bool) {
        self.name(name)
        separate()
        append(value ? "true" : "false")
    }

    /// A member that is null.
    public mutating func null(_ name: StaticString) {
        self.name(name)
        separate()
        append("null")
    }

    /// A number whose text is given. The caller vouches for the syntax.
    public mutating func number(_ text: String) {
        separate()
        var text = text
        text.withUTF8 { append($0) }
    }

    /// A string. Control characters (CR and LF among them), quotes and backslashes are escaped.
    public mutating func string(_ value: String) {
        // Where it lies, unless it came from Foundation and is no UTF-8 yet: a copy would be another owner.
        if value.utf8.withContiguousStorageIfAvailable({ string(utf8: $0) }) != nil { return }
        var value = value
        value.withUTF8 { string(utf8: $0) }
    }

    private mutating func string(utf8: UnsafeBufferPointer<UInt8>) {
        reserve(utf8.count + 3)
        putComma()
        put(UInt8(ascii: "\""))
        let index = putPlain(utf8)
        if index < utf8.count { appendEscaping(utf8[index...]) }
        append(UInt8(ascii: "\""))
    }

    /// Writes the beginning of a string that has nothing to escape in it, mostly all of it, eight bytes at a time, into room that is there.
    /// - Returns: how many bytes it has.
    private mutating func putPlain(_ utf8: UnsafeBufferPointer<UInt8>) -> Int {
        let room = UnsafeMutableRawPointer(start + count)
        var index = 0
        while index < utf8.count {
            let bytes =
                index + 8 <= utf8.count ? EightBytes(utf8, at: index) : EightBytes(utf8, lastFrom: index)
            if bytes.needEscapes { break }
            room.storeBytes(of: bytes.word, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        index = min(index, utf8.count)
        count += index
        return index
    }

    private mutating func appendEscaping(_ utf8: Slice<UnsafeBufferPointer<UInt8>>) {
        for byte in utf8 {
            if Self.needsEscape(byte) { escape(byte) } else { append(byte) }
        }
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F
    }

    private mutating func escape(_ byte: UInt8) {
        append(UInt8(ascii: "\\"))
        switch byte {
        case 0x0A: append(UInt8(ascii: "n"))
        case 0x0D: append(UInt8(ascii: "r"))
        case 0x09: append(UInt8(ascii: "t"))
        case 0..<0x20, 0x7F:
            append("u00")
            append(Self.hexadecimalDigit(byte >> 4))
            append(Self.hexadecimalDigit(byte & 15))
        default: append(byte)
        }
    }

    private static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    /// A value, whatever it is.
    public mutating func value(_ value: JSONValue) {
        switch value {
        case .null: number("null")
        case .bool(let flag): number(flag ? "true" : "false")
        case .number(let text): number(text)
        case .string(let text): string(text)
        case .array(let elements): array { json in elements.forEach { json.value($0) } }
        case .object(let members):
            object { json in
                for member in members {
                    json.name(escaping: member.name)
                    json.value(member.value)
                }
            }
        }
    }

    /// A value that was written before, as it is.
    public mutating func raw(_ json: [UInt8]) {
        separate()
        json.withUnsafeBufferPointer { append($0) }
    }

    /// A line feed after the value, for a file of one value a line.
    public mutating func endLine() {
        append(0x0A)
    }

    private mutating func separate() {
        reserve(1)
        putComma()
    }

    /// Writes the comma between two values, if it needs one, into room that is there.
    private mutating func putComma() {
        if needsComma { put(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func open(_ bracket: UInt8) {
        reserve(2)
        putComma()
        put(bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        append(bracket)
        needsComma = true
    }

    // MARK: - Bytes

    private mutating func append(_ byte: UInt8) {
        reserve(1)
        put(byte)
    }

    private mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        reserve(bytes.count)
        put(bytes)
    }

    /// Makes room for so many bytes.
    private mutating func reserve(_ more: Int) {
        if more > capacity - Self.slack - count { grow(by: more) }
    }

    /// Writes into room that is there.
    private mutating func put(_ byte: UInt8) {
        assert(count < capacity, "there is no room for a byte")
        start[count] = byte
        count += 1
    }

    /// Writes into room that is there.
    private mutating func put(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let source = bytes.baseAddress else { return }
        assert(bytes.count <= capacity - count, "there is no room for \(bytes.count) bytes")
        (start + count).initialize(from: source, count: bytes.count)
        count += bytes.count
    }

    private mutating func append(_ word: StaticString) {
        append(UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    }

    /// - Parameter width: with zeros in front of it, the number has so many digits at least.
    private mutating func append(digitsOf number: UInt64, atLeast width: Int = 1) {
        if number < 10, width == 1 { return append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number)) }
        var digits = 1
        var rest = number
        while rest >= 10 {
            rest /= 10
            digits += 1
        }
        digits = max(digits, width)
        reserve(digits)
        rest = number
        for position in (count..<count + digits).reversed() {
            start[position] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        count += digits
    }

    private mutating func grow(by more: Int) {
        capacity = max(2 * capacity, count + more + Self.slack)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        larger.moveInitialize(from: start, count: count)
        start.deallocate()
        start = larger
    }
}
