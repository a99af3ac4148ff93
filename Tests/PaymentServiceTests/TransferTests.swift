import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("Transfers", .timeLimit(.minutes(5)))
struct TransferTests {
    @Test("a transfer that is not valid leaves its key free for the one that is (IK-17)")
    func invalidLeavesKey() async throws {
        try await PaymentFixture.simulated().run { client in
            let (ann, bob) = (try await client.openWallet("ann", "10.00"), try await client.openWallet("bob"))
            let euro = try await client.openWallet("bob", currency: "EUR")
            for (id, more) in [(bob, #","currency":"EUR""#), (euro, "")] {
                let answer = try await client.transfer(ann, id, "1.00", key: "t", user: "ann", more: more)
                #expect(answer.code == "validation-failed")
            }
            #expect(try await client.transfer(ann, bob, "1.00", key: "t", user: "ann").status == 201)
        }
    }

    @Test("a transfer moves money from one account to another at once")
    func transfer() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let (ann, bob) = (try await client.openWallet("ann", "10.00"), try await client.openWallet("bob"))
            let answer = try await client.transfer(ann, bob, "4.00", key: "t", user: "ann")
            #expect(answer.status == 201)
            #expect(
                answer.names() == [
                    "transferId", "status", "sourceAccountId", "destinationAccountId", "amount", "createdAt",
                ])
            #expect(answer.integer("amount/amount") == 400)
            #expect(try await client.balance("ann") == 600)
            #expect(try await client.balance("bob") == 400)
            let replay = try await client.transfer(ann, bob, "4.00", key: "t", user: "ann")
            #expect((replay.status, replay.body, replay.isReplayed) == (201, answer.body, true))
            #expect(try await client.balance("ann") == 600)
        }
        #expect(try await fixture.books().entries.last == "transfer ann>bob 400")
    }

    @Test("what cannot be transferred says why and moves nothing")
    func refused() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let (ann, bob) = (try await client.openWallet("ann", "10.00"), try await client.openWallet("bob"))
            let euro = try await client.openWallet("bob", currency: "EUR")
            let before = try await fixture.books()

            let toSelf = try await client.transfer(ann, ann, "1.00", key: "1", user: "ann")
            #expect((toSelf.status, toSelf.text("errors/0/pointer")) == (422, "#/destinationAccountId"))
            let unknown = try await client.transfer(ann, "nobody", "1.00", key: "2", user: "ann")
            #expect((unknown.status, unknown.code) == (404, "account-not-found"))
            #expect(unknown.text("detail")?.contains("destinationAccountId") == true)
            let foreign = try await client.transfer("nobody", bob, "1.00", key: "3", user: "ann")
            #expect(foreign.text("detail")?.contains("sourceAccountId") == true)
            let other = try await client.transfer(ann, euro, "1.00", key: "4", user: "ann")
            #expect((other.status, other.text("errors/0/pointer")) == (422, "#/destinationAccountId"))
            let currency = try await client.transfer(
                ann, bob, "1.00", key: "5", user: "ann", more: #","currency":"EUR""#)
            #expect((currency.status, currency.text("errors/0/pointer")) == (422, "#/amount"))
            let much = try await client.transfer(ann, bob, "10.01", key: "6", user: "ann")
            #expect((much.status, much.text("declineCode")) == (402, "insufficient_funds"))
            #expect(try await client.transfer(ann, bob, "0", key: "7", user: "ann").status == 422)
            #expect(try await client.transfer(ann, "sales:USD", "1.00", key: "8", user: "ann").status == 404)
            #expect(try await client.post("/transfers", "{}", key: "9", user: "ann").count("errors") == 3)

            #expect(try await fixture.books() == before)
        }
    }

    @Test("A to B and B to A at once: each happens once, and nothing is lost (hazard 46)")
    func opposed() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let (ann, bob) = (try await client.openWallet("ann", "10.00"), try await client.openWallet("bob", "10.00"))
            try await withThrowingTaskGroup { group in
                for number in 0..<200 {
                    group.addTask {
                        let isThere = number.isMultiple(of: 2)
                        let answer = try await client.transfer(
                            isThere ? ann : bob, isThere ? bob : ann, "0.05", key: "k\(number / 2)",
                            user: isThere ? "ann" : "bob")
                        #expect(answer.status == 201)
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await client.balance("ann") == 1000)
            #expect(try await client.balance("bob") == 1000)
        }
        #expect(try await fixture.books().entries.count == 202)
    }

    @Test("64 tasks transfer around a ring: the sum stays, and nothing fails but for want of money")
    func ring() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            var wallets: [String] = []
            for number in 0..<64 { wallets.append(try await client.openWallet("user-\(number)", "10.00")) }
            let counts = try await withThrowingTaskGroup { group in
                for number in 0..<64 {
                    group.addTask { [wallets] in
                        var counts: [Int: Int] = [:]
                        for round in 0..<30 {
                            // Some send nearly all they have; and now and then one wants more than there is at all.
                            let wanted = (number + round) % 7 == 0 ? "9.00" : "2.00"
                            let amount = round % 10 == 9 ? "1000.00" : wanted
                            let answer = try await client.transfer(
                                wallets[number], wallets[(number + 1) % 64], amount, key: "k\(round)",
                                user: "user-\(number)")
                            counts[answer.status, default: 0] += 1
                            if answer.status != 201 { #expect(answer.text("declineCode") == "insufficient_funds") }
                        }
                        return counts
                    }
                }
                return try await group.reduce(into: [Int: Int]()) { $0.merge($1, uniquingKeysWith: +) }
            }
            #expect(Set(counts.keys) == [201, 402])
            #expect(counts.values.reduce(0, +) == 64 * 30)
            #expect(try await client.get("/ledger/check").value("balanced") == .bool(true))
        }
        let books = try await fixture.books()
        #expect(books.balances.filter { !$0.key.contains(":") }.values.reduce(0, +) == 64 * 1000)
        #expect(books.balances == books.sums)
    }
}
