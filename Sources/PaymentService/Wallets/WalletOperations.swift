import Money
import MoneyJSON
import OpenAPI
import ServiceKit

/// What the OpenAPI document says of the routes of accounts, transfers and the ledger.
enum WalletOperations {
    // MARK: - Parts

    static let user = Schema.string(
        "The user, when `X-User-ID` names none; otherwise the same or left out.", pattern: UserID.pattern,
        example: "ann")
    private static let currency = Schema.word("ISO 4217; `USD` if it is left out.", of: Currency.codes)
    static let amount = Money.requestSchema(atLeast: 1).named("AmountRequest")
    static let currencyOfAmount = Schema.word(
        "Of a bare `amount`; `USD` if it is left out. Beside an amount with a currency it is the same one.",
        of: Currency.codes)
    private static let balance = Schema.object(
        "May be more than a single amount can be, by refunds.",
        [
            .required("amount", .integer("Whole minor units of the currency.", example: 5000)),
            .required("currency", .string("ISO 4217.", pattern: "^[A-Z]{3}$", example: "USD")),
        ]
    ).named("Balance")
    private static let version = Schema.integer("Counts the changes of the balance.")
    private static let moment = Schema.string(format: "date-time")
    private static let accountID = APIOperation.Parameter.id("The account, which is yours.")

    // MARK: - Accounts

    private static let account = Schema.object(
        "A user's account in one currency.",
        [
            .required("accountId", .string()), .required("userId", .string()),
            .required("currency", .string("ISO 4217.")), .required("balance", balance), .required("version", version),
            .required("createdAt", moment),
        ]
    ).named("Account")

    private static let accountBalance = Schema.object(
        "What is in an account.",
        [.required("accountId", .string()), .required("balance", balance), .required("version", version)]
    ).named("AccountBalance")

    static let open = APIOperation(
        "openAccount", "Open an account",
        """
        There is one for each user and currency. One that is opened with `X-User-ID` is that user's alone from then on. One that \
        is opened for a `userId` without it may be used without it too, and pays for no checkout, until its user first opens, \
        uses or names it with `X-User-ID`: then it is that user's alone.
        """,
        body: .object(
            isClosed: true,
            [
                .optional("userId", user), .optional("currency", currency),
                .optional("initialBalance", Money.requestSchema(atLeast: 0)),
            ]),
        example: #"{"userId":"ann","currency":"EUR","initialBalance":50.00}"#, mayHaveKey: true,
        answers: [.init("Opened.", account, status: 201)], problems: [.accountExists])

    static let getAccount = APIOperation(
        "getAccount", "One account", parameters: [accountID], answers: [.init("The account.", account)],
        problems: [.accountNotFound])

    static let getBalance = APIOperation(
        "getBalance", "What is in an account", parameters: [accountID],
        answers: [.init("The balance.", accountBalance)], problems: [.accountNotFound])

    static let ownBalance = APIOperation(
        "getOwnBalance", "What is in the user's account in a currency",
        "A user is named by `X-User-ID`, or by `userId`.",
        parameters: [.query("currency", "Of the account.", currency), .query("userId", "Whose account it is.", user)],
        answers: [.init("The balance.", accountBalance)], problems: [.accountNotFound])

    static let transactions = APIOperation(
        "listTransactions", "The entries of an account, newest first",
        parameters: [accountID] + APIOperation.Parameter.page(cursor: .string(pattern: "^[0-9]{1,18}$")),
        answers: [
            .init(
                "A page.",
                .object([
                    .required("transactions", .array(of: entry)),
                    .required("nextCursor", .string("Ask for the next page with it; null at the end.").orNull),
                ]))
        ],
        problems: [.accountNotFound])

    private static let entry = Schema.object(
        "One entry of the ledger, as the account sees it.",
        [
            .required("entry", .integer("Its number, which grows.")),
            .required("transactionId", .string("The charge, refund, movement or transfer that it is of.")),
            .required("type", .word(of: PostingType.allCases.map(\.rawValue))),
            .required("change", Money.schema), .required("at", moment),
        ]
    ).named("AccountEntry")

    // MARK: - Movements

    private static let movement = Schema.object(
        isClosed: true,
        [.required("amount", amount), .optional("currency", currencyOfAmount), .optional("userId", user)])
    private static let movementExample = #"{"userId":"ann","amount":20.00,"currency":"EUR"}"#
    private static let forEver =
        "At once and without a fee. A key that has moved money never moves it again, however late."

    private static func receipt(_ type: PostingType) -> Schema {
        .object([
            .required("transactionId", .string()), .required("type", .word(of: [type.rawValue])),
            .required("accountId", .string()), .required("amount", Money.schema),
            .required("balance", balance), .required("createdAt", moment),
        ])
    }

    static let deposit = APIOperation(
        "deposit", "Put money into the user's account", forEver, body: movement, example: movementExample,
        answers: [.init("It is there, with the balance after it.", receipt(.deposit))],
        problems: [.accountNotFound, .balanceLimitExceeded])

    static let withdraw = APIOperation(
        "withdraw", "Take money out of the user's account", forEver, body: movement, example: movementExample,
        answers: [.init("It is taken, with the balance after it.", receipt(.withdrawal))],
        problems: [.accountNotFound, .paymentDeclined])

    static let transfer = APIOperation(
        "transfer", "Send money from an account of yours to any other in its currency", forEver,
        body: .object(
            isClosed: true,
            [
                .required("sourceAccountId", .string("An account of yours.", length: 1...128)),
                .required("destinationAccountId", .string("Another account.", length: 1...128)),
                .required("amount", amount), .optional("currency", currencyOfAmount),
            ]),
        example: #"{"sourceAccountId":"my-account","destinationAccountId":"another","amount":20.00,"currency":"EUR"}"#,
        answers: [
            .init(
                "Sent.",
                .object([
                    .required("transferId", .string()), .required("status", .word(of: ["completed"])),
                    .required("sourceAccountId", .string()), .required("destinationAccountId", .string()),
                    .required("amount", Money.schema), .required("createdAt", moment),
                ]),
                status: 201)
        ],
        problems: [.accountNotFound, .paymentDeclined, .balanceLimitExceeded])

    // MARK: - Ledger

    static let checkLedger = APIOperation(
        "checkLedger", "Whether the books balance",
        """
        All debits equal all credits, and each balance is the sum of its entries. An outcome is given for a second, or for as long \
        as it took.
        """,
        answers: [
            .init(
                "The outcome, with the sums that show it.",
                .object([
                    .required("balanced", .boolean("Whether everything is as it must be.")),
                    .required("entries", .integer("How many were added up.")),
                    .required("faultyEntries", .integer("Those that no posting can have made.")),
                    .required("accounts", .integer("How many were compared with their entries.")),
                    .required("faultyAccounts", .integer("Those that differ from their entries.")),
                    .required(
                        "currencies",
                        .array(
                            of: .object([
                                .required("currency", .string("ISO 4217.")),
                                .required("debits", .integer("In minor units.")),
                                .required("credits", .integer("In minor units.")),
                            ]))),
                    .required("checkedAt", .string("When the check began.", format: "date-time")),
                ]))
        ],
        problems: [.ledgerCheckRunning])
}
