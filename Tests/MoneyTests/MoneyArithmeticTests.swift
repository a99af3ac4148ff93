import Money
import Testing

@Suite("Money arithmetic")
struct MoneyArithmeticTests {
    private func dollars(_ minorUnits: Int64) -> Money { Money(minorUnits: minorUnits, currency: .usd) }

    @Test(
        "a sum is exact",
        arguments: [(1, 2, 3), (10, 20, 30), (-5, 5, 0), (.max - 1, 1, .max), (.min, .max, -1), (.min + 1, -1, .min)]
            as [(Int64, Int64, Int64)])
    func sum(left: Int64, right: Int64, sum: Int64) throws {
        #expect(try dollars(left).adding(dollars(right)) == dollars(sum))
    }

    @Test(
        "a sum that does not fit is reported",
        arguments: [(.max, 1), (.max, .max), (.min, -1), (.min, .min)] as [(Int64, Int64)])
    func sumOverflow(left: Int64, right: Int64) {
        #expect(throws: MoneyError.overflow) { try dollars(left).adding(dollars(right)) }
    }

    @Test(
        "a difference is exact",
        arguments: [(3, 2, 1), (2, 3, -1), (.min, -1, .min + 1), (.max, .max, 0), (-1, .max, .min), (-1, .min, .max)]
            as [(Int64, Int64, Int64)])
    func difference(left: Int64, right: Int64, difference: Int64) throws {
        #expect(try dollars(left).subtracting(dollars(right)) == dollars(difference))
    }

    @Test(
        "a difference that does not fit is reported",
        arguments: [(.min, 1), (0, .min), (.max, -1)] as [(Int64, Int64)])
    func differenceOverflow(left: Int64, right: Int64) {
        #expect(throws: MoneyError.overflow) { try dollars(left).subtracting(dollars(right)) }
    }

    @Test(
        "a product is exact",
        arguments: [
            (1000, 2, 2000), (1000, 0, 0), (-7, 6, -42), (.max, 1, .max), (.min, 1, .min), (.max, -1, .min + 1),
        ]
            as [(Int64, Int64, Int64)])
    func product(amount: Int64, count: Int64, product: Int64) throws {
        #expect(try dollars(amount).multiplied(by: count) == dollars(product))
    }

    @Test(
        "a product that does not fit is reported",
        arguments: [(.max, 2), (.min, 2), (.min, -1), (1 << 32, 1 << 31), (-(1 << 32), (1 << 31) + 1)]
            as [(Int64, Int64)])
    func productOverflow(amount: Int64, count: Int64) {
        #expect(throws: MoneyError.overflow) { try dollars(amount).multiplied(by: count) }
    }

    @Test("amounts of two currencies are neither added nor subtracted nor equal")
    func mismatch() throws {
        let euro = Money(minorUnits: 100, currency: try #require(Currency(code: "EUR")))
        #expect(throws: MoneyError.currencyMismatch) { try dollars(100).adding(euro) }
        #expect(throws: MoneyError.currencyMismatch) { try dollars(100).subtracting(euro) }
        #expect(euro != dollars(100))
    }

    @Test("a mismatch is reported before an overflow, since the sum has no meaning at all")
    func mismatchFirst() throws {
        let yen = Money(minorUnits: .max, currency: try #require(Currency(code: "JPY")))
        #expect(throws: MoneyError.currencyMismatch) { try yen.adding(dollars(1)) }
    }

    @Test("zero of a currency changes no sum")
    func zero() throws {
        #expect(Money.zero(.usd).minorUnits == 0)
        #expect(try dollars(77).adding(.zero(.usd)) == dollars(77))
    }
}
