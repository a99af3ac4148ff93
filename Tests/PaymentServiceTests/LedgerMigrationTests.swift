import Idempotency
import Money
import Resilience
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("A store of the version before the ledger", .timeLimit(.minutes(5)))
struct LedgerMigrationTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("payment.sqlite") }
    /// More than two steps of entering them.
    private static let count = EarlierPayments.stepSize * 2 + 50

    /// A store as that version left it, with charges of every status and refunds of every kind.
    init() async throws {
        directory = try TemporaryDirectory()
        let store = try store(PaymentSchema.migrations.prefix(1))
        for number in 0..<Self.count {
            let status = ["succeeded", "succeeded", "succeeded", "failed", "canceled", "pending"][number % 6]
            let refunds: [(Int64, String)] =
                switch number % 6 {
                case 1: [(1000, "succeeded")]
                case 2: [(300, "succeeded"), (200, "pending")]
                default: []
                }
            try await store.transaction { transaction in
                try transaction.run(
                    """
                    INSERT INTO charges (charge_id, user_id, order_id, method, amount, currency, refunded, status, decline_code,
                        operation_key, created_at)
                    VALUES (?1, 'ann', NULL, 'card', 1000, ?2, ?3, ?4, NULL, ?1, 1767225600000)
                    """,
                    [
                        .text("c\(number)"), .text(number.isMultiple(of: 2) ? "USD" : "EUR"),
                        .integer(refunds.map(\.0).reduce(0, +)), .text(status),
                    ])
                for (index, refund) in refunds.enumerated() {
                    try transaction.run(
                        """
                        INSERT INTO refunds (refund_id, charge_id, user_id, amount, status, operation_key, created_at)
                        VALUES (?1, ?2, 'ann', ?3, ?4, ?1, 1767225600000)
                        """,
                        [.text("r\(number)-\(index)"), .text("c\(number)"), .integer(refund.0), .text(refund.1)])
                }
            }
        }
        try store.close()
    }

    private func store(_ migrations: some Sequence<Migration>) throws -> SQLiteStore {
        try .ofService(at: path, migrations)
    }

    private func fixture(_ store: any Store) throws -> PaymentFixture {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        return PaymentFixture(test, test.environment(on: store), ScriptedProvider())
    }

    /// Numbers below `count` that are these modulo 6, and even or odd.
    private func count(_ rests: Set<Int>, even: Bool) -> Int {
        (0..<Self.count).count { rests.contains($0 % 6) && $0.isMultiple(of: 2) == even }
    }

    private func expectEntered(_ fixture: PaymentFixture) async throws {
        let books = try await fixture.books()
        let dollars =
            count([0, 1, 2], even: true) * 1000 - count([2], even: true) * 300 - count([1], even: true) * 1000
        let euros =
            count([0, 1, 2], even: false) * 1000 - count([2], even: false) * 300 - count([1], even: false) * 1000
        #expect(books.balances["sales:USD"] == Int128(dollars))
        #expect(books.balances["sales:EUR"] == Int128(euros))
        #expect(books.balances["settlement:simulated:USD"] == Int128(dollars))
        #expect(books.balances == books.sums)
    }

    @Test("has its paid charges and refunds entered into the ledger, each once, also after a crash half way")
    func entered() async throws {
        let store = try store(PaymentSchema.migrations)
        let gated = GatedStore(store)
        let fixture = try fixture(gated)
        // The second step fails, as if the process had died there; the next process goes on.
        gated.failNext(1, after: 1)
        await #expect(throws: StoreError.self) {
            try await EarlierPayments(environment: fixture.environment).enterAll()
        }
        #expect(try await fixture.books().entries.count == EarlierPayments.stepSize)
        for _ in 0..<2 { try await EarlierPayments(environment: fixture.environment).enterAll() }
        try await expectEntered(fixture)
        try await fixture.run { client in
            #expect(try await client.get("/ledger/check").value("balanced") == .bool(true))
            let events = try await client.get("/charges/c1/events", user: "ann")
            #expect((0..<2).map { events.text("events/\($0)/type") } == ["entered", "entered"])
        }
        try store.close()
    }

    @Test("goes on to work while its earlier payments are not yet entered, and none is entered twice")
    func meanwhile() async throws {
        let store = try store(PaymentSchema.migrations)
        let fixture = try fixture(store)
        try await fixture.run { client in
            // One refund of a charge that is not yet in the ledger, and one charge that was pending.
            #expect(try await client.refund("c0", "1.00", key: "new", user: "ann").status == 200)
            try await fixture.settleOpen()
            #expect(try await client.get("/ledger/check").value("balanced") == .bool(true))
            try await EarlierPayments(environment: fixture.environment).enterAll()
            try await fixture.settleAll()
            #expect(try await client.get("/charges/c5", user: "ann").text("status") == "succeeded")
        }
        let totals = try await PaymentTotals(in: fixture.environment)
        let books = try await fixture.books()
        #expect(totals.byCurrency.count == 2)
        for (currency, total) in totals.byCurrency {
            #expect(books.balances["sales:\(currency)"] == total.captured - total.refunded)
        }
        #expect(
            books.entries.count(where: { $0.hasPrefix("charge") })
                == (0..<Self.count).count { [0, 1, 2, 5].contains($0 % 6) })
        #expect(books.balances == books.sums)
        try store.close()
    }

    @Test("enters all but those that the ledger refuses, which are logged each time and keep nothing else out")
    func refused() async throws {
        let store = try store(PaymentSchema.migrations)
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let fixture = PaymentFixture(test, test.environment(on: store), ScriptedProvider())
        // The first in the order of ids: a step that began with it anew each time would never come further.
        try await store.transaction { transaction in
            _ = try transaction.run("UPDATE charges SET amount = 0, refunded = 0 WHERE charge_id = 'c0'", [])
        }
        for turn in 1...2 {
            try await EarlierPayments(environment: fixture.environment).enterAll()
            let events = try test.log.events("an earlier payment cannot be entered into the ledger")
            #expect(events.count == turn)
            #expect(events.last?["id"] == .string("c0"))
        }
        let charges = (0..<Self.count).count { [0, 1, 2].contains($0 % 6) }
        let books = try await fixture.books()
        #expect(books.entries.count { $0.hasPrefix("charge") } == charges - 1)
        #expect(books.balances == books.sums)
        try store.close()
    }

    @Test("movements that may have been made in nobody's name are known under that key too, and their money moves once")
    func movements() async throws {
        let old = try self.store(PaymentSchema.migrations.prefix(3))
        let body = #"{"amount":1,"userId":"u1"}"#
        // As the version before did: under the key of the user whose account it is.
        try await old.transaction { transaction in
            let ledger = Ledger(transaction: transaction)
            let now = Timestamp(milliseconds: 1_767_225_600_000)
            for user in ["u1", "u2"] {
                let wallet = try ledger.openWallet(
                    id: user, user: user, openedBy: user == "u1" ? "" : user, currency: .usd, at: now)
                guard let wallet else { continue }
                let scope = IdempotencyScope(
                    user: user, operation: "deposit", key: try IdempotencyKey(headerValue: "k"))
                try ledger.post(
                    .deposit("m-\(user)", .deposit, into: wallet, Money(minorUnits: 100, currency: .usd), at: now))
                try Movements(transaction: transaction).insert(
                    "m-\(user)", .deposit, scope, Fingerprint(operation: "deposit", fields: [user, "100", "USD"]),
                    StoredResponse(status: 200, body: Array(#"{"was":"\#(user)"}"#.utf8)), at: now)
            }
        }
        try old.close()
        let store = try self.store(PaymentSchema.migrations)
        try await fixture(store).run { client in
            let replay = try await client.post("/accounts/deposit", body, key: "k")
            #expect((replay.isReplayed, replay.text("was")) == (true, "u1"))
            #expect(try await client.post("/accounts/deposit", #"{"amount":1}"#, key: "k", user: "u1").isReplayed)
            #expect(try await client.post("/accounts/deposit", #"{"amount":1}"#, key: "k", user: "u2").isReplayed)
            #expect(
                try await client.post("/accounts/deposit", #"{"amount":1,"userId":"u2"}"#, key: "k").code
                    == "idempotency-key-reused")
            #expect(try await client.balance("u1") == 100)
        }
        try store.close()
    }
}
