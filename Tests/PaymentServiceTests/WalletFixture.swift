import Money
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

extension RouteClient {
    /// Opens an account with so many dollars in it. - Returns: its id.
    func openWallet(_ user: String, _ dollars: String = "0", currency: String? = nil) async throws -> String {
        let currency = currency.map { #","currency":"\#($0)""# } ?? ""
        let answer = try await post("/accounts", #"{"initialBalance":\#(dollars)\#(currency)}"#, user: user)
        #expect(answer.status == 201, "\(String(decoding: answer.body, as: UTF8.self))")
        return try #require(answer.text("accountId"))
    }

    func deposit(_ amount: String, key: String, user: String? = nil, more: String = "") async throws -> RouteResponse {
        try await post("/accounts/deposit", #"{"amount":\#(amount)\#(more)}"#, key: key, user: user)
    }

    func withdraw(_ amount: String, key: String, user: String? = nil, more: String = "") async throws -> RouteResponse {
        try await post("/accounts/withdraw", #"{"amount":\#(amount)\#(more)}"#, key: key, user: user)
    }

    func transfer(
        _ source: String, _ destination: String, _ amount: String, key: String, user: String? = nil, more: String = ""
    ) async throws -> RouteResponse {
        let body =
            #"{"sourceAccountId":"\#(source)","destinationAccountId":"\#(destination)","amount":\#(amount)\#(more)}"#
        return try await post("/transfers", body, key: key, user: user)
    }

    /// What is in a user's account, in minor units; nil when there is none.
    func balance(_ user: String, _ currency: String = "USD") async throws -> Int64? {
        try await get("/accounts/balance?currency=\(currency)", user: user).integer("balance/amount")
    }
}

extension PaymentFixture {
    /// What stands in the ledger: balances by account id, entries as `type debit>credit amount`.
    struct Books: Equatable {
        var balances: [String: Int128] = [:]
        var entries: [String] = []
        /// Balances made again from the entries, by accounts of the same names.
        var sums: [String: Int128] = [:]
        var users: [String: String] = [:]
    }

    /// The whole ledger, added up apart from the code that it is kept by.
    func books() async throws -> Books {
        try await environment.store.transaction { transaction in
            var books = Books()
            var names: [Int64: (String, Int64)] = [:]
            let accounts = try transaction.all(
                """
                SELECT account_number, account_id, debit_sign, balance_high, balance_low, ifnull(user_id, '') FROM accounts
                LIMIT 100000
                """, []
            ) {
                ($0.integer(0), $0.text(1), $0.integer(2), Int128(high: $0.integer(3), low: $0.integer(4)), $0.text(5))
            }
            for (number, id, sign, balance, user) in accounts {
                let name = user.isEmpty ? id : user
                names[number] = (id, sign)
                books.balances[id] = balance
                books.sums[id] = 0
                books.users[id] = name
            }
            let entries = try transaction.all(
                """
                SELECT type, debit_account, credit_account, amount FROM ledger_entries ORDER BY entry_number LIMIT 100000
                """, []
            ) { ($0.text(0), $0.integer(1), $0.integer(2), $0.integer(3)) }
            for (type, debit, credit, amount) in entries {
                guard let debited = names[debit], let credited = names[credit] else { continue }
                books.sums[debited.0, default: 0] += Int128(debited.1) * Int128(amount)
                books.sums[credited.0, default: 0] -= Int128(credited.1) * Int128(amount)
                books.entries.append(
                    "\(type) \(books.users[debited.0] ?? "")>\(books.users[credited.0] ?? "") \(amount)")
            }
            return books
        }
    }

    /// Asks the provider about what has no answer until all has one.
    func settleAll() async throws {
        try await eventually {
            test.time.advance(by: ChargeBook.longestWait)
            try await settleOpen()
            return try await environment.store.transaction { transaction in
                try transaction.first(
                    """
                    SELECT (SELECT count(*) FROM charges WHERE status = 'pending')
                        + (SELECT count(*) FROM refunds WHERE status = 'pending')
                    """, []
                ) { $0.integer(0) } == 0
            }
        }
    }

    /// INV-11, looked at with other eyes than those of the check that the service has.
    func expectSoundBooks(_ comment: Comment? = nil) async throws {
        let books = try await books()
        #expect(books.balances == books.sums, comment)
        for (account, balance) in books.balances where !account.contains(":") { #expect(balance >= 0, comment) }
    }
}
