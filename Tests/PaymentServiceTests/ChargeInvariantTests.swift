import Money
import SeededRandom
import Storage
import TestSupport
import Testing

@testable import PaymentService

@Suite("What always holds in Payment", .timeLimit(.minutes(5)))
struct ChargeInvariantTests {
    @Test(
        "after any mix of commands the records say what the provider has done, to the cent (INV-3, INV-4)",
        arguments: [(1, false), (2, false), (3, false), (4, false), (5, true), (6, true)] as [(UInt64, Bool)])
    func ledger(_ seed: UInt64, inBatches: Bool) async throws {
        let provider = LedgerProvider(seed: seed, answersAtOnce: inBatches)
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let client = inBatches ? client.batching : client
            var random = SeededGenerator(seed: seed &+ 1000)
            for step in 0..<2000 {
                // A key is used for one command, and repeated as clients do.
                let number = Int.random(in: 0..<120, using: &random)
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<4:
                    _ = try await client.charge(id: "c\(number)", "\(number + 1).00", key: "charge-\(number)")
                case 4..<6:
                    let part = Int.random(in: 1...4, using: &random)
                    _ = try await client.refund("c\(number)", "\(number / part + 1).00", key: "part-\(number)-\(part)")
                case 6: _ = try await client.refund("c\(number)", key: "whole-\(number)")
                case 7: _ = try await client.refund("c\(number)", key: "cancel-\(number)", orCancel: true)
                case 8: _ = try await client.charge(id: "c\(number)", "\(number + 1).00", key: "charge-again-\(number)")
                default: try await fixture.settleOpen()
                }
                if step.isMultiple(of: 100) { try await fixture.expectBounds("seed \(seed), step \(step)") }
            }
            try await eventually {
                fixture.test.time.advance(by: ChargeBook.longestWait)
                try await fixture.settleOpen()
                return try await fixture.openCount() == 0
            }
        }

        try await fixture.expectBounds("seed \(seed), at the end")
        let charges = try await fixture.charges()
        #expect(!charges.isEmpty)
        for charge in charges {
            let comment: Comment = "seed \(seed), charge \(charge.id)"
            #expect(
                provider.taken[charge.id] ?? 0 == (charge.status == .succeeded ? charge.amount.minorUnits : 0), comment)
            #expect(provider.returned[charge.id] ?? 0 == charge.refunded, comment)
        }
        #expect(Set(provider.taken.keys).isSubset(of: charges.map(\.id)), "money was taken that no record knows of")

        // The mix must have been one.
        #expect(Set(charges.map(\.status)) == [.succeeded, .failed, .canceled])
        #expect(charges.contains { $0.refunded > 0 && $0.refundable > 0 })
        #expect(charges.contains { $0.refunded > 0 && $0.refundable == 0 })
    }

    @Test("the schema itself refuses a refund above its charge")
    func schema() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in _ = try await client.charge(id: "c", key: "k") }
        for change in ["refunded = 2001", "refunded = -1", "amount = -1", "status = 'lost'"] {
            await #expect(throws: StoreError.self, "\(change)") {
                try await fixture.test.store.transaction { try $0.run("UPDATE charges SET \(change)", []) }
            }
        }
    }
}

extension PaymentFixture {
    fileprivate func charges() async throws -> [Charge] {
        let ids = try await test.store.transaction { transaction in
            try transaction.all("SELECT charge_id FROM charges ORDER BY charge_id LIMIT 1000", []) { $0.text(0) }
        }
        return try await book { book in try ids.compactMap { try book.charge($0) } }
    }

    /// How many charges and refunds have no answer.
    fileprivate func openCount() async throws -> Int {
        try await test.store.transaction { transaction in
            try ["charges", "refunds"].reduce(0) { sum, table in
                let sql = "SELECT count(*) FROM \(table) WHERE status = 'pending'"
                return sum + Int(try transaction.first(sql, []) { $0.integer(0) } ?? 0)
            }
        }
    }

    /// No charge has given back more than it took, and what it gave back is the sum of its refunds.
    fileprivate func expectBounds(_ comment: Comment) async throws {
        let sums = try await test.store.transaction { transaction in
            try transaction.all("SELECT charge_id, sum(amount) FROM refunds GROUP BY charge_id", []) {
                ($0.text(0), $0.integer(1))
            }
        }
        let refunds = Dictionary(uniqueKeysWithValues: sums)
        for charge in try await charges() {
            #expect((0...charge.amount.minorUnits).contains(charge.refunded), comment)
            #expect(charge.refunded == refunds[charge.id] ?? 0, comment)
            #expect(charge.status == .succeeded || charge.refunded == 0, comment)
        }
    }
}
