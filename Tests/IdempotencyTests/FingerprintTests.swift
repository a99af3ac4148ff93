import Idempotency
import Testing

@Suite("Fingerprint")
struct FingerprintTests {
    @Test("the same operation on the same fields has the same fingerprint of 32 bytes")
    func equal() {
        let first = Fingerprint(operation: "charge", fields: ["2000", nil, "USD"])
        let second = Fingerprint(operation: "charge", fields: ["2000", nil, "USD"])
        #expect(first == second)
        #expect(first.bytes.count == 32)
        #expect(Fingerprint(bytes: first.bytes) == first)
    }

    @Test("no two of these commands share a fingerprint")
    func different() {
        let commands: [(operation: String, fields: [String?])] = [
            ("op", []), ("op", [nil]), ("op", [""]), ("op", [nil, nil]), ("op", ["", ""]), ("op", [nil, ""]),
            ("op", ["", nil]), ("op", ["ab", "c"]), ("op", ["a", "bc"]), ("op", ["abc"]), ("op", ["abc", nil]),
            ("op", ["c", "ab"]), ("op", ["a", "b", "c"]), ("opa", ["bc"]), ("o", ["p", "abc"]), ("other", ["ab", "c"]),
            ("op", ["\u{FF}"]), ("op", ["1"]), ("op", ["2"]), ("op", ["1", "2"]), ("op", ["12"]),
            ("op", [String(repeating: "a", count: 256)]), ("op", [String(repeating: "a", count: 257)]), ("", []),
            ("", [""]),
        ]
        let fingerprints = Set(commands.map { Fingerprint(operation: $0.operation, fields: $0.fields) })
        #expect(fingerprints.count == commands.count)
    }

    @Test("the fingerprint does not change between versions, because stored keys are compared with it")
    func stable() throws {
        let fingerprint = Fingerprint(operation: "charge", fields: ["2000", nil, ""])
        let hexadecimal = fingerprint.bytes.map { byte in
            String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        // SHA-256 of: 8 bytes of length and "charge", the same for "2000", 0xFF, and 8 bytes of zero.
        #expect(hexadecimal.joined() == "7f438fd9fd0864d4096e18821405370850e54e347c69bc5c33a7eea06b1e2479")
    }
}
