/// An amount of one currency, counted in its minor units (cents, yen, fils).
///
/// All arithmetic is on whole numbers and reports what does not fit; nothing passes through binary floating point
/// (docs/contract.md, "Money"; hazards 42 and 43).
public struct Money: Hashable, Sendable, CustomStringConvertible {
    /// Minor units; may be negative.
    public let minorUnits: Int64
    /// What the minor units are of.
    public let currency: Currency

    /// An amount of minor units.
    public init(minorUnits: Int64, currency: Currency) {
        self.minorUnits = minorUnits
        self.currency = currency
    }

    /// Nothing, in a currency.
    public static func zero(_ currency: Currency) -> Money { Money(minorUnits: 0, currency: currency) }

    /// The amount that an exact decimal stands for.
    ///
    /// - Parameters:
    ///   - decimal: the text of a JSON number, for example `20.00`, `20` or `2e1`.
    ///   - currency: decides how many digits may follow the point.
    /// - Throws: `MoneyError.notANumber`, `.tooManyDigits` when there are more digits after the point than the currency
    ///   has, `.overflow` when the amount does not fit 64 bits of minor units.
    public init(decimal: some StringProtocol, currency: Currency) throws(MoneyError) {
        self.init(
            minorUnits: try scaledInteger(decimal: decimal, exponent: currency.exponent),
            currency: currency
        )
    }

    /// The sum. - Throws: `MoneyError.currencyMismatch` or `.overflow`.
    public func adding(_ other: Money) throws(MoneyError) -> Money {
        guard other.currency == currency else { throw .currencyMismatch }
        let (sum, overflow) = minorUnits.addingReportingOverflow(other.minorUnits)
        guard !overflow else { throw .overflow }
        return Money(minorUnits: sum, currency: currency)
    }

    /// The difference. - Throws: `MoneyError.currencyMismatch` or `.overflow`.
    public func subtracting(_ other: Money) throws(MoneyError) -> Money {
        guard other.currency == currency else { throw .currencyMismatch }
        let (difference, overflow) = minorUnits.subtractingReportingOverflow(other.minorUnits)
        guard !overflow else { throw .overflow }
        return Money(minorUnits: difference, currency: currency)
    }

    /// This amount, `count` times. - Throws: `MoneyError.overflow`.
    public func multiplied(by count: Int64) throws(MoneyError) -> Money {
        let (product, overflow) = minorUnits.multipliedReportingOverflow(by: count)
        guard !overflow else { throw .overflow }
        return Money(minorUnits: product, currency: currency)
    }

    /// The exact decimal with all the digits of the currency: `20.00`, `-0.05`, `500` (yen), `1.250` (dinar).
    public var decimalText: String {
        let digits = String(minorUnits.magnitude)
        let sign = minorUnits < 0 ? "-" : ""
        guard currency.exponent > 0 else { return sign + digits }
        let padded = String(repeating: "0", count: max(0, currency.exponent + 1 - digits.count)) + digits
        let point = padded.index(padded.endIndex, offsetBy: -currency.exponent)
        return "\(sign)\(padded[..<point]).\(padded[point...])"
    }

    public var description: String { "\(decimalText) \(currency.code)" }
}

/// Why an amount could not be read or computed.
public enum MoneyError: Error, Equatable {
    /// The text is not a decimal number in JSON's syntax.
    case notANumber
    /// More digits after the decimal point than the currency has.
    case tooManyDigits
    /// The result does not fit 64 bits of minor units.
    case overflow
    /// Two amounts of different currencies.
    case currencyMismatch
}
