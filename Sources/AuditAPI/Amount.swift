import Money
import StrictJSON

/// An amount as a store holds it. Unlike `Money` it takes any currency code: an audit reports what it finds.
public struct Amount: Hashable, Sendable, CustomStringConvertible {
    /// Minor units.
    public let minorUnits: Int64
    /// The code as it is stored.
    public let currency: String

    /// An amount.
    public init(_ minorUnits: Int64, _ currency: String) {
        self.minorUnits = minorUnits
        self.currency = currency
    }

    /// An amount. - Parameter money: the same.
    public init(_ money: Money) {
        self.init(money.minorUnits, money.currency.code)
    }

    /// For example `20.00 USD`.
    public var description: String { Self.text(Int128(minorUnits), currency) }

    /// The exact decimal of so many minor units, which may be more than an amount can have: `20.00 USD`. Of a currency
    /// that is not known, the minor units are told as they are.
    public static func text(_ minorUnits: Int128, _ currency: String) -> String {
        guard let exponent = Currency(code: currency)?.exponent else {
            return "\(minorUnits) minor units of \(currency)"
        }
        let digits = String(minorUnits.magnitude)
        let padded = String(repeating: "0", count: max(0, exponent + 1 - digits.count)) + digits
        let whole = padded.dropLast(exponent)
        let sign = minorUnits < 0 ? "-" : ""
        return exponent == 0 ? "\(sign)\(whole) \(currency)" : "\(sign)\(whole).\(padded.suffix(exponent)) \(currency)"
    }

    func write(_ name: StaticString, to json: inout JSONWriter) {
        json.object(name) { json in
            json.integer("amount", minorUnits)
            json.string("currency", currency)
        }
    }

    init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let minorUnits = reader.wholeNumber("amount")
        let currency = reader.id("currency")
        try reader.finish()
        guard let minorUnits, let currency else { throw ValidationFailure("#", "is not an amount") }
        self.init(minorUnits, currency)
    }
}
