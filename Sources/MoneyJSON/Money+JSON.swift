import Money
import StrictJSON

extension JSONWriter {
    /// A member `{"amount":2000,"currency":"USD"}`, in minor units.
    public mutating func money(_ name: StaticString, _ money: Money) {
        object(name) { json in
            json.integer("amount", money.minorUnits)
            json.string("currency", money.currency.code)
        }
    }
}

extension JSONWriter {
    /// A member that is the exact decimal with all the digits of the currency: `20.00`, `500` (yen), `1.250` (dinar).
    public mutating func decimal(_ name: StaticString, _ money: Money) {
        decimal(name, money.minorUnits, exponent: money.currency.exponent)
    }
}

extension Money {
    /// Reads `{"amount":2000,"currency":"USD"}` (minor units) or a bare decimal of the default currency (`20.00`).
    ///
    /// - Parameter range: the minor units allowed.
    /// - Throws: `ValidationFailure`, with pointers that begin at the value.
    public init(
        json value: JSONNode, in range: ClosedRange<Int64>, default currency: Currency = .usd
    ) throws(ValidationFailure) {
        if let text = value.number {
            do {
                try self.init(decimal: text, currency: currency)
            } catch {
                throw ValidationFailure("#", error.explanation(for: currency))
            }
            guard range.contains(minorUnits) else {
                throw ValidationFailure("#", "must be from \(range.lowerBound) to \(range.upperBound) minor units")
            }
            return
        }
        guard value.isObject else {
            throw ValidationFailure("#", "must be a decimal number, or an object with amount and currency")
        }
        var reader = try ObjectReader(value)
        let minorUnits = reader.integer("amount", in: range)
        let code = reader.string("currency", length: 3...3)
        let currency = code.flatMap { Currency(code: $0) }
        if code != nil, currency == nil {
            reader.issue("currency", "must be the code of a currency in ISO 4217, in upper case")
        }
        try reader.finish()
        guard let minorUnits, let currency else { throw ValidationFailure("#", "is not an amount of money") }
        self.init(minorUnits: minorUnits, currency: currency)
    }
}

extension MoneyError {
    fileprivate func explanation(for currency: Currency) -> String {
        switch self {
        case .notANumber: "must be a decimal number"
        case .tooManyDigits: "may have \(currency.exponent) digits after the point, as \(currency.code) has"
        case .overflow: "is too large"
        case .currencyMismatch: "is in another currency"
        }
    }
}
