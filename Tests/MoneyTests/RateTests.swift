import Money
import SeededRandom
import Testing

@Suite("Shares of an amount")
struct RateTests {
    private func share(_ rate: String, of minorUnits: Int64) throws -> Share {
        try Rate(decimal: rate).share(of: Money(minorUnits: minorUnits, currency: .usd))
    }

    @Test(
        "a share is rounded half to even, and what the rounding leaves over is told",
        arguments: [
            ("0.02", 10_000, 200, 0), ("0.02", 1, 0, 20_000_000), ("0.02", 24, 0, 480_000_000),
            ("0.02", 25, 0, 500_000_000), ("0.02", 26, 1, -480_000_000), ("0.02", 75, 2, -500_000_000),
            ("0.02", 125, 2, 500_000_000), ("0.5", 1, 0, 500_000_000), ("0.5", 3, 2, -500_000_000),
            ("0.5", -1, 0, -500_000_000), ("0.5", -3, -2, 500_000_000), ("1", .max, .max, 0), ("1", .min, .min, 0),
            ("0", .max, 0, 0), ("0.000000001", 500_000_000, 0, 500_000_000),
            ("0.000000001", 500_000_001, 1, -499_999_999),
        ] as [(String, Int64, Int64, Int64)])
    func rounding(_ rate: String, _ amount: Int64, _ share: Int64, _ remainder: Int64) throws {
        let found = try self.share(rate, of: amount)
        #expect(found.amount.minorUnits == share)
        #expect(found.remainderBillionths == remainder)
    }

    @Test("share and remainder are together the exact share, for any amount and any rate")
    func nothingIsLost() throws {
        var random = SeededGenerator(seed: 1)
        for _ in 0..<20_000 {
            let billionths = Int64.random(in: 0...1_000_000_000, using: &random)
            let digits = String(billionths)
            let decimal =
                billionths == 1_000_000_000 ? "1" : "0." + String(repeating: "0", count: 9 - digits.count) + digits
            let rate = try Rate(decimal: decimal)
            #expect(rate.billionths == billionths)
            let amount =
                Bool.random(using: &random)
                ? Int64.random(in: .min ... .max, using: &random)
                : Int64.random(in: -200...200, using: &random)
            let share = rate.share(of: Money(minorUnits: amount, currency: .usd))
            let exact = Int128(amount) * Int128(billionths)
            #expect(Int128(share.amount.minorUnits) * 1_000_000_000 + Int128(share.remainderBillionths) == exact)
            #expect(abs(share.remainderBillionths) <= 500_000_000)
            if abs(share.remainderBillionths) == 500_000_000 { #expect(share.amount.minorUnits.isMultiple(of: 2)) }
        }
    }

    @Test("over many amounts half to even takes no side: the remainders of all cents of a dollar cancel out")
    func noSide() throws {
        let remainders = try (Int64(0)..<100).map { try share("0.5", of: $0).remainderBillionths }
        #expect(remainders.reduce(0, +) == 0)
    }

    @Test(
        "a rate is a decimal from 0 to 1 with at most nine digits",
        arguments: [
            ("-0.01", MoneyError.overflow), ("1.000000001", .overflow), ("0.0000000001", .tooManyDigits),
            ("2 %", .notANumber), ("", .notANumber),
        ])
    func bad(_ text: String, _ error: MoneyError) {
        #expect(throws: error) { try Rate(decimal: text) }
    }

    @Test("a rate is shown as short as it can be", arguments: ["0.02", "0", "1", "0.5", "0.000000001"])
    func text(_ text: String) throws {
        #expect(try Rate(decimal: text).description == text)
    }
}
