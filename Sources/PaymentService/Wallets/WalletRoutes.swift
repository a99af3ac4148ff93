import Hummingbird
import Idempotency
import Money
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// The HTTP routes of accounts, transfers and the ledger.
struct WalletRoutes: Sendable {
    let environment: ServiceEnvironment
    let wallets: Wallets
    let check: LedgerCheck

    init(_ environment: ServiceEnvironment, _ check: LedgerCheck) {
        self.environment = environment
        wallets = Wallets(environment: environment)
        self.check = check
    }

    func add(to routes: inout RouteCatalogue) {
        typealias Described = WalletOperations
        routes.post("/accounts", as: Described.open, open)
        routes.keyedCommand("/accounts/deposit", as: Described.deposit) { command, key in
            let request = try MovementRequest(json: command.body, caller: command.user)
            return try await wallets.deposit(request, by: Caller(command), key: key)
        }
        routes.keyedCommand("/accounts/withdraw", as: Described.withdraw) { command, key in
            let request = try MovementRequest(json: command.body, caller: command.user)
            return try await wallets.withdraw(request, by: Caller(command), key: key)
        }
        routes.keyedCommand("/transfers", as: Described.transfer) { command, key in
            try await wallets.transfer(try TransferRequest(json: command.body), by: Caller(command), key: key)
        }
        routes.get("/accounts/balance", as: Described.ownBalance, ownBalance)
        routes.get("/accounts/:id", as: Described.getAccount) { request, context in
            .json(try await wallet(context).json())
        }
        routes.get("/accounts/:id/balance", as: Described.getBalance) { request, context in
            .json(try await wallet(context).balanceJSON())
        }
        routes.get("/accounts/:id/transactions", as: Described.transactions, transactions)
        routes.get("/ledger/check", as: Described.checkLedger, checkLedger)
    }

    // MARK: - Accounts

    /// The key may be left out: there is one account for each user and currency, so a repetition opens no other.
    private func open(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let key = try request.optionalIdempotencyKey()
        let command = try OpenRequest(json: try request.json(context), caller: context.user)
        return .command(try await wallets.open(command, by: Caller(context), key: key))
    }

    /// What is in the user's account in a currency: `?currency=USD`, and `?userId=` when `X-User-ID` names nobody.
    private func ownBalance(_ request: Request, _ context: ServiceContext) async throws -> Response {
        var (currency, user) = (Currency.usd, context.user)
        try request.checkQueryHasNoRepetition()
        for (name, value) in request.uri.queryParameters {
            switch name {
            case "currency":
                guard let named = Currency(code: String(value)) else {
                    throw Problem(
                        .invalidParameter, "currency must be the code of a currency in ISO 4217, in upper case.")
                }
                currency = named
            case "userId":
                guard user.isEmpty || user == value, UserID.isValid(String(value)) else {
                    throw Problem(.invalidParameter, "userId must be the user of X-User-ID, or be left out.")
                }
                user = String(value)
            default: throw Problem(.invalidParameter, "The only query parameters are currency and userId.")
            }
        }
        guard !user.isEmpty else {
            throw Problem(.invalidParameter, "Name a user, by X-User-ID or by userId.")
        }
        let (name, unit, caller) = (user, currency, context.user)
        let wallet = try await environment.store.transaction { transaction in
            try Ledger(transaction: transaction).wallet(of: name, unit, visibleTo: caller)
        }
        guard let wallet else { throw Problem.noAccount(in: currency, for: context.user) }
        return .json(wallet.balanceJSON())
    }

    private func wallet(_ context: ServiceContext) async throws -> Wallet {
        let id = try context.pathParameter("id")
        let wallet = try await environment.store.transaction { try Ledger(transaction: $0).wallet(id: id) }
        // Another user's account reads as one that does not exist (INV-15).
        guard let wallet, wallet.isVisible(to: context.user) else { throw Problem.accountNotFound }
        return wallet
    }

    private func transactions(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let (limit, cursor) = try request.page()
        guard let before = cursor.map({ Int64(cursor: $0) }) ?? Int64.max else { throw Problem.badCursor }
        let wallet = try await wallet(context)
        let found = try await environment.store.transaction { transaction in
            try Ledger(transaction: transaction).entries(of: wallet, before: before, limit: limit + 1)
        }
        return Page(found, limit: limit) { String($0.number) }.response("transactions") { entry, json in
            entry.write(to: &json)
        }
    }

    // MARK: - Ledger

    /// Whether the books balance, with the sums that show it. Which accounts do not is for the operator: `/audit/accounts`.
    private func checkLedger(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let report = try await check.outcome()
        return .json { json in
            json.object { json in
                json.bool("balanced", report.isBalanced)
                json.integer("entries", report.progress.through)
                json.integer("faultyEntries", report.progress.faultyEntries)
                json.integer("accounts", report.accounts)
                json.integer("faultyAccounts", report.faultyAccounts)
                json.array("currencies") { json in
                    for (currency, totals) in report.progress.totals.sorted(by: { $0.key < $1.key }) {
                        json.object { json in
                            json.string("currency", currency)
                            json.integer("debits", totals.debits)
                            json.integer("credits", totals.credits)
                        }
                    }
                }
                json.string("checkedAt", report.at.description)
            }
        }
    }
}

extension Problem {
    static var accountNotFound: Problem { Problem(.accountNotFound, "There is no account of yours with this id.") }
}
