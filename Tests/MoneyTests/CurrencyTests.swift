import Money
import Testing

@Suite("Currency")
struct CurrencyTests {
    @Test(
        "a currency has the exponent that ISO 4217 gives it",
        arguments: [
            ("JPY", 0), ("KRW", 0), ("CLP", 0), ("VND", 0), ("UGX", 0), ("USD", 2), ("EUR", 2), ("GBP", 2), ("ZWG", 2),
            ("XCG", 2), ("ANG", 2), ("BGN", 2),
            ("AED", 2), ("KWD", 3), ("BHD", 3), ("TND", 3), ("JOD", 3), ("OMR", 3),
        ])
    func exponent(code: String, exponent: Int) throws {
        let currency = try #require(Currency(code: code))
        #expect(currency.exponent == exponent)
        #expect(currency.code == code)
        #expect(currency.description == code)
    }

    @Test(
        "a code that names no accepted currency is refused",
        arguments: [
            "", "usd", "Usd", "US", "USDD", " USD", "USD ", "XXX", "XTS", "XAU", "CLF", "ABC", "US\n", "\u{FF35}SD",
        ])
    func unknown(code: String) {
        #expect(Currency(code: code) == nil)
    }

    @Test("the default currency is the dollar of the table")
    func dollar() {
        #expect(Currency.usd == Currency(code: "USD"))
    }
}
