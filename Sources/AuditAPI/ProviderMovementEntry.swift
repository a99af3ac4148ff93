import Resilience
import StrictJSON

/// Money that a payment provider says it has moved. The provider's own books: whatever the ledger says of it must follow from them.
public struct ProviderMovementEntry: AuditEntry {
    public static let service = AuditedService.provider
    public static let path = "/audit/movements"

    /// Its place in the books, from 1.
    public let number: Int64
    /// The provider's name, for example `stripe`.
    public let provider: String
    /// `charge`, `payout` or `refund`.
    public let kind: String
    /// The id that the provider was given for it.
    public let reference: String
    /// What the provider holds more for us since; less, if it is below zero.
    public let amount: Amount
    /// When, by the provider's clock.
    public let movedAt: Timestamp

    public var id: String { String(number) }

    /// A movement.
    public init(
        number: Int64, provider: String, kind: String, reference: String, amount: Amount, movedAt: Timestamp
    ) {
        self.number = number
        self.provider = provider
        self.kind = kind
        self.reference = reference
        self.amount = amount
        self.movedAt = movedAt
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.integer("number", number)
            json.string("provider", provider)
            json.string("kind", kind)
            json.string("reference", reference)
            amount.write("amount", to: &json)
            json.integer("movedAtMs", movedAt.milliseconds)
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let number = reader.wholeNumber("number")
        let provider = reader.id("provider")
        let kind = reader.id("kind")
        let reference = reader.id("reference")
        let amount = reader.nested("amount", Amount.init(json:))
        let movedAt = reader.timestamp("movedAtMs")
        try reader.finish()
        guard let number, let provider, let kind, let reference, let amount, let movedAt else {
            throw ValidationFailure("#", "is not a movement")
        }
        self.init(
            number: number, provider: provider, kind: kind, reference: reference, amount: amount, movedAt: movedAt)
    }
}
