import Money
import OpenAPI

extension Money {
    /// Money as it is answered.
    public static let schema = Schema.object(
        "An amount of money.",
        [
            .required("amount", .integer("Whole minor units of the currency: cents of a dollar, yen.", example: 2000)),
            .required("currency", .string("ISO 4217.", pattern: "^[A-Z]{3}$", example: "USD")),
        ]
    ).named("Money")

    /// Money as `init(json:in:)` takes it, of at least one minor unit.
    public static let requestSchema = Schema.oneOf(
        "Whole minor units of a currency, or a bare decimal of US dollars with at most two digits after the point.",
        of: [
            .object(
                isClosed: true,
                [
                    .required("amount", .integer("Whole minor units.", in: 1...Int64.max, example: 2000)),
                    .required("currency", .word("ISO 4217.", of: Currency.codes)),
                ]),
            .decimal(
                "US dollars.", minimum: "0.01", maximum: Money(minorUnits: Int64.max, currency: .usd).decimalText,
                multipleOf: "0.01", example: "20.00"),
        ]
    ).named("MoneyRequest")

    /// Money as `init(json:in:default:)` takes it in a message that has a `currency` of its own. How many digits a decimal may have
    /// depends on that, which the schema leaves open.
    ///
    /// - Parameter minimum: 0, or 1 minor unit.
    public static func requestSchema(atLeast minimum: Int64) -> Schema {
        .oneOf(
            """
            Whole minor units of a currency, or a bare decimal of the `currency` beside it, with at most as many digits after the \
            point as that has: two for dollars, none for yen, three for dinars.
            """,
            of: [
                .object(
                    isClosed: true,
                    [
                        .required("amount", .integer("Whole minor units.", in: minimum...Int64.max, example: 2000)),
                        .required("currency", .word("ISO 4217.", of: Currency.codes)),
                    ]),
                .decimal(
                    "Of `currency`.", minimum: minimum == 0 ? "0" : "0.001", maximum: String(Int64.max),
                    multipleOf: "0.001", example: "20.00"),
            ])
    }

    /// The exact decimal that stands beside an amount.
    public static let feeSchema = Schema.decimal(
        "The same as a decimal of the currency's major unit.", example: "20.00")
}
