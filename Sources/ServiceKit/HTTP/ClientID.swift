import OpenAPI
import StrictJSON

/// The ids that clients choose for what they make: a charge's, a reservation's. They stand in paths, in logs and in an operator's
/// terminal, and are looked for byte by byte, so they are of characters that mean the same in all of these.
package enum ClientID {
    static let lengths = 1...128
    static let rule =
        "must be a string of 1 to 128 letters, digits or any of . _ ~ : - with at least one letter or digit"
    static let pattern = #"^[A-Za-z0-9._~:-]*[A-Za-z0-9][A-Za-z0-9._~:-]*$"#

    package static func isValid(_ text: String) -> Bool {
        // Without a letter or digit it may be `..`, which in a path is another place.
        var isNamed = false
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A:
                isNamed = true
                return true
            case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: ":"), UInt8(ascii: "-"):
                return true
            default: return false
            }
        }
        return isPlain && isNamed && lengths.contains(text.utf8.count)
    }
}

extension ObjectReader {
    /// An id that the client has chosen, or asks about; anything else is a fault.
    public mutating func clientID(_ name: StaticString, required: Bool = true) -> String? {
        guard let value = required ? requiredValue(name) : value(name) else { return nil }
        guard let text = value.string, ClientID.isValid(text) else {
            issue(name, ClientID.rule)
            return nil
        }
        return text
    }

    /// The id of something that is there already, perhaps since a version that took ids of any characters: what was made under such a one must be
    /// given back or handed over all the same. Who then makes something under it checks it first.
    public mutating func earlierID(_ name: StaticString) -> String? { string(name, length: ClientID.lengths) }
}

extension ValidationFailure {
    /// An id under which nothing is, and nothing can be made.
    public init?(newID: String, at pointer: String) {
        guard !ClientID.isValid(newID) else { return nil }
        self.init(pointer, ClientID.rule)
    }
}

extension Schema {
    /// An id that clients may choose.
    public static func clientID(_ description: String) -> Schema {
        .string(description, length: ClientID.lengths, pattern: ClientID.pattern)
    }
}
