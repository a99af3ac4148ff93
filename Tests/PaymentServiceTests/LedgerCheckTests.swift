import AuditAPI
import Prometheus
import Resilience
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("The check of the ledger", .timeLimit(.minutes(5)))
struct LedgerCheckTests {
    /// Does to the file what no code of ours does.
    private func tamper(_ fixture: PaymentFixture, _ statements: String...) async throws {
        try await fixture.test.store.transaction { transaction in
            for statement in statements { try transaction.run(statement, []) }
        }
    }

    /// A second process on the same store.
    private func restarted(_ fixture: PaymentFixture) -> PaymentFixture {
        PaymentFixture(
            fixture.test, fixture.environment, SimulatedCard(allowsTestMethods: true, sleeper: fixture.test.sleeper)
        )
    }

    @Test("an empty ledger is balanced")
    func empty() async throws {
        try await PaymentFixture.simulated().run { client in
            let check = try await client.get("/ledger/check")
            #expect(check.status == 200)
            #expect(check.value("balanced") == .bool(true))
            #expect(check.count("currencies") == 0)
        }
    }

    @Test("it tells the debits and credits of each currency, and how much was looked at")
    func sums() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let ann = try await client.openWallet("ann", "50.00")
            let bob = try await client.openWallet("bob", "0")
            _ = try await client.openWallet("ann", "1.250", currency: "KWD")
            #expect(try await client.transfer(ann, bob, "10.00", key: "t", user: "ann").status == 201)
            let check = try await client.get("/ledger/check")
            #expect(check.value("balanced") == .bool(true))
            #expect(check.integer("entries") == 3)
            #expect(check.integer("accounts") == 5)
            #expect(check.text("currencies/0/currency") == "KWD")
            #expect(check.integer("currencies/0/debits") == 1250)
            #expect(check.integer("currencies/1/debits") == 6000)
            #expect(check.integer("currencies/1/credits") == 6000)
        }
    }

    @Test("who asks again within a second is given the same, and then only what came since is added up")
    func again() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "50.00")
            let first = try await client.get("/ledger/check")
            _ = try await client.deposit("1.00", key: "d", user: "ann")
            #expect(try await client.get("/ledger/check").body == first.body)
            fixture.test.time.advance(by: .seconds(1))
            let second = try await client.get("/ledger/check")
            #expect(second.integer("entries") == 2)
            #expect(second.integer("currencies/0/credits") == 5100)
            #expect(second.value("balanced") == .bool(true))
        }
    }

    @Test("it says when it began, whenever the check before it ended")
    func checkedAt() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            for seconds in [5, 7] {
                fixture.test.time.advance(by: .seconds(seconds))
                let now = fixture.test.time.now
                let check = try await client.get("/ledger/check")
                #expect(check.text("checkedAt") == now.description)
            }
        }
    }

    @Test("who has waited long enough for a long check is told that it is running, and it goes on to its end")
    func patience() async throws {
        let fixture = try PaymentFixture.simulated()
        _ = try await fixture.run { try await $0.openWallet("ann", "1.00") }
        let count = LedgerSums.entriesPerStep * 30
        try await tamper(
            fixture,
            """
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < \(count))
            INSERT INTO ledger_entries (transaction_id, type, debit_account, credit_account, amount, currency, created_at)
            SELECT 'deposit', 'deposit', -100211904, 1, 1, 'USD', 0 FROM numbers
            """)
        // Each step takes the millisecond of its pause.
        let check = LedgerCheck(fixture.environment, patience: .milliseconds(10))
        await #expect(throws: Problem.ledgerCheckRunning) { try await check.outcome() }
        let sleeps = fixture.sleeps.count
        #expect((10...15).contains(sleeps), "\(sleeps)")
        var report: LedgerCheck.Report?
        try await eventually {
            report = try? await check.outcome()
            return report != nil
        }
        #expect(report?.isBalanced == true)
        #expect(report?.progress.through == count + 1)
        // It took longer than its outcome is given for at the least; a request within that time adds nothing.
        let after = fixture.sleeps.count
        fixture.test.time.advance(by: .milliseconds(900))
        _ = try await check.outcome()
        #expect(fixture.sleeps.count == after)
    }

    @Test("a check that nobody waits for pauses nine times as long as it works, and one that is asked for as long")
    func pauses() async throws {
        let fixture = try PaymentFixture.simulated()
        _ = try await fixture.run { try await $0.openWallet("ann", "1.00") }
        try await tamper(
            fixture,
            """
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2 * \(LedgerSums.entriesPerStep))
            INSERT INTO ledger_entries (transaction_id, type, debit_account, credit_account, amount, currency, created_at)
            SELECT 'deposit', 'deposit', -100211904, 1, 1, 'USD', 0 FROM numbers
            """)
        let time = fixture.test.time
        let slow = fixture.test.environment(on: LateStore(fixture.test.store) { time.advance(by: .milliseconds(4)) })
        let before = fixture.sleeps.count
        _ = try await LedgerCheck(slow).outcome()
        #expect(fixture.sleeps.dropFirst(before) == [.milliseconds(4), .milliseconds(4)])
        await LedgerCheck(slow).begin()
        try await eventually { fixture.sleeps.count >= before + 4 }
        #expect(fixture.sleeps.dropFirst(before + 2) == [.milliseconds(36), .milliseconds(36)])
    }

    @Test("the outcome of a check that took long is given for as long as it took")
    func freshness() async throws {
        let fixture = try PaymentFixture.simulated()
        let time = fixture.test.time
        let late = LateStore(fixture.test.store) { time.advance(by: .seconds(4)) }
        let check = LedgerCheck(fixture.test.environment(on: late))
        let first = try await check.outcome()
        time.advance(by: .milliseconds(3999))
        #expect(try await check.outcome().at == first.at)
        time.advance(by: .milliseconds(1))
        #expect(try await check.outcome().at > first.at)
    }

    @Test("of a check that failed half way nothing is kept: the next one looks at all accounts")
    func anew() async throws {
        let fixture = try PaymentFixture.simulated()
        let gated = GatedStore(fixture.test.store)
        try await fixture.run { client in
            for number in 0..<(LedgerCheck.accountsPerStep + 5) {
                _ = try await client.openWallet("user-\(number)", "1.00")
            }
        }
        let check = LedgerCheck(fixture.test.environment(on: gated))
        gated.failNext(1, after: 1)
        await #expect(throws: StoreError.full) { try await check.outcome() }
        try await tamper(fixture, "UPDATE accounts SET balance_low = balance_low + 1 WHERE account_number = 1")
        let report = try await check.outcome()
        #expect(report.faultyAccounts == 1)
        #expect(report.accounts == LedgerCheck.accountsPerStep + 6)
        #expect(try fixture.test.log.events("the ledger is out of balance").count == 1)
    }

    @Test("a check that nobody asked for tells the metrics what it found, and the log when it could not be made")
    func unasked() async throws {
        let fixture = try PaymentFixture.simulated()
        _ = try await fixture.run { try await $0.openWallet("ann", "1.00") }
        let registry = PrometheusRegistry(PaymentMetrics.families)
        let gated = GatedStore(fixture.test.store)
        let environment = fixture.environment
        let check = LedgerCheck(
            ServiceEnvironment(
                store: gated, keys: environment.keys, time: environment.time, sleeper: environment.sleeper,
                identifiers: environment.identifiers, logger: environment.logger, registry: registry))
        #expect(!registry.text.contains("\nledger_balanced "), "before the first nobody knows")
        await check.begin()
        try await eventually { registry.text.contains("\nledger_balanced 1\n") }
        try await tamper(fixture, "UPDATE accounts SET balance_low = balance_low + 1 WHERE account_number = 1")
        fixture.test.time.advance(by: LedgerCheck.interval)
        await check.begin()
        try await eventually { registry.text.contains("\nledger_balanced 0\n") }
        #expect(try fixture.test.log.events("the ledger is out of balance").count == 1)

        fixture.test.time.advance(by: LedgerCheck.interval)
        gated.failNext(1)
        await check.begin()
        try await eventually { try fixture.test.log.events("the ledger could not be checked").count == 1 }
        #expect(registry.text.contains("\nledger_balanced 0\n"), "what was found last stands")
    }

    @Test("it goes through a ledger of many steps while money moves, and never says that what moves is wrong")
    func busy() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            var wallets: [String] = []
            for number in 0..<(LedgerCheck.accountsPerStep + 20) {
                wallets.append(try await client.openWallet("user-\(number)", "10.00"))
            }
            // Who waits while others move the clock on would soon have waited for long enough.
            let patient = LedgerCheck(fixture.test.environment, patience: .seconds(86_400))
            try await withThrowingTaskGroup { group in
                for number in 0..<300 {
                    group.addTask { [wallets] in
                        _ = try await client.transfer(
                            wallets[number], wallets[number + 200], "1.00", key: "k\(number)", user: "user-\(number)")
                    }
                    group.addTask {
                        fixture.test.time.advance(by: .seconds(2))
                        let report = try await patient.outcome()
                        #expect(report.isBalanced)
                    }
                }
                try await group.waitForAll()
            }
            fixture.test.time.advance(by: .seconds(2))
            let check = try await client.get("/ledger/check")
            #expect(check.value("balanced") == .bool(true))
            #expect(check.integer("accounts") == Int64(wallets.count + 1))
            #expect(check.integer("entries") == Int64(wallets.count + 300))
        }
    }

    @Test(
        "what was changed in the file is found by the next process",
        arguments: [
            (["UPDATE accounts SET balance_low = balance_low + 1 WHERE account_id = 'sales:USD'"], 0, 1),
            (["UPDATE accounts SET balance_low = balance_low - 1 WHERE kind = 'wallet'"], 0, 1),
            (
                [
                    "DROP TRIGGER ledger_entries_never_changed",
                    "UPDATE ledger_entries SET amount = amount + 1 WHERE entry_number = 1",
                ], 0, 2
            ),
            (
                ["DROP TRIGGER ledger_entries_never_deleted", "DELETE FROM ledger_entries WHERE entry_number = 1"], 1, 2
            ),
            (
                [
                    "DROP TRIGGER ledger_entries_never_changed",
                    "UPDATE ledger_entries SET currency = 'EUR' WHERE entry_number = 1",
                ], 1, 0
            ),
            (["UPDATE accounts SET version = version + 1 WHERE kind = 'wallet'"], 0, 1),
            (["DROP TRIGGER accounts_never_deleted", "DELETE FROM accounts WHERE kind = 'wallet'"], 1, 0),
        ])
    func tampered(_ statements: [String], entries: Int64, accounts: Int64) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "50.00")
            _ = try await client.charge(id: "c", key: "k")
            #expect(try await client.get("/ledger/check").value("balanced") == .bool(true))
        }
        for statement in statements { try await tamper(fixture, statement) }
        try await restarted(fixture).run { client in
            let check = try await client.get("/ledger/check")
            #expect(check.value("balanced") == .bool(false))
            #expect(check.integer("faultyEntries") == entries)
            #expect(check.integer("faultyAccounts") == accounts)
        }
    }

    @Test("that the last entry was deleted is found by the process that has summed it")
    func lastDeleted() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "50.00")
            _ = try await client.deposit("1.00", key: "d", user: "ann")
            #expect(try await client.get("/ledger/check").value("balanced") == .bool(true))
            try await tamper(
                fixture, "DROP TRIGGER ledger_entries_never_deleted",
                "DELETE FROM ledger_entries WHERE entry_number = 2")
            for _ in 1...2 {
                fixture.test.time.advance(by: .seconds(1))
                let check = try await client.get("/ledger/check")
                #expect(check.value("balanced") == .bool(false))
                #expect(check.integer("faultyEntries") == 1)
            }
            #expect(try await client.get("/audit/ledger").integer("entries/0/faultyEntries") == 1)
        }
    }

    @Test("a wallet below zero is found even when its entries say the same")
    func overdrawn() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in _ = try await client.openWallet("ann", "1.00") }
        try await tamper(fixture, "PRAGMA ignore_check_constraints = 1")
        try await tamper(
            fixture, "INSERT INTO ledger_entries SELECT NULL, 'x', 'x', 1, -100211904, 500, 'USD', 0")
        try await fixture.run { client in
            let check = try await client.get("/ledger/check")
            #expect(check.integer("faultyAccounts") == 1)
            #expect(check.value("balanced") == .bool(false))
        }
    }

    @Test("the audit is shown each account beside the sums of its entries, page by page")
    func auditPages() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "50.00")
            _ = try await client.charge(id: "c", key: "k", user: "ann", method: "card")
            var found: [AccountEntry] = []
            var cursor: String?
            repeat {
                let answer = try await client.get("/audit/accounts?limit=1" + (cursor.map { "&cursor=\($0)" } ?? ""))
                let page = try AuditPage<AccountEntry>(json: try JSONParser.parse(answer.body))
                found += page.entries
                cursor = page.nextCursor
            } while cursor != nil
            #expect(found.map(\.account).prefix(3) == ["settlement:simulated:USD", "sales:USD", "cash_in:USD"])
            #expect(found.count == 4)
            let wallet = try #require(found.last)
            #expect((wallet.balance, wallet.debits, wallet.credits) == (5000, 0, 5000))
            #expect(wallet.growsByDebits == false)
            #expect(found.map(\.balance) == [2000, 2000, 5000, 5000])
            #expect(try await client.get("/audit/accounts?cursor=x").status == 400)
        }
    }
}
