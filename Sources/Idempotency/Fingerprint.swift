import Crypto

/// A digest of an operation and its decoded command: equal for requests that mean the same, whatever the order of
/// their members or their white space (IK-12), and different for any other command (IK-13).
public struct Fingerprint: Hashable, Sendable {
    /// SHA-256, 32 bytes.
    public let bytes: [UInt8]

    /// The fingerprint of an operation on these fields.
    ///
    /// - Parameter fields: every field of the command in a fixed order, nil for one that is absent. Each is hashed with its
    ///   length, so that no two lists of fields run together into the same text.
    public init(operation: String, fields: [String?]) {
        var hash = SHA256()
        for field in [operation] + fields {
            guard let field else {
                hash.update(data: [0xFF])
                continue
            }
            var text = field
            text.withUTF8 { utf8 in
                withUnsafeBytes(of: UInt64(utf8.count).bigEndian) { hash.update(bufferPointer: $0) }
                hash.update(bufferPointer: UnsafeRawBufferPointer(utf8))
            }
        }
        bytes = Array(hash.finalize())
    }

    /// The first of its bytes in hexadecimal, two digits for each.
    public func hexadecimal(bytes count: Int) -> String {
        bytes.prefix(count).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }

    /// A fingerprint that was stored.
    public init(bytes: [UInt8]) {
        self.bytes = bytes
    }
}
