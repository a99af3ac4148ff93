import Money
import Resilience
import ServiceKit
import Storage
import TestSupport
import Testing

@testable import PaymentService

@Suite("The ledger", .timeLimit(.minutes(5)))
struct LedgerTests {
    private let now = Timestamp(milliseconds: 1_795_000_000_000)

    private func dollars(_ minorUnits: Int64) -> Money { Money(minorUnits: minorUnits, currency: .usd) }

    @Test("an account of the system's own has an id and a number that say what it is")
    func systemAccounts() throws {
        #expect(SystemAccount.sales(.usd).id == "sales:USD")
        #expect(SystemAccount.settlement(.simulated, .usd).id == "settlement:simulated:USD")
        #expect(SystemAccount.sales(.usd).number == -300_211_904)
        let yen = try #require(Currency(code: "JPY"))
        let all = [Currency.usd, yen].flatMap { currency in
            [
                SystemAccount.cashIn(currency), .fees(currency), .sales(currency), .settlement(.simulated, currency),
                .clearing(.simulated, currency),
            ]
        }
        #expect(Set(all.map(\.number)).count == all.count)
        #expect(Set(all.map(\.id)).count == all.count)
        #expect(all.allSatisfy { $0.number < 0 })
    }

    @Test("what we hold grows by debits, what we owe and earn by credits")
    func normalSides() {
        let byDebits = AccountKind.allCases.filter { $0.normalSide == .debit }
        #expect(Set(byDebits) == [.cashIn, .settlement, .clearing])
    }

    @Test("a charge by a provider debits its settlement account and credits sales, a refund the other way round")
    func chargeAndRefund() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let charge = try await client.charge(id: "c", "20.00", key: "k")
            #expect(charge.status == 200)
            #expect(try await client.refund("c", "5.00").status == 200)
        }
        let books = try await fixture.books()
        #expect(
            books.entries == [
                "charge settlement:simulated:USD>sales:USD 2000", "refund sales:USD>settlement:simulated:USD 500",
            ])
        #expect(books.balances == ["settlement:simulated:USD": 1500, "sales:USD": 1500])
        #expect(books.balances == books.sums)
    }

    @Test("what was not paid posts nothing: declined, canceled, dropped, refused")
    func unpaid() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let declined = try await client.charge(method: "test_declined", key: "a")
            #expect(declined.status == 402)
            #expect(try await client.charge(method: "test_error", key: "b").status == 503)
            #expect(try await client.refund("unknown", key: "c", orCancel: true).status == 200)
            #expect(try await client.refund("unknown2", key: "d").status == 404)
        }
        #expect(try await fixture.books() == PaymentFixture.Books())
    }

    @Test("a charge and a refund whose answers came late are posted once, when they come")
    func late() async throws {
        let provider = ScriptedProvider()
        provider.scriptCharges(.answer(.unknown), .answer(.approved))
        provider.scriptRefunds(.answer(.unavailable), .answer(.unknown), .answer(.approved))
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            #expect(try await client.charge(id: "c", key: "k").status == 504)
            #expect(try await fixture.books().entries.isEmpty)
            #expect(try await client.charge(id: "c", key: "k").status == 200)
            #expect(try await client.refund("c", key: "r1").status == 503)
            #expect(try await client.refund("c", key: "r2").status == 504)
            #expect(try await fixture.books().entries.count == 1)
            try await fixture.settleOpen()
        }
        #expect(
            try await fixture.books().entries == [
                "charge settlement:simulated:USD>sales:USD 2000", "refund sales:USD>settlement:simulated:USD 2000",
            ])
    }

    // MARK: - What the database refuses

    private func wallet(_ fixture: PaymentFixture, _ user: String, _ amount: Int64) async throws -> Wallet {
        let now = now
        return try await fixture.book { book in
            let opened = try book.ledger.openWallet(
                id: "id of \(user)", user: user, openedBy: user, currency: .usd, at: now)
            let wallet = try #require(opened)
            let money = Money(minorUnits: amount, currency: .usd)
            if amount > 0 { try book.ledger.post(.deposit("d", .deposit, into: wallet, money, at: now)) }
            return try #require(try book.ledger.wallet(id: wallet.id))
        }
    }

    @Test("the database itself refuses to overdraw a wallet, whatever the code has looked at")
    func overdraft() async throws {
        let fixture = try PaymentFixture.simulated()
        let (ann, bob) = (try await wallet(fixture, "ann", 100), try await wallet(fixture, "bob", 0))
        let now = now
        await #expect(throws: StoreError.self) {
            try await fixture.book { book in
                try book.ledger.post(
                    .transfer("t", from: ann, to: bob, Money(minorUnits: 101, currency: .usd), at: now))
            }
        }
        try await fixture.book { book in
            try book.ledger.post(.transfer("t", from: ann, to: bob, Money(minorUnits: 100, currency: .usd), at: now))
        }
        #expect(try await fixture.books().balances["id of ann"] == 0)
        #expect(try await fixture.books().balances["id of bob"] == 100)
        try await fixture.expectSoundBooks()
    }

    @Test("a posting of which one entry is refused leaves none of the others")
    func wholePosting() async throws {
        let fixture = try PaymentFixture.simulated()
        let (ann, bob) = (try await wallet(fixture, "ann", 100), try await wallet(fixture, "bob", 0))
        let before = try await fixture.books()
        let entries = [
            Posting.Entry(debit: .wallet(ann.number), credit: .wallet(bob.number), amount: dollars(60)),
            Posting.Entry(debit: .wallet(ann.number), credit: .system(.fees(.usd)), amount: dollars(60)),
        ]
        let now = now
        await #expect(throws: StoreError.self) {
            try await fixture.book { try $0.ledger.post(Posting("p", .transfer, entries, at: now)) }
        }
        #expect(try await fixture.books() == before)
    }

    @Test(
        "the schema refuses what would falsify the books",
        arguments: [
            "UPDATE ledger_entries SET amount = 1", "DELETE FROM ledger_entries",
            "INSERT INTO ledger_entries SELECT NULL, 'x', 'x', 1, 1, 5, 'USD', 0",
            "INSERT INTO ledger_entries SELECT NULL, 'x', 'x', -100211904, 1, 0, 'USD', 0",
            "INSERT INTO ledger_entries SELECT NULL, 'x', 'x', -100211904, 1, -5, 'USD', 0",
            "INSERT INTO ledger_entries SELECT NULL, 'x', 'x', -100211904, 1, 5, 'EUR', 0",
            "INSERT INTO ledger_entries SELECT NULL, 'x', 'x', -100211904, 77, 5, 'USD', 0",
            "DELETE FROM accounts WHERE kind = 'wallet'", "UPDATE accounts SET user_id = 'eve' WHERE kind = 'wallet'",
            "UPDATE accounts SET currency = 'EUR'", "UPDATE accounts SET balance_high = -1 WHERE kind = 'wallet'",
            "INSERT INTO accounts SELECT 9, 'x', 'wallet', currency, -1, user_id, '', 0, 0, 0, 0 FROM accounts WHERE account_number = 1",
            "INSERT INTO accounts VALUES (9, 'x', 'sales', 'CHF', -1, NULL, NULL, 0, 0, 0, 0)",
            "INSERT INTO accounts VALUES (-9, 'x', 'wallet', 'CHF', -1, 'eve', '', 0, 0, 0, 0)",
            "UPDATE payment_events SET type = 'x'", "DELETE FROM payment_events",
        ])
    func refused(_ sql: String) async throws {
        let fixture = try PaymentFixture.simulated()
        _ = try await wallet(fixture, "ann", 100)
        try await fixture.run { client in _ = try await client.charge(id: "c", key: "k") }
        let before = try await fixture.books()
        await #expect(throws: StoreError.self, "\(sql)") {
            try await fixture.test.store.transaction { try $0.run(sql, []) }
        }
        #expect(try await fixture.books() == before)
    }

    @Test("giant charges leave room for the next one, and their sums stay exact (hazard 45)")
    func giants() async throws {
        let fixture = try PaymentFixture.simulated()
        let largest = #"{"amount":\#(Int64.max),"currency":"USD"}"#
        try await fixture.run { client in
            for number in 0..<5 { #expect(try await client.charge(largest, key: "giant-\(number)").status == 200) }
            #expect(try await client.charge("20.00", key: "small").status == 200)
            let totals = try await client.get("/audit/totals")
            #expect(totals.number("currencies/0/captured") == "\(Int128(Int64.max) * 5 + 2000)")
            let check = try await client.get("/ledger/check")
            #expect(check.number("currencies/0/debits") == "\(Int128(Int64.max) * 5 + 2000)")
        }
        #expect(try await fixture.books().balances["sales:USD"] == Int128(Int64.max) * 5 + 2000)
        try await fixture.expectSoundBooks()
    }

    @Test(
        "what is kept for ever cannot be changed, deleted or replaced",
        arguments: [
            ("ledger_entries", "entry_number", "amount"), ("payment_events", "sequence", "at"),
            ("payments_trail", "sequence", "at"),
            ("movements", "movement_id", "created_at"),
        ])
    func kept(table: String, key: String, column: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "10.00")
            _ = try await client.deposit("1.00", key: "d", user: "ann")
            _ = try await client.charge("5.00", key: "c", user: "ann")
            _ = try await client.post("/payments/withdraw", #"{"amount":1}"#, key: "w", user: "ann")
        }
        let before = try await fixture.books()
        for statement in [
            "UPDATE \(table) SET \(column) = \(column) + 1", "DELETE FROM \(table)",
            "INSERT OR REPLACE INTO \(table) SELECT * FROM \(table) ORDER BY \(key) LIMIT 1",
            "UPDATE OR REPLACE \(table) SET \(key) = \(key)",
        ] {
            await #expect(throws: StoreError.self, "\(statement)") {
                _ = try await fixture.test.store.transaction { try $0.run(statement, []) }
            }
        }
        #expect(try await fixture.books() == before)
    }
}
