import Money
import Resilience
import SeededRandom
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

/// Payment whose process dies again and again, each time in the middle of what many users want of it.
@Suite("What always holds in the ledger", .timeLimit(.minutes(5)))
struct LedgerInvariantTests {
    private static let users = ["ann", "bob", "cid", "dora", "eve"]

    @Test(
        "after any mix of commands by many users at once, with crashes between and among them, the books balance and say what the provider has done (INV-3, INV-4, INV-11)",
        arguments: [1, 2, 3, 4] as [UInt64])
    func mix(_ seed: UInt64) async throws {
        let directory = try TemporaryDirectory()
        let provider = LedgerProvider(seed: seed)
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        var random = SeededGenerator(seed: seed &+ 500)
        var outcomes: [String: Set<Int>] = [:]
        for life in 0..<8 {
            let store = try SQLiteStore.ofService(
                at: directory.file("payment.sqlite"), PaymentSchema.migrations)
            let gated = GatedStore(store)
            let fixture = PaymentFixture(test, test.environment(on: gated), provider)
            let steps = (0..<150).map { _ in Step(&random) }
            // Somewhere on the way the process is gone: what is not yet stored never will be, whatever has been asked of the
            // provider for it.
            gated.failNext(.max, after: Int.random(in: 50...400, using: &random), with: .closed)
            let found = try await fixture.run { client in try await run(steps, client) }
            outcomes.merge(found) { $0.union($1) }
            gated.failNext(0)
            try await fixture.expectSoundBooks("seed \(seed), life \(life)")
            try store.close()
        }

        let store = try SQLiteStore.ofService(
            at: directory.file("payment.sqlite"), PaymentSchema.migrations)
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        try await fixture.settleAll()
        try await expectAgreement(fixture, provider, seed)
        // The mix must have been one.
        #expect(outcomes["charge"]?.isSuperset(of: [200, 402]) == true)
        #expect(outcomes["withdraw"]?.isSuperset(of: [200, 402]) == true)
        #expect(outcomes["transfer"]?.isSuperset(of: [201, 402]) == true)
        #expect(outcomes["refund"]?.isSuperset(of: [200]) == true)
        try store.close()
    }

    /// Steps of all users, so many at a time.
    private func run(_ steps: [Step], _ client: RouteClient) async throws -> [String: Set<Int>] {
        try await withThrowingTaskGroup { group in
            for lane in 0..<6 {
                group.addTask {
                    var outcomes: [String: Set<Int>] = [:]
                    for index in stride(from: lane, to: steps.count, by: 6) {
                        let (kind, status) = try await steps[index].send(client)
                        outcomes[kind, default: []].insert(status)
                    }
                    return outcomes
                }
            }
            return try await group.reduce(into: [:]) { $0.merge($1) { $0.union($1) } }
        }
    }

    private func expectAgreement(_ fixture: PaymentFixture, _ provider: LedgerProvider, _ seed: UInt64) async throws {
        let comment: Comment = "seed \(seed)"
        let books = try await fixture.books()
        #expect(books.balances == books.sums, comment)
        let ids = try await fixture.environment.store.transaction { transaction in
            try transaction.all("SELECT charge_id FROM charges LIMIT 10000", []) { $0.text(0) }
        }
        let charges = try await fixture.book { book in try ids.compactMap { try book.charge($0) } }
        // INV-4: what the provider did is what the book says, and a wallet's charge was never asked of it.
        for charge in charges {
            let taken = charge.status == .succeeded && charge.wallet == nil ? charge.amount.minorUnits : 0
            #expect(provider.taken[charge.id] ?? 0 == taken, comment)
            #expect(provider.returned[charge.id] ?? 0 == (charge.wallet == nil ? charge.refunded : 0), comment)
            #expect(charge.refunded <= charge.amount.minorUnits, comment)
        }
        #expect(Set(provider.taken.keys).isSubset(of: ids), comment)
        // INV-3: what was sold and not given back, what the provider owes, and what we hold for the wallets.
        let paid = charges.filter { $0.status == .succeeded }
        let kept = paid.reduce(Int128(0)) { $0 + Int128($1.refundable) }
        #expect(books.balances["sales:USD"] ?? 0 == kept, comment)
        let collected = provider.taken.values.reduce(0, +) - provider.returned.values.reduce(0, +)
        #expect(books.balances["settlement:simulated:USD"] ?? 0 == Int128(collected), comment)
        let wallets = books.balances.filter { !$0.key.contains(":") }.values
        #expect(wallets.allSatisfy { $0 >= 0 }, comment)
        let fromWallets = paid.filter { $0.wallet != nil }.reduce(Int128(0)) { $0 + Int128($1.refundable) }
        #expect(fromWallets > 0 && kept > fromWallets, "both ways of paying must have come")
        #expect(books.balances["cash_in:USD"] ?? 0 == wallets.reduce(0, +) + fromWallets, comment)
        try await fixture.run { client in
            let check = try await client.get("/ledger/check")
            #expect(check.value("balanced") == .bool(true), comment)
        }
    }

    /// Something that a client wants.
    private struct Step: Sendable {
        let kind: Int
        let number: Int
        let user: String
        let amount: Int
        let part: Int

        init(_ random: inout SeededGenerator) {
            kind = Int.random(in: 0..<10, using: &random)
            // A key is used for one command, and repeated as clients do.
            number = Int.random(in: 0..<150, using: &random)
            user = LedgerInvariantTests.users[number % 5]
            amount = number % 11 + 1
            part = Int.random(in: 1...3, using: &random)
        }

        func send(_ client: RouteClient) async throws -> (String, Int) {
            switch kind {
            case 0...2:
                let method = number.isMultiple(of: 3) ? #","method":"card""# : ""
                let answer = try await client.charge(
                    "\(amount).00", key: "charge-\(number)", user: user, more: #","chargeId":"c\#(number)"\#(method)"#)
                return ("charge", answer.status)
            case 3:
                let answer = try await client.refund(
                    "c\(number)", "\(amount / part).\(part)0", key: "part-\(number)-\(part)", user: user)
                return ("refund", answer.status)
            case 4:
                let answer = try await client.refund(
                    "c\(number)", key: "whole-\(number)", user: user, orCancel: number.isMultiple(of: 4))
                return ("refund", answer.status)
            case 5:
                return ("deposit", try await client.deposit("\(amount).00", key: "in-\(number)", user: user).status)
            case 6:
                return (
                    "withdraw", try await client.withdraw("\(amount + 7).00", key: "out-\(number)", user: user).status
                )
            case 7, 8:
                let from = try await client.get("/accounts/balance", user: user).text("accountId") ?? "none"
                let to = LedgerInvariantTests.users[(number + 1) % 5]
                let destination = try await client.get("/accounts/balance", user: to).text("accountId") ?? "none"
                let answer = try await client.transfer(
                    from, destination, "\(amount).00", key: "transfer-\(number)", user: user)
                return ("transfer", answer.status)
            default:
                return ("open", try await client.post("/accounts", #"{"initialBalance":15}"#, user: user).status)
            }
        }
    }
}
