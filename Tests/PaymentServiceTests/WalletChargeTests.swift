import Money
import TestSupport
import Testing

@testable import PaymentService

@Suite("A charge from a wallet", .timeLimit(.minutes(5)))
struct WalletChargeTests {
    @Test("a user with an account in the currency pays from it, and no provider is asked", arguments: [false, true])
    func debited(inBatch: Bool) async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "50.00")
            let sender = inBatch ? client.batching : client
            let answer = try await sender.charge("20.00", key: "k", user: "ann", more: #","chargeId":"c""#)
            #expect(answer.status == 200)
            #expect(answer.text("status") == "succeeded")
            #expect(try await client.balance("ann") == 3000)
            #expect(try await client.get("/charges/c", user: "ann").text("method") == "wallet")
            #expect(try await sender.refund("c", "5.00", key: "r1", user: "ann").status == 200)
            #expect(try await client.balance("ann") == 3500)
            #expect(try await sender.refund("c", key: "r2", user: "ann", orCancel: true).status == 200)
            #expect(try await client.balance("ann") == 5000)
        }
        #expect(provider.charges.isEmpty)
        #expect(provider.refunds.isEmpty)
        let books = try await fixture.books()
        #expect(
            books.entries == [
                "opening cash_in:USD>ann 5000", "charge ann>sales:USD 2000", "refund sales:USD>ann 500",
                "refund sales:USD>ann 1500",
            ])
        #expect(books.balances["sales:USD"] == 0)
    }

    @Test("too little in the account is a 402, and the charge's id stays refused though money comes in later")
    func insufficient() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "19.99")
            let id = #","chargeId":"c""#
            let refused = try await client.charge("20.00", key: "k", user: "ann", more: id)
            #expect((refused.status, refused.code) == (402, "payment-declined"))
            #expect(refused.text("declineCode") == "insufficient_funds")
            _ = try await client.deposit("0.01", key: "d", user: "ann")
            #expect(try await client.charge("20.00", key: "k", user: "ann", more: id).status == 402)
            #expect(try await client.balance("ann") == 2000)
            #expect(try await client.charge("20.00", key: "k2", user: "ann").status == 200)
            #expect(try await client.balance("ann") == 0)
        }
        try await fixture.expectSoundBooks()
    }

    @Test("a method that is named is used although there is an account; without one in the currency it is the card")
    func choice() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "50.00")
            #expect(try await client.charge(id: "a", key: "a", user: "ann", method: "card").status == 200)
            #expect(try await client.charge(id: "b", key: "b", user: "ann", method: "test_declined").status == 402)
            let euro = #"{"amount":2000,"currency":"EUR"}"#
            #expect(try await client.charge(euro, key: "c", user: "ann", more: #","chargeId":"c""#).status == 200)
            #expect(try await client.get("/charges/c", user: "ann").text("method") == "card")
            #expect(try await client.charge(key: "d", user: "bob").status == 200)
            #expect(try await client.charge(key: "e").status == 200)
            #expect(try await client.balance("ann") == 5000)
            for (id, user) in [("f", "bob"), ("g", nil)] {
                let none = try await client.charge(id: id, key: id, user: user, method: "wallet")
                #expect(none.text("declineCode") == "payment_method_not_supported")
                #expect(none.text("detail")?.contains("no account of the user's in USD") == true)
            }
        }
    }

    @Test("an account that was opened in nobody's name for a user does not pay until the user has used it")
    func notClaimed() async throws {
        try await PaymentFixture.simulated().run { client in
            _ = try await client.post("/accounts", #"{"userId":"vic"}"#)
            #expect(try await client.charge("20.00", key: "a", user: "vic", more: #","chargeId":"a""#).status == 200)
            #expect(try await client.get("/charges/a", user: "vic").text("method") == "card")
            _ = try await client.deposit("30.00", key: "d", user: "vic")
            #expect(try await client.charge("20.00", key: "b", user: "vic", more: #","chargeId":"b""#).status == 200)
            #expect(try await client.get("/charges/b", user: "vic").text("method") == "wallet")
            #expect(try await client.balance("vic") == 1000)
        }
    }

    @Test("how a charge is paid is decided once: an account that is opened later changes neither it nor its refund")
    func recorded() async throws {
        let provider = ScriptedProvider()
        provider.scriptCharges(.answer(.unknown), .answer(.approved))
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let id = #","chargeId":"c""#
            #expect(try await client.charge("20.00", key: "k", user: "ann", more: id).status == 504)
            _ = try await client.openWallet("ann", "50.00")
            #expect(try await client.charge("20.00", key: "k", user: "ann", more: id).status == 200)
            // Asked for again under another key: the same charge, however the choice would fall now.
            #expect(try await client.charge("20.00", key: "k2", user: "ann", more: id).status == 200)
            #expect(try await client.refund("c", user: "ann").status == 200)
            #expect(try await client.balance("ann") == 5000)
        }
        #expect(provider.charges.count == 2)
        #expect(provider.refunds.count == 1)
        #expect(
            try await fixture.books().entries == [
                "opening cash_in:USD>ann 5000", "charge settlement:simulated:USD>sales:USD 2000",
                "refund sales:USD>settlement:simulated:USD 2000",
            ])
    }

    @Test("fifty charges at once take no more than is there")
    func racing() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "100.00")
            let statuses = try await withThrowingTaskGroup { group in
                for number in 0..<50 {
                    group.addTask { try await client.charge("7.00", key: "k\(number)", user: "ann").status }
                }
                return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
            }
            #expect(statuses == [200: 14, 402: 36])
            #expect(try await client.balance("ann") == 200)
        }
        try await fixture.expectSoundBooks()
    }

    @Test("a refund is given back to the wallet even when that is full: it is owed")
    func owed() async throws {
        let fixture = try PaymentFixture.simulated()
        let largest = #"{"amount":\#(Int64.max),"currency":"USD"}"#
        try await fixture.run { client in
            let id = try await client.openWallet("ann", largest)
            #expect(try await client.charge(largest, key: "k", user: "ann", more: #","chargeId":"c""#).status == 200)
            #expect(try await client.deposit(largest, key: "d", user: "ann").status == 200)
            #expect(try await client.refund("c", user: "ann").status == 200)
            let answer = try await client.get("/accounts/\(id)", user: "ann")
            #expect(answer.number("balance/amount") == "\(Int128(Int64.max) * 2)")
        }
        try await fixture.expectSoundBooks()
    }
}
