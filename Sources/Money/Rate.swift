/// A share of an amount, such as a fee of 2 %: an exact decimal from 0 to 1.
public struct Rate: Hashable, Sendable, CustomStringConvertible {
    /// How many digits may follow the decimal point.
    public static let maximumDigits = 9

    /// The share, in units of 10⁻⁹.
    public let billionths: Int64

    /// The rate that an exact decimal stands for, for example `0.02`.
    ///
    /// - Throws: `MoneyError.notANumber`; `.tooManyDigits` for more than nine after the point; `.overflow` for less than 0 or
    ///   more than 1.
    public init(decimal: some StringProtocol) throws(MoneyError) {
        let billionths = try scaledInteger(decimal: decimal, exponent: Self.maximumDigits)
        guard (0...Self.one).contains(billionths) else { throw .overflow }
        self.billionths = billionths
    }

    /// A rate of so many billionths. - Precondition: from 0 to 10⁹.
    package init(billionths: Int64) {
        precondition((0...Self.one).contains(billionths), "a share is at most the whole")
        self.billionths = billionths
    }

    /// The whole, in billionths.
    static let one: Int64 = 1_000_000_000

    public var description: String {
        let digits = String(billionths % Self.one)
        let fraction = String(repeating: "0", count: Self.maximumDigits - digits.count) + digits
        let shown = fraction.reversed().drop { $0 == "0" }.reversed()
        return "\(billionths / Self.one)" + (shown.isEmpty ? "" : ".\(String(shown))")
    }

    /// The share of an amount, rounded half to even (docs/contract.md, "Money"), with what the rounding left over.
    public func share(of amount: Money) -> Share {
        let exact = Int128(amount.minorUnits) * Int128(billionths)
        let one = Int128(Self.one)
        var (quotient, rest) = exact.quotientAndRemainder(dividingBy: one)
        if rest < 0 { (quotient, rest) = (quotient - 1, rest + one) }
        // Above the middle it rounds up; in the middle, to the even neighbour.
        if rest * 2 > one || rest * 2 == one && !quotient.isMultiple(of: 2) {
            (quotient, rest) = (quotient + 1, rest - one)
        }
        // A rate is at most 1, so what it takes of 64 bits fits 64 bits.
        return Share(
            amount: Money(minorUnits: Int64(quotient), currency: amount.currency), remainderBillionths: Int64(rest))
    }
}

/// A share of an amount in whole minor units, and what it lacks or has too much of: nothing is lost by rounding.
public struct Share: Hashable, Sendable {
    /// The share.
    public let amount: Money
    /// What the exact share has more than `amount`, in 10⁻⁹ of a minor unit: from -500,000,000 to 500,000,000.
    public let remainderBillionths: Int64
}
