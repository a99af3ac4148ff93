import Idempotency
import Resilience
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("Accounts", .timeLimit(.minutes(5)))
struct WalletTests {
    // MARK: - Opening

    @Test("an account is opened for the user of X-User-ID, with nothing in it")
    func open() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let answer = try await client.post("/accounts", "{}", user: "ann")
            #expect(answer.status == 201)
            #expect(answer.names() == ["accountId", "userId", "currency", "balance", "version", "createdAt"])
            #expect(answer.text("userId") == "ann")
            #expect(answer.text("currency") == "USD")
            #expect(answer.integer("balance/amount") == 0)
            let id = try #require(answer.text("accountId"))
            #expect(try await client.get("/accounts/\(id)", user: "ann").body == answer.body)
        }
    }

    @Test("an initial balance comes from outside, in the account's currency")
    func initialBalance() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let answer = try await client.post(
                "/accounts", #"{"userId":"ann","initialBalance":12.345,"currency":"KWD"}"#)
            #expect(answer.status == 201)
            #expect(answer.integer("balance/amount") == 12_345)
            #expect(answer.text("balance/currency") == "KWD")
            #expect(answer.integer("version") == 1)
        }
        #expect(try await fixture.books().entries == ["opening cash_in:KWD>ann 12345"])
    }

    @Test("there is one account for each user and currency, whatever the key")
    func oneForEach() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let first = try await client.post("/accounts", #"{"initialBalance":5}"#, key: "a", user: "ann")
            let replay = try await client.post("/accounts", #"{"initialBalance":5}"#, key: "a", user: "ann")
            #expect((replay.status, replay.body, replay.isReplayed) == (201, first.body, true))
            for key in ["b", nil] {
                let again = try await client.post("/accounts", #"{"initialBalance":5}"#, key: key, user: "ann")
                #expect(again.status == 409)
                #expect(again.code == "account-exists")
            }
            #expect(try await client.post("/accounts", #"{"initialBalance":6}"#, key: "a", user: "ann").status == 422)
            #expect(try await client.post("/accounts", #"{"currency":"EUR"}"#, user: "ann").status == 201)
            #expect(try await client.post("/accounts", "{}", user: "bob").status == 201)
            #expect(try await client.balance("ann") == 500)
        }
        #expect(try await fixture.books().entries.count == 1)
    }

    @Test(
        "an account that cannot be opened says why",
        arguments: [
            (#"{}"#, nil, "#/userId"), (#"{"userId":"bob"}"#, "ann", "#/userId"),
            (#"{"userId":"a b"}"#, nil, "#/userId"),
            (#"{"userId":5}"#, nil, "#/userId"), (#"{"currency":"XQX"}"#, "ann", "#/currency"),
            (#"{"currency":"usd"}"#, "ann", "#/currency"), (#"{"initialBalance":-1}"#, "ann", "#/initialBalance"),
            (#"{"initialBalance":0.001}"#, "ann", "#/initialBalance"),
            (#"{"initialBalance":{"amount":1,"currency":"EUR"},"currency":"USD"}"#, "ann", "#/currency"),
            (#"{"balance":1}"#, "ann", "#/balance"),
        ] as [(String, String?, String)])
    func badOpening(_ body: String, _ user: String?, _ pointer: String) async throws {
        try await PaymentFixture.simulated().run { client in
            let answer = try await client.post("/accounts", body, user: user)
            #expect(answer.status == 422)
            #expect(answer.text("errors/0/pointer") == pointer)
        }
    }

    // MARK: - Money in and out

    @Test("deposits and withdrawals move the balance at once and without a fee")
    func inAndOut() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let id = try await client.openWallet("ann")
            let deposit = try await client.deposit("10.00", key: "d", user: "ann")
            #expect(deposit.status == 200)
            #expect(
                deposit.names() == ["transactionId", "type", "accountId", "amount", "balance", "createdAt"])
            #expect(deposit.text("accountId") == id)
            #expect(deposit.integer("balance/amount") == 1000)
            let withdrawal = try await client.withdraw("2.50", key: "w", user: "ann")
            #expect(withdrawal.text("type") == "withdrawal")
            #expect(withdrawal.integer("balance/amount") == 750)
            #expect(try await client.balance("ann") == 750)
            #expect(try await client.get("/accounts/\(id)/balance", user: "ann").integer("version") == 2)
        }
        #expect(
            try await fixture.books().entries == ["deposit cash_in:USD>ann 1000", "withdrawal ann>cash_in:USD 250"])
    }

    @Test("more than there is cannot be taken out, and the key may be used again when there is enough")
    func insufficient() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "10.00")
            let refused = try await client.withdraw("10.01", key: "w", user: "ann")
            #expect(refused.status == 402)
            #expect(refused.text("declineCode") == "insufficient_funds")
            #expect(try await client.balance("ann") == 1000)
            #expect(try await client.withdraw("9.00", key: "w", user: "ann").status == 422)
            _ = try await client.deposit("0.01", key: "d", user: "ann")
            #expect(try await client.withdraw("10.01", key: "w", user: "ann").status == 200)
            #expect(try await client.balance("ann") == 0)
        }
    }

    @Test("a command is carried out once for its key, and needs one", arguments: ["deposit", "withdraw"])
    func once(_ command: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "10.00")
            _ = try await client.openWallet("bob", "10.00")
            let path = "/accounts/\(command)"
            let first = try await client.post(path, #"{"amount":1.00}"#, key: "k", user: "ann")
            let replay = try await client.post(
                path, #"{ "amount" : {"currency":"USD","amount":100} }"#, key: "k", user: "ann")
            #expect((replay.status, replay.body, replay.isReplayed) == (200, first.body, true))
            #expect(
                try await client.post(path, #"{"amount":2}"#, key: "k", user: "ann").code == "idempotency-key-reused")
            #expect(try await client.post(path, #"{"amount":1.00}"#, user: "ann").code == "idempotency-key-missing")
            #expect(try await client.post(path, #"{"amount":1.00}"#, key: "k", user: "bob").isReplayed == false)
        }
        #expect(try await fixture.books().entries.count == 4)
    }

    @Test("a key moves money once for ever, also when its answer has been forgotten", arguments: [200, 400])
    func forEver(days: Int) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let (ann, bob) = (try await client.openWallet("ann", "10.00"), try await client.openWallet("bob"))
            let deposit = try await client.deposit("1.00", key: "k", user: "ann")
            let transfer = try await client.transfer(ann, bob, "3.00", key: "k", user: "ann")
            fixture.test.time.advance(by: .seconds(86_400 * days))
            let keys = fixture.environment.keys
            let now = fixture.test.time.now
            _ = try await fixture.test.store.transaction { try keys.forgetExpired(now: now, limit: 100, in: $0) }
            // Nor does another command with it change what it stands for.
            #expect(try await client.deposit("2.00", key: "k", user: "ann").code == "idempotency-key-reused")
            let again = try await client.deposit("1.00", key: "k", user: "ann")
            #expect((again.status, again.body, again.isReplayed) == (200, deposit.body, true))
            let transferAgain = try await client.transfer(ann, bob, "3.00", key: "k", user: "ann")
            #expect((transferAgain.status, transferAgain.body) == (201, transfer.body))
            #expect(try await client.deposit("2.00", key: "k", user: "ann").code == "idempotency-key-reused")
            #expect(try await client.balance("ann") == 800)
        }
    }

    @Test("a balance stays an amount of money: what would pass that is refused")
    func limit() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let largest = #"{"amount":\#(Int64.max),"currency":"USD"}"#
            let (ann, bob) = (try await client.openWallet("ann", largest), try await client.openWallet("bob", "1.00"))
            let refused = try await client.deposit("0.01", key: "d", user: "ann")
            #expect(refused.status == 409)
            #expect(refused.code == "balance-limit-exceeded")
            #expect(try await client.transfer(bob, ann, "0.01", key: "t", user: "bob").code == "balance-limit-exceeded")
            #expect(try await client.withdraw(largest, key: "w", user: "ann").status == 200)
            #expect(try await client.balance("ann") == 0)
        }
        try await fixture.expectSoundBooks()
    }

    @Test(
        "a bad amount is refused and not remembered",
        arguments: ["0", "-1", "0.001", #""1""#, "1e400", #"{"amount":1,"currency":"XQX"}"#, "null"])
    func badAmount(_ amount: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "10.00")
            #expect(try await client.deposit(amount, key: "k", user: "ann").status == 422)
            #expect(try await client.withdraw(amount, key: "k", user: "ann").status == 422)
            #expect(try await client.deposit("1.00", key: "k", user: "ann").status == 200)
        }
    }

    @Test("what comes when its caller has stopped waiting is not begun (OP-06)")
    func late() async throws {
        let fixture = try PaymentFixture.simulated()
        let time = fixture.test.time
        let store = LateStore(fixture.test.store) { time.advance(by: .seconds(1)) }
        let late = PaymentFixture(
            fixture.test, fixture.test.environment(on: store),
            SimulatedCard(allowsTestMethods: true, sleeper: fixture.test.sleeper))
        let ann = try await fixture.run { try await $0.openWallet("ann", "10.00") }
        let bob = try await fixture.run { try await $0.openWallet("bob") }
        let headers = ["X-Request-Timeout-Ms": "500"]
        let commands = [
            ("/accounts", #"{"currency":"EUR"}"#), ("/accounts/deposit", #"{"amount":1}"#),
            ("/accounts/withdraw", #"{"amount":1}"#),
            ("/transfers", #"{"sourceAccountId":"\#(ann)","destinationAccountId":"\#(bob)","amount":1}"#),
            ("/payments/deposit", #"{"amount":1}"#),
        ]
        try await late.run { client in
            for (path, body) in commands {
                let answer = try await client.post(path, body, key: "k", user: "ann", headers: headers)
                #expect(answer.code == "deadline-exceeded", "\(path)")
            }
        }
        try await fixture.run { client in
            let balance = try await client.balance("ann")
            #expect(balance == 1000)
            for (path, body) in commands {
                #expect(try await client.post(path, body, key: "k", user: "ann").status < 300, "\(path)")
            }
        }
    }

    @Test("an account that is not there is 404, in this currency too")
    func unknown() async throws {
        try await PaymentFixture.simulated().run { client in
            _ = try await client.openWallet("ann", "10.00")
            #expect(try await client.deposit("1.00", key: "a", user: "bob").code == "account-not-found")
            let euro = try await client.deposit("1.00", key: "b", user: "ann", more: #","currency":"EUR""#)
            #expect(euro.code == "account-not-found")
            #expect(try await client.get("/accounts/balance?currency=EUR", user: "ann").status == 404)
            #expect(try await client.get("/accounts/nobody", user: "ann").code == "account-not-found")
            #expect(try await client.get("/accounts/sales:USD").status == 404)
        }
    }

    @Test(
        "the balance is asked for by user and currency",
        arguments: ["?currency=usd", "?limit=1", "?userId=bob", "?currency=EUR&currency=USD"])
    func badQuery(_ query: String) async throws {
        try await PaymentFixture.simulated().run { client in
            _ = try await client.openWallet("ann", "10.00")
            #expect(try await client.get("/accounts/balance\(query)", user: "ann").code == "invalid-parameter")
            #expect(try await client.get("/accounts/balance").code == "invalid-parameter")
        }
    }

    // MARK: - Whose it is

    @Test("another user's account reads as one that does not exist (INV-15)")
    func foreign() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let (ann, bob) = (try await client.openWallet("ann", "10.00"), try await client.openWallet("bob", "10.00"))
            for user in ["bob", nil] {
                for path in ["", "/balance", "/transactions"] {
                    let answer = try await client.get("/accounts/\(ann)\(path)", user: user)
                    #expect(answer.code == "account-not-found", "\(path)")
                }
                #expect(try await client.transfer(ann, bob, "1.00", key: "t", user: user).code == "account-not-found")
            }
            #expect(
                try await client.deposit("1.00", key: "d", more: #","userId":"ann""#).code == "account-not-found")
            #expect(
                try await client.withdraw("1.00", key: "w", more: #","userId":"ann""#).code == "account-not-found")
            #expect(try await client.get("/accounts/balance?userId=ann").status == 404)
            #expect(try await client.balance("ann") == 1000)
        }
    }

    @Test("what was opened in nobody's name can be used in nobody's name, and by its user")
    func anonymous() async throws {
        try await PaymentFixture.simulated().run { client in
            let opened = try await client.post("/accounts", #"{"userId":"u1","initialBalance":10}"#)
            let id = try #require(opened.text("accountId"))
            let other = try await client.post("/accounts", #"{"userId":"u2"}"#)
            let otherID = try #require(other.text("accountId"))
            #expect(try await client.get("/accounts/\(id)").status == 200)
            #expect(try await client.get("/accounts/\(id)", user: "u1").status == 200)
            #expect(try await client.get("/accounts/\(id)", user: "u2").status == 404)
            #expect(try await client.get("/accounts/balance?userId=u1").integer("balance/amount") == 1000)
            #expect(try await client.deposit("1.00", key: "d", more: #","userId":"u1""#).status == 200)
            #expect(try await client.transfer(id, otherID, "4.00", key: "t").status == 201)
            #expect(try await client.balance("u2") == 400)
        }
    }

    @Test("a user who comes in person takes over what was opened for them in nobody's name, by whatever they do first")
    func claimed() async throws {
        let commands: [@Sendable (RouteClient, String) async throws -> RouteResponse] = [
            { client, _ in try await client.post("/accounts", "{}", user: "bob") },
            { client, _ in try await client.deposit("1.00", key: "first", user: "bob") },
            { client, _ in try await client.withdraw("1.00", key: "first", user: "bob") },
            { client, id in
                let other = try await client.openWallet("eve")
                return try await client.transfer(id, other, "1.00", key: "first", user: "bob")
            },
            { client, _ in try await client.charge("1.00", key: "first", user: "bob", more: #","method":"wallet""#) },
        ]
        for (number, command) in commands.enumerated() {
            try await PaymentFixture.simulated().run { client in
                let opened = try await client.post("/accounts", #"{"userId":"bob","initialBalance":5}"#)
                let id = try #require(opened.text("accountId"))
                #expect(try await client.get("/accounts/\(id)").status == 200)
                let answer = try await command(client, id)
                #expect(number == 0 ? answer.code == "account-exists" : answer.status < 300, "\(number)")
                let balance = try await client.balance("bob")
                let more = #","userId":"bob""#
                #expect(
                    try await client.withdraw("0.01", key: "w", more: more).code == "account-not-found", "\(number)")
                #expect(try await client.deposit("0.01", key: "d", more: more).code == "account-not-found", "\(number)")
                #expect(try await client.get("/accounts/\(id)").code == "account-not-found", "\(number)")
                #expect(try await client.balance("bob") == balance)
            }
        }
    }

    @Test("the database lets an account be claimed by its own user, once")
    func claimedOnce() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in _ = try await client.post("/accounts", #"{"userId":"bob"}"#) }
        func open(by user: String) async throws {
            try await fixture.test.store.transaction { transaction in
                _ = try transaction.run("UPDATE accounts SET opened_by = ? WHERE user_id = 'bob'", [.text(user)])
            }
        }
        await #expect(throws: StoreError.self) { try await open(by: "eve") }
        try await open(by: "bob")
        for user in ["", "eve"] { await #expect(throws: StoreError.self) { try await open(by: user) } }
        await #expect(throws: StoreError.self) {
            try await fixture.test.store.transaction { transaction in
                _ = try transaction.run("UPDATE accounts SET user_id = 'eve'", [])
            }
        }
    }

    @Test("to have a key does not help anybody to another's account: not its answers, and not the key (IK-14, INV-15)")
    func keysOfOthers() async throws {
        try await PaymentFixture.simulated().run { client in
            let named = #"{"userId":"ann","initialBalance":5}"#
            let opened = try await client.post("/accounts", #"{"initialBalance":5}"#, key: "k", user: "ann")
            #expect(opened.status == 201)
            #expect(try await client.post("/accounts", named, key: "k").code == "account-exists")
            #expect(try await client.deposit("1.00", key: "k", user: "ann").status == 200)
            let more = #","userId":"ann""#
            #expect(try await client.deposit("1.00", key: "k", more: more).code == "account-not-found")
            // Nor does it take the key from her.
            #expect(try await client.withdraw("1.00", key: "w", more: more).code == "account-not-found")
            #expect(try await client.withdraw("2.00", key: "w", user: "ann").status == 200)
            #expect(try await client.balance("ann") == 400)
        }
    }

    // MARK: - Statements

    @Test("the transactions of an account are listed newest first, page by page, and add up to its balance")
    func transactions() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let (ann, bob) = (try await client.openWallet("ann", "10.00"), try await client.openWallet("bob", "1.00"))
            _ = try await client.deposit("5.00", key: "d", user: "ann")
            _ = try await client.transfer(ann, bob, "2.00", key: "t", user: "ann")
            _ = try await client.transfer(bob, ann, "0.50", key: "t", user: "bob")
            _ = try await client.withdraw("1.00", key: "w", user: "ann")
            _ = try await client.charge(id: "c", "3.00", key: "c", user: "ann", method: "wallet")
            _ = try await client.refund("c", "1.00", user: "ann")
            var (types, changes): ([String], [Int64]) = ([], [])
            var cursor: String?
            repeat {
                let page = try await client.get(
                    "/accounts/\(ann)/transactions?limit=3" + (cursor.map { "&cursor=\($0)" } ?? ""), user: "ann")
                #expect(page.status == 200)
                for index in 0..<(page.count("transactions") ?? 0) {
                    types.append(page.text("transactions/\(index)/type") ?? "")
                    changes.append(page.integer("transactions/\(index)/change/amount") ?? 0)
                }
                cursor = page.text("nextCursor")
            } while cursor != nil
            #expect(types == ["refund", "charge", "withdrawal", "transfer", "transfer", "deposit", "opening"])
            #expect(changes == [100, -300, -100, 50, -200, 500, 1000])
            #expect(try await client.balance("ann") == changes.reduce(0, +))
            for query in ["cursor=x", "cursor=-5", "cursor=%2B5", "cursor=9223372036854775808", "limit=1&limit=2"] {
                let page = try await client.get("/accounts/\(ann)/transactions?\(query)", user: "ann")
                #expect(page.code == "invalid-parameter", "\(query)")
            }
        }
    }
}
