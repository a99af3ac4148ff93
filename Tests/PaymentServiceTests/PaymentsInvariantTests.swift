import Money
import ProviderAPI
import Resilience
import SeededRandom
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

/// Payment and its worker, whose process dies again and again in the middle of what many users want, with providers that lose
/// commands and answers.
@Suite("What always holds of payments through providers", .timeLimit(.minutes(5)))
struct PaymentsInvariantTests {
    private static let users = ["ann", "bob", "cid"]

    @Test(
        "after any mix of deposits, withdrawals, transfers, charges, refunds and cancels by many users at once, with crashes between and among them, the books balance and say what the providers have done (INV-3, INV-4, INV-11)",
        arguments: [1, 2, 3] as [UInt64])
    func mix(_ seed: UInt64) async throws {
        let directory = try TemporaryDirectory()
        let gateway = LedgerGateway(seed: seed)
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        var random = SeededGenerator(seed: seed &+ 900)
        var outcomes: [String: Set<Int>] = [:]
        for life in 0..<6 {
            let store = try open(directory)
            let gated = GatedStore(store)
            let fixture = fixture(test, gated, gateway, seed)
            try await fixture.worker.disownAll()
            let steps = (0..<120).map { _ in Step(&random) }
            gated.failNext(.max, after: Int.random(in: 80...500, using: &random), with: .closed)
            outcomes.merge(try await run(steps, fixture)) { $0.union($1) }
            await fixture.worker.idle()
            gated.failNext(0)
            try await fixture.expectSoundPayments("seed \(seed), life \(life)")
            try store.close()
        }
        let store = try open(directory)
        let fixture = fixture(test, store, gateway, seed)
        try await fixture.worker.disownAll()
        try await fixture.workAll()
        gateway.deliverLate()
        try await expectAgreement(fixture, gateway, "seed \(seed)")
        #expect(outcomes["deposit"]?.contains(202) == true)
        #expect(outcomes["withdraw"]?.isSuperset(of: [202, 402]) == true)
        #expect(outcomes["refund"]?.contains(202) == true)
        #expect(outcomes["cancel"]?.isDisjoint(with: [200, 409]) == false)
        try store.close()
    }

    private func open(_ directory: TemporaryDirectory) throws -> SQLiteStore {
        try .ofService(at: directory.file("payment.sqlite"), PaymentSchema.migrations)
    }

    private func fixture(
        _ test: TestEnvironment, _ store: any Store, _ gateway: LedgerGateway, _ seed: UInt64
    ) -> PaymentFixture {
        PaymentFixture(
            test, test.environment(on: store), SimulatedCard(allowsTestMethods: false, sleeper: test.sleeper),
            gateway: gateway,
            configuration: PaymentsConfiguration(
                backoff: BackoffSchedule(maximumAttempts: 3), giveUpAfter: .zero,
                breaker: .ofProviders(minimumCalls: 1000, consecutiveFailures: 1000)
            ))
    }

    /// Steps of all users, so many at a time, while the worker works and the time passes.
    private func run(_ steps: [Step], _ fixture: PaymentFixture) async throws -> [String: Set<Int>] {
        try await fixture.run { client in
            try await withThrowingTaskGroup { group in
                for lane in 0..<4 {
                    group.addTask {
                        var outcomes: [String: Set<Int>] = [:]
                        for index in stride(from: lane, to: steps.count, by: 4) {
                            let (kind, status) = try await steps[index].send(client)
                            outcomes[kind, default: []].insert(status)
                            if index % 5 == 0 { try? await fixture.worker.fill() }
                            if index % 7 == 0 { fixture.test.time.advance(by: .seconds(1)) }
                        }
                        return outcomes
                    }
                }
                return try await group.reduce(into: [:]) { $0.merge($1) { $0.union($1) } }
            }
        }
    }

    private func expectAgreement(_ fixture: PaymentFixture, _ gateway: LedgerGateway, _ comment: Comment) async throws {
        try await fixture.expectSoundPayments(comment)
        let books = try await fixture.books()
        for provider in Provider.allCases {
            #expect(
                books.balances["settlement:\(provider.rawValue):USD"] ?? 0 == Int128(gateway.net(provider)), comment)
            #expect(books.balances["clearing:\(provider.rawValue):USD"] ?? 0 == 0, comment)
        }
        let ids = try await fixture.environment.store.transaction { transaction in
            try transaction.all("SELECT payment_id FROM payments LIMIT 100000", []) { $0.text(0) }
        }
        let payments = try await fixture.records { records in try ids.compactMap { try records.payment($0) } }
        for payment in payments {
            #expect(!payment.status.isOpen && payment.held == 0 && payment.refunding == 0, comment)
            let refunds = payments.filter { $0.refundOf == payment.id && $0.status == .succeeded }
            #expect(refunds.reduce(0) { $0 + $1.amount.minorUnits } == payment.refunded, comment)
            #expect(refunds.reduce(0) { $0 + $1.fee } == payment.feeBack, comment)
            #expect(payment.refunded <= payment.amount.minorUnits && payment.feeBack <= payment.fee, comment)
            if payment.status == .refunded { #expect(payment.feeBack == payment.fee, comment) }
        }
        let earned = payments.filter { $0.kind != .refund && ($0.status.isRefundable || $0.status == .refunded) }
            .reduce(Int128(0)) { $0 + Int128($1.fee - $1.feeBack) }
        #expect(books.balances["fees:USD"] ?? 0 == earned, comment)
        #expect(
            payments.contains { $0.status == .refunded || $0.status == .partiallyRefunded }, "refunds must have come")
        let isBalanced = try await fixture.run { try await $0.get("/ledger/check").value("balanced") }
        #expect(isBalanced == .bool(true), comment)
    }

    /// Something that a client wants.
    private struct Step: Sendable {
        let kind: Int
        let number: Int
        let user: String
        let amount: Int
        let part: Int

        init(_ random: inout SeededGenerator) {
            kind = Int.random(in: 0..<12, using: &random)
            number = Int.random(in: 0..<80, using: &random)
            user = PaymentsInvariantTests.users[number % 3]
            amount = number % 13 + 1
            part = Int.random(in: 1...3, using: &random)
        }

        func send(_ client: RouteClient) async throws -> (String, Int) {
            switch kind {
            case 0...2:
                let provider = number.isMultiple(of: 2) ? "stripe" : "paypal"
                return (
                    "deposit",
                    try await client.post(
                        "/payments/deposit", #"{"amount":\#(amount).37,"provider":"\#(provider)"}"#,
                        key: "in-\(number)",
                        user: user
                    ).status
                )
            case 3, 4:
                return (
                    "withdraw",
                    try await client.post(
                        "/payments/withdraw", #"{"amount":\#(amount * 2).13}"#, key: "out-\(number)", user: user
                    ).status
                )
            case 5, 6: return ("refund", try await refund(client))
            case 7:
                let id = try await client.get("/payments?limit=1", user: user).text("payments/0/paymentId") ?? "none"
                return ("cancel", try await client.post("/payments/\(id)/cancel", "", user: user).status)
            case 8:
                let from = try await client.get("/accounts/balance", user: user).text("accountId") ?? "none"
                let other = PaymentsInvariantTests.users[(number + 1) % 3]
                let to = try await client.get("/accounts/balance", user: other).text("accountId") ?? "none"
                return (
                    "transfer",
                    try await client.transfer(from, to, "\(amount).00", key: "t-\(number)", user: user).status
                )
            case 9:
                return ("charge", try await client.charge("\(amount).00", key: "c-\(number)", user: user).status)
            default:
                return ("open", try await client.post("/accounts", #"{"initialBalance":15}"#, user: user).status)
            }
        }

        private func refund(_ client: RouteClient) async throws -> Int {
            let page = try await client.get("/payments?status=succeeded&limit=1", user: user)
            let partial = try await client.get("/payments?status=partially_refunded&limit=1", user: user)
            let id = partial.text("payments/0/paymentId") ?? page.text("payments/0/paymentId") ?? "none"
            let amount = part == 1 ? nil : "\(amount / part).0\(part)"
            return try await client.refund(payment: id, amount, key: "r-\(number)-\(part)-\(id)", user: user).status
        }
    }
}

/// A store of the version before payments through providers, with wallets and charges in it.
@Suite("A store of the version before payments through providers", .timeLimit(.minutes(5)))
struct PaymentsMigrationTests {
    @Test("goes on to work, with all that is in it, whichever version it is of", arguments: [1, 2, 3])
    func migrated(_ count: Int) async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("payment.sqlite")
        let old = try SQLiteStore.ofService(at: path, PaymentSchema.migrations.prefix(count))
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        try await old.transaction { transaction in
            _ = try transaction.run(
                """
                INSERT INTO charges (charge_id, user_id, method, amount, currency, status, operation_key, created_at)
                VALUES ('c', 'ann', 'card', 1000, 'USD', 'succeeded', 'c', 1767225600000)
                """, [])
        }
        if count == 3 {
            // What the ledger's version has: a wallet with money in it.
            let fixture = PaymentFixture(test, test.environment(on: old), ScriptedProvider())
            try await fixture.run { client in _ = try await client.openWallet("ann", "102.00") }
        }
        try old.close()

        let store = try SQLiteStore.ofService(at: path, PaymentSchema.migrations)
        let fixture = PaymentFixture(
            test, test.environment(on: store), ScriptedProvider(), gateway: ScriptedGateway(), configuration: .steady)
        try await EarlierPayments(environment: fixture.environment).enterAll()
        try await fixture.run { client in
            if count < 3 { _ = try await client.openWallet("ann", "102.00") }
            #expect(
                try await client.post("/payments/withdraw", #"{"amount":100}"#, key: "k", user: "ann").status == 202)
            try await fixture.workAll()
            #expect(try await client.balance("ann") == 0)
            #expect(try await client.get("/charges/c", user: "ann").text("status") == "succeeded")
            #expect(try await client.get("/ledger/check").value("balanced") == .bool(true))
        }
        try await fixture.expectSoundPayments()
        try store.close()
    }
}
