import Crypto
import Resilience

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a provider and its customer share, so that one knows the other's messages: `whsec_` and 24 to 64 bytes in base64
/// (Standard Webhooks 1.0). Never printed.
public struct WebhookSecret: Sendable, Equatable, CustomStringConvertible {
    fileprivate let key: SymmetricKey

    /// A secret as it is configured; nil if it is none.
    public init?(_ text: String) {
        let prefix = "whsec_"
        guard text.hasPrefix(prefix), let bytes = Data(base64Encoded: String(text.dropFirst(prefix.count))),
            (24...64).contains(bytes.count)
        else { return nil }
        key = SymmetricKey(data: bytes)
    }

    /// The secrets in a setting, separated by blanks: the new one and the old one while they change; nil if one is none.
    public static func list(_ text: String) -> [WebhookSecret]? {
        let words = text.split(separator: " ")
        let secrets = words.compactMap { WebhookSecret(String($0)) }
        return secrets.isEmpty || secrets.count != words.count ? nil : secrets
    }

    public var description: String { "whsec_…" }
}

/// Why a message is not taken for the provider's.
public enum WebhookRefusal: Error, Equatable, Sendable {
    /// A header is missing or has not the form that it must have; names the header.
    case malformed(header: String)
    /// Signed too long ago, or in the future: somebody may be sending it again.
    case timestampOutOfTolerance
    /// No signature is ours.
    case noMatchingSignature

    /// For a person.
    public var explanation: String {
        switch self {
        case .malformed(let header): "The header \(header) is missing, sent more than once or malformed."
        case .timestampOutOfTolerance: "The message was signed too long ago, or in the future."
        case .noMatchingSignature: "No signature of the message is one of ours."
        }
    }
}

/// Signs and verifies messages as Standard Webhooks 1.0 says: HMAC-SHA256 of `id.timestamp.body`.
public struct WebhookSignature: Sendable {
    /// The headers of a message.
    public enum Header {
        public static let id = "webhook-id"
        public static let timestamp = "webhook-timestamp"
        public static let signature = "webhook-signature"
    }

    /// How far a message's time may be off ours.
    public static let tolerance = Duration.seconds(300)
    /// How many signatures of one message are looked at.
    static let maximumSignatures = 16
    private static let version = "v1,"

    private let secrets: [WebhookSecret]
    private let time: any TimeSource

    /// Signs with each of the secrets, and takes what is signed with any.
    public init(_ secrets: [WebhookSecret], time: any TimeSource) {
        self.secrets = secrets
        self.time = time
    }

    /// The value of `webhook-signature`: a signature for each secret.
    ///
    /// - Parameters:
    ///   - id: see `isMessageID`.
    ///   - timestamp: whole seconds since 1970-01-01T00:00:00Z, as they are sent.
    public func sign(id: String, timestamp: Int64, body: [UInt8]) -> String {
        let content = Self.content(id: id, timestamp: String(timestamp), body: body)
        return secrets.map { secret in
            let code = HMAC<SHA256>.authenticationCode(for: content, using: secret.key)
            return Self.version + Data(code).base64EncodedString()
        }.joined(separator: " ")
    }

    /// Makes sure that a message is from somebody who knows a secret, and was signed now. The values are those of the headers;
    /// nil for one that is missing or there twice. - Throws: `WebhookRefusal`.
    public func verify(
        id: String?, timestamp: String?, signature: String?, body: [UInt8]
    ) throws(WebhookRefusal) {
        guard let id, Self.isMessageID(id) else { throw .malformed(header: Header.id) }
        // The text is what is signed, so only one spelling of a number is taken.
        guard let timestamp, let seconds = Int64(timestamp), String(seconds) == timestamp, seconds >= 0 else {
            throw .malformed(header: Header.timestamp)
        }
        guard let signature else { throw .malformed(header: Header.signature) }
        let now = time.now.milliseconds / 1000
        let (distance, overflow) = now.subtractingReportingOverflow(seconds)
        guard !overflow, distance.magnitude <= UInt64(Self.tolerance.components.seconds) else {
            throw .timestampOutOfTolerance
        }
        let content = Self.content(id: id, timestamp: timestamp, body: body)
        let codes = signature.split(separator: " ").prefix(Self.maximumSignatures)
            .filter { $0.hasPrefix(Self.version) }
            .compactMap { Data(base64Encoded: String($0.dropFirst(Self.version.count))) }
        // The comparison takes the same time wherever two codes differ.
        let isOurs = codes.contains { code in
            secrets.contains { HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: content, using: $0.key) }
        }
        guard isOurs else { throw .noMatchingSignature }
    }

    /// Whether a text may name a message: 1 to 128 visible ASCII characters without a full stop, which separates what is signed.
    public static func isMessageID(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ".") }
    }

    private static func content(id: String, timestamp: String, body: [UInt8]) -> Data {
        Data("\(id).\(timestamp).".utf8) + body
    }
}
