/// A currency of ISO 4217: its code and how many digits its minor unit has.
///
/// `ANG` and `BGN` are no money any more (since 2025 and 2026) and stay here: what was charged in them can still be read and
/// given back. The checkout honours the exponents 0 (yen), 2 (dollar) and 3 (dinar); codes with other exponents, and codes that
/// name no money (gold, test codes), are not accepted.
public struct Currency: Hashable, Sendable, CustomStringConvertible {
    /// Three upper-case letters, for example `USD`.
    public let code: String
    /// Digits after the decimal point of one major unit: 0, 2 or 3.
    public let exponent: Int

    /// The currency with this code, or nil when ISO 4217 does not list it.
    ///
    /// - Parameter code: three upper-case letters; lower case is refused, so that a code has one spelling.
    public init?(code: String) {
        // Nearly always, and cheaper to see than to look up.
        if code == Self.usd.code {
            self = .usd
            return
        }
        guard let exponent = Self.exponents[code] else { return nil }
        self.code = code
        self.exponent = exponent
    }

    private init(code: String, exponent: Int) {
        self.code = code
        self.exponent = exponent
    }

    /// The default currency: what a bare `amount` and `totalFee` are in.
    public static let usd = Currency(code: "USD", exponent: 2)

    /// The codes of all currencies, in the order of the alphabet.
    public static let codes = exponents.keys.sorted()

    public var description: String { code }

    private static let exponents: [String: Int] = {
        let byExponent: [(Int, String)] = [
            (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
            (3, "BHD IQD JOD KWD LYD OMR TND"),
            (
                2,
                """
                AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF \
                CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF \
                IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR \
                MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD \
                SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER \
                XCG \
                ZAR ZMW ZWG
                """
            ),
        ]
        var table: [String: Int] = [:]
        for (exponent, codes) in byExponent {
            for code in codes.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
                table[String(code)] = exponent
            }
        }
        return table
    }()
}
