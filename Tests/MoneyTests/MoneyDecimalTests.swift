import Money
import Testing

@Suite("Money as a decimal")
struct MoneyDecimalTests {
    @Test(
        "a decimal is read exactly, in the currency's minor units",
        arguments: [
            ("20.00", "USD", 2000), ("20", "USD", 2000), ("20.5", "USD", 2050), ("0.01", "USD", 1), ("0.1", "USD", 10),
            ("0", "USD", 0), ("-0", "USD", 0), ("0.00", "USD", 0), ("-0.05", "USD", -5), ("-20.00", "USD", -2000),
            // Three decimals that binary floating point does not hold.
            ("0.07", "USD", 7), ("1.15", "USD", 115), ("4503599627370497.03", "USD", 450_359_962_737_049_703),
            ("500", "JPY", 500), ("0", "JPY", 0), ("-1", "JPY", -1),
            ("1.250", "KWD", 1250), ("1.25", "KWD", 1250), ("0.001", "KWD", 1), ("-0.001", "KWD", -1),
            ("7", "KWD", 7000),
        ] as [(String, String, Int64)])
    func exact(decimal: String, code: String, minorUnits: Int64) throws {
        let currency = try #require(Currency(code: code))
        let money = try Money(decimal: decimal, currency: currency)
        #expect(money == Money(minorUnits: minorUnits, currency: currency))
    }

    @Test(
        "a power of ten moves the point",
        arguments: [
            ("2e1", "USD", 2000), ("2E1", "USD", 2000), ("2e+1", "USD", 2000), ("2e01", "USD", 2000),
            ("2e0", "USD", 200),
            ("200e-1", "USD", 2000), ("2000e-2", "USD", 2000), ("2.5e1", "USD", 2500), ("0.025e3", "USD", 2500),
            ("1.2345e2", "USD", 12_345), ("5e2", "JPY", 500), ("1.5e1", "JPY", 15), ("1e-3", "KWD", 1),
            ("-1.5e-1", "USD", -15), ("0e5", "USD", 0), ("0e99999999999999999999", "USD", 0),
        ] as [(String, String, Int64)])
    func power(decimal: String, code: String, minorUnits: Int64) throws {
        let currency = try #require(Currency(code: code))
        #expect(try Money(decimal: decimal, currency: currency).minorUnits == minorUnits)
    }

    @Test(
        "an amount with more digits than its currency is refused",
        arguments: [
            ("0.001", "USD"), ("20.000", "USD"), ("1.005", "USD"), ("-1.005", "USD"), ("0.000", "USD"),
            ("0.0000e1", "USD"), ("1e-3", "USD"),
            ("2000e-3", "USD"), ("1.23e-1", "USD"), ("0.5", "JPY"), ("500.0", "JPY"), ("5e-1", "JPY"),
            ("0.0001", "KWD"),
            ("1.2345", "KWD"), ("1e-99999999999999999999", "USD"),
        ])
    func tooManyDigits(decimal: String, code: String) throws {
        let currency = try #require(Currency(code: code))
        #expect(throws: MoneyError.tooManyDigits) { try Money(decimal: decimal, currency: currency) }
    }

    @Test(
        "the largest and the smallest amount fit, and one minor unit more does not",
        arguments: [
            ("92233720368547758.07", "92233720368547758.08", "USD", Int64.max),
            ("-92233720368547758.08", "-92233720368547758.09", "USD", Int64.min),
            ("9223372036854775807", "9223372036854775808", "JPY", Int64.max),
            ("-9223372036854775808", "-9223372036854775809", "JPY", Int64.min),
            ("9223372036854775.807", "9223372036854775.808", "KWD", Int64.max),
            ("-9223372036854775.808", "-9223372036854775.809", "KWD", Int64.min),
        ])
    func edges(fits: String, overflows: String, code: String, minorUnits: Int64) throws {
        let currency = try #require(Currency(code: code))
        #expect(try Money(decimal: fits, currency: currency).minorUnits == minorUnits)
        #expect(throws: MoneyError.overflow) { try Money(decimal: overflows, currency: currency) }
    }

    @Test(
        "a number too large for 64 bits of minor units is refused",
        arguments: [
            "1e400", "-1e400", "1e17", "92233720368547759", "-92233720368547759", "1e99999999999999999999",
            "99999999999999999999999999999999999999",
        ])
    func overflow(decimal: String) {
        #expect(throws: MoneyError.overflow) { try Money(decimal: decimal, currency: .usd) }
    }

    @Test(
        "text that is not a decimal number is refused",
        arguments: [
            "", "-", "+1", "01", "-00.5", ".5", "1.", "1.e2", "1e", "1e+", "1e-", "--1", "1-", "1.2.3", "1e2e3",
            "1e1.5", "1,000",
            "1 ",
            " 1", "0x10", "NaN", "Infinity", "-Infinity", "abc", "1a", "\u{661}", "1_000", "1\u{0}",
        ])
    func notANumber(text: String) {
        #expect(throws: MoneyError.notANumber) { try Money(decimal: text, currency: .usd) }
    }

    @Test(
        "an amount is written with all the digits of its currency",
        arguments: [
            (2000, "USD", "20.00"), (5, "USD", "0.05"), (-5, "USD", "-0.05"), (50, "USD", "0.50"),
            (-100, "USD", "-1.00"),
            (0, "USD", "0.00"), (123_456, "USD", "1234.56"), (500, "JPY", "500"), (0, "JPY", "0"), (-1, "JPY", "-1"),
            (1250, "KWD", "1.250"), (1, "KWD", "0.001"), (-999, "KWD", "-0.999"), (0, "KWD", "0.000"),
            (Int64.max, "USD", "92233720368547758.07"), (Int64.min, "USD", "-92233720368547758.08"),
            (Int64.min, "JPY", "-9223372036854775808"), (Int64.min, "KWD", "-9223372036854775.808"),
        ])
    func decimalText(minorUnits: Int64, code: String, text: String) throws {
        let currency = try #require(Currency(code: code))
        let money = Money(minorUnits: minorUnits, currency: currency)
        #expect(money.decimalText == text)
        #expect(money.description == "\(text) \(code)")
    }

    @Test("what is written reads back as the same amount", arguments: ["USD", "JPY", "KWD"])
    func roundTrip(code: String) throws {
        let currency = try #require(Currency(code: code))
        var values: [Int64] = [.min, .min + 1, .max, .max - 1]
        values += Array(-1200...1200)
        var power: Int64 = 1
        for _ in 0..<18 {
            power *= 10
            values += [power - 1, power, power + 1, -power - 1, -power, -power + 1]
        }
        // A walk over the whole range with a large prime as its step.
        var value = Int64.min
        for _ in 0..<2000 {
            value = value &+ 9_223_372_036_854_771
            values.append(value)
        }
        for value in values {
            let money = Money(minorUnits: value, currency: currency)
            #expect(try Money(decimal: money.decimalText, currency: currency) == money)
        }
    }
}
