/// The client's name for one attempt to have something done, as sent in the `Idempotency-Key` header.
///
/// Two spellings are accepted and mean the same key (IK-05): the structured-field string of the IETF draft,
/// `"abc-123"`, and the bare form that people send, `abc-123`.
public struct IdempotencyKey: Hashable, Sendable {
    /// The longest key, in characters after unquoting (IK-03).
    public static let maximumLength = 255

    /// The key without quotes: 1 to 255 printable ASCII characters. Never written to a log.
    public let value: String

    /// The key that a header's value spells. - Throws: `IdempotencyKeyError` (IK-02 to IK-06).
    public init(headerValue: String) throws(IdempotencyKeyError) {
        if Self.isBare(headerValue) {
            value = headerValue
            return
        }
        let text = Self.trimmingBlanks(headerValue.utf8[...])
        guard let first = text.first else { throw .empty }
        let characters = first == UInt8(ascii: "\"") ? try Self.unquoted(text) : try Self.bare(text)
        guard !characters.isEmpty else { throw .empty }
        guard characters.count <= Self.maximumLength else { throw .tooLong }
        value = String(decoding: characters, as: UTF8.self)
    }

    /// A key that was accepted before and stored.
    public init(stored value: String) {
        self.value = value
    }

    /// Whether it is a key as it stands: most are.
    private static func isBare(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            guard (1...maximumLength).contains(bytes.count) else { return false }
            return bytes.allSatisfy { fault(ofBare: $0) == nil }
        }
    }

    private static func trimmingBlanks(_ text: Substring.UTF8View) -> Substring.UTF8View {
        var text = text
        while let first = text.first, first == 0x20 || first == 0x09 { text = text.dropFirst() }
        while let last = text.last, last == 0x20 || last == 0x09 { text = text.dropLast() }
        return text
    }

    /// The bare form has no blanks, commas or quotes in it: each of those suggests a list or a botched quotation.
    private static func bare(_ text: Substring.UTF8View) throws(IdempotencyKeyError) -> [UInt8] {
        for byte in text { if let fault = fault(ofBare: byte) { throw fault } }
        return [UInt8](text)
    }

    private static func fault(ofBare byte: UInt8) -> IdempotencyKeyError? {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"): .malformed
        case 0x21...0x7E: nil
        default: .invalidCharacter
        }
    }

    /// A structured-field string (RFC 8941, section 3.3.3). Blanks are refused inside too (IK-04); nothing may follow.
    private static func unquoted(_ text: Substring.UTF8View) throws(IdempotencyKeyError) -> [UInt8] {
        var characters: [UInt8] = []
        var rest = text.dropFirst()
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""):
                guard rest.isEmpty else { throw .malformed }
                return characters
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst(), escaped == UInt8(ascii: "\"") || escaped == UInt8(ascii: "\\")
                else {
                    throw .malformed
                }
                characters.append(escaped)
            case 0x21...0x7E: characters.append(byte)
            default: throw .invalidCharacter
            }
        }
        throw .malformed
    }
}

/// Why a header's value is not a key. The value itself is not repeated: it may be a secret of the client.
public enum IdempotencyKeyError: Error, Equatable {
    /// Nothing, or an empty string in quotes.
    case empty
    /// More than 255 characters.
    case tooLong
    /// A space, a control character, or one outside ASCII.
    case invalidCharacter
    /// Quotation that does not close, an unknown escape, or more than one key.
    case malformed
}
