import ProviderAPI
import Resilience
import TestSupport
import Testing

@Suite("Webhook signature")
struct WebhookSignatureTests {
    /// The example of Standard Webhooks' own libraries.
    private enum Example {
        static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        static let id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
        static let seconds: Int64 = 1_614_265_330
        static let body = Array(#"{"test": 2432232314}"#.utf8)
        static let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    }

    private static let other = "whsec_" + "c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgMzIgYnl0ZXM="

    private func signature(_ secrets: [String] = [Example.secret], after: Int64 = 0) throws -> WebhookSignature {
        let time = ManualTime(now: Timestamp(milliseconds: (Example.seconds + after) * 1000))
        return WebhookSignature(try secrets.map { try #require(WebhookSecret($0)) }, time: time)
    }

    private func verify(
        _ verifier: WebhookSignature, id: String? = Example.id, timestamp: String? = String(Example.seconds),
        signature: String? = Example.signature, body: [UInt8] = Example.body
    ) throws(WebhookRefusal) {
        try verifier.verify(id: id, timestamp: timestamp, signature: signature, body: body)
    }

    @Test("the standard's example is signed as it says")
    func signs() throws {
        let signed = try signature().sign(id: Example.id, timestamp: Example.seconds, body: Example.body)
        #expect(signed == Example.signature)
    }

    @Test("the standard's example is taken")
    func verifies() throws {
        try verify(try signature())
    }

    @Test("a message with another body, id or time than was signed is refused")
    func tampered() throws {
        let verifier = try signature()
        let refusal = WebhookRefusal.noMatchingSignature
        #expect(throws: refusal) { try verify(verifier, body: Array(#"{"test": 2432232315}"#.utf8)) }
        #expect(throws: refusal) { try verify(verifier, body: []) }
        #expect(throws: refusal) { try verify(verifier, id: "msg_another") }
        #expect(throws: refusal) { try verify(verifier, timestamp: String(Example.seconds + 1)) }
    }

    @Test("a message signed with another secret is refused")
    func otherSecret() throws {
        #expect(throws: WebhookRefusal.noMatchingSignature) { try verify(try signature([Self.other])) }
    }

    @Test("one good signature among several is enough, and other versions are passed over")
    func severalSignatures() throws {
        let verifier = try signature()
        try verify(verifier, signature: "v1,bm90IGEgc2lnbmF0dXJl v1a,xyz v1, \(Example.signature)")
        let asOtherVersion = Example.signature.replacing("v1,", with: "v2,")
        #expect(throws: WebhookRefusal.noMatchingSignature) { try verify(verifier, signature: asOtherVersion) }
        #expect(throws: WebhookRefusal.noMatchingSignature) { try verify(verifier, signature: "") }
    }

    @Test("only so many signatures are looked at")
    func manySignatures() throws {
        let padding = Array(repeating: "v1,AAAA", count: 16).joined(separator: " ")
        #expect(throws: WebhookRefusal.noMatchingSignature) {
            try verify(try signature(), signature: "\(padding) \(Example.signature)")
        }
    }

    @Test("while a secret changes, both are signed with and either is taken")
    func rotation() throws {
        let both = try signature([Self.other, Example.secret])
        try verify(both)
        let signed = both.sign(id: Example.id, timestamp: Example.seconds, body: Example.body)
        #expect(signed.split(separator: " ").count == 2)
        try verify(try signature(), signature: signed)
        try verify(try signature([Self.other]), signature: signed)
    }

    @Test("a message is taken up to five minutes before and after our time, and no further")
    func tolerance() throws {
        for seconds: Int64 in [-300, 0, 300] { try verify(try signature(after: seconds)) }
        for seconds: Int64 in [-301, 301] {
            #expect(throws: WebhookRefusal.timestampOutOfTolerance) { try verify(try signature(after: seconds)) }
        }
    }

    @Test(
        "a time that is no whole number of seconds in its one spelling is refused",
        arguments: [
            "", "now", "1614265330.5", "+1614265330", " 1614265330", "01614265330", "-1", "99999999999999999999",
        ])
    func badTimestamp(_ timestamp: String) throws {
        #expect(throws: WebhookRefusal.malformed(header: "webhook-timestamp")) {
            try verify(try signature(), timestamp: timestamp)
        }
    }

    @Test("the largest number of seconds is refused, not a crash")
    func extremeTimestamp() throws {
        #expect(throws: WebhookRefusal.timestampOutOfTolerance) {
            try verify(try signature(), timestamp: String(Int64.max))
        }
    }

    @Test("a missing header is named")
    func missing() throws {
        let verifier = try signature()
        #expect(throws: WebhookRefusal.malformed(header: "webhook-id")) { try verify(verifier, id: nil) }
        #expect(throws: WebhookRefusal.malformed(header: "webhook-timestamp")) { try verify(verifier, timestamp: nil) }
        #expect(throws: WebhookRefusal.malformed(header: "webhook-signature")) { try verify(verifier, signature: nil) }
    }

    @Test("an id with a full stop, which separates what is signed, is refused", arguments: ["a.b", "", "a b", "é"])
    func badID(_ id: String) throws {
        #expect(throws: WebhookRefusal.malformed(header: "webhook-id")) { try verify(try signature(), id: id) }
    }

    @Test(
        "what is no secret of 24 to 64 bytes is refused",
        arguments: [
            "", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_plJ3nmyCDGBKInavdOK15jsl", "whsec_not base64!",
            "whsec_" + String(repeating: "AAAA", count: 22),
        ])
    func badSecret(_ text: String) {
        #expect(WebhookSecret(text) == nil)
    }

    @Test("a setting may hold several secrets, and none that is bad")
    func lists() {
        #expect(WebhookSecret.list("\(Example.secret) \(Self.other)")?.count == 2)
        #expect(WebhookSecret.list("\(Example.secret) nonsense") == nil)
        #expect(WebhookSecret.list(" ") == nil)
    }

    @Test("a secret does not print itself")
    func redaction() throws {
        let secret = try #require(WebhookSecret(Example.secret))
        #expect("\(secret)" == "whsec_…")
        #expect(!String(reflecting: secret).contains("MfKQ9r8"))
    }
}
