import Money
import MoneyJSON
import StrictJSON

/// What a provider tells of a payment or a refund without being asked. A hint, never the truth: it may be late, come twice, or
/// overtake another, so its receiver asks the provider, or takes it for no more than an answer that has arrived late.
public struct WebhookEvent: Equatable, Sendable {
    /// The types of events that this version knows.
    public enum Kind: String, CaseIterable, Sendable {
        case paymentSucceeded = "payment.succeeded"
        case paymentDeclined = "payment.declined"
        case paymentCanceled = "payment.canceled"
        case refundSucceeded = "refund.succeeded"
    }

    /// What happened, as the provider says it.
    public let type: String
    /// When it happened, in RFC 3339.
    public let timestamp: String
    /// The caller's id of the payment, or of the refund.
    public let reference: String
    /// Where it stands.
    public let status: String
    /// How much; nil for a payment that was canceled before it was taken.
    public let amount: Money?
    /// What a refund is of.
    public let paymentReference: String?
    /// Why it was declined; nil if it was not.
    public let declineCode: String?

    /// What happened; nil for a type that this version does not know, which is to be acknowledged and left alone.
    public var kind: Kind? { Kind(rawValue: type) }

    /// An event.
    public init(
        _ kind: Kind, at timestamp: String, reference: String, status: String, amount: Money? = nil,
        paymentReference: String? = nil, declineCode: String? = nil
    ) {
        type = kind.rawValue
        self.timestamp = timestamp
        self.reference = reference
        self.status = status
        self.amount = amount
        self.paymentReference = paymentReference
        self.declineCode = declineCode
    }

    /// What has become of a payment; nil while it is pending.
    public init?(of payment: ProviderPayment, at timestamp: String) {
        let kind: Kind
        switch payment.status {
        case .pending: return nil
        case .succeeded, .refunded: kind = .paymentSucceeded
        case .declined: kind = .paymentDeclined
        }
        self.init(
            kind, at: timestamp, reference: payment.command.reference, status: payment.status.rawValue,
            amount: payment.command.amount, declineCode: payment.declineCode)
    }

    /// A refund was made.
    public init(of refund: ProviderRefund, at timestamp: String) {
        self.init(
            .refundSucceeded, at: timestamp, reference: refund.command.reference, status: ProviderRefund.status,
            amount: refund.command.amount, paymentReference: refund.command.paymentReference)
    }

    /// Nothing was taken under a reference and nothing ever will be.
    public init(ofCanceled reference: String, at timestamp: String) {
        self.init(.paymentCanceled, at: timestamp, reference: reference, status: ProviderPayment.canceledStatus)
    }

    /// The event as it is delivered.
    public func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("type", type)
                json.string("timestamp", timestamp)
                json.object("data") { json in
                    json.string("reference", reference)
                    if let paymentReference { json.string("paymentReference", paymentReference) }
                    json.string("status", status)
                    if let amount { json.money("amount", amount) }
                    if let declineCode { json.string("declineCode", declineCode) }
                }
            }
        }
    }

    /// The type of an event, whatever else is in it: one that this version does not know may be about anything. - Throws:
    /// `ValidationFailure`.
    public static func type(of json: JSONNode) throws(ValidationFailure) -> String {
        var reader = try ObjectReader(json)
        guard let type = reader.string("type", length: 1...64) else { throw ValidationFailure("#/type", "is required") }
        return type
    }

    /// Reads an event; members that this version does not know are left alone. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let type = reader.string("type", length: 1...64)
        let timestamp = reader.string("timestamp", length: 1...64)
        let data = reader.requiredValue("data")
        guard let type, let timestamp, let data else { throw ValidationFailure("#", "is not an event") }
        var members = try ObjectReader(data)
        let reference = members.reference("reference")
        let status = members.string("status", length: 1...64)
        guard let reference, let status else { throw ValidationFailure("#/data", "is not about a reference") }
        self.type = type
        self.timestamp = timestamp
        self.reference = reference
        self.status = status
        amount = members.has("amount") ? members.amount("amount", in: ProviderLimits.amounts) : nil
        paymentReference = members.has("paymentReference") ? members.reference("paymentReference") : nil
        declineCode = members.string("declineCode", length: ProviderLimits.declineCode, required: false)
    }
}
