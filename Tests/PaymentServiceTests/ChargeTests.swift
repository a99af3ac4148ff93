import Money
import TestSupport
import Testing

@testable import PaymentService

@Suite("Charges", .timeLimit(.minutes(5)))
struct ChargeTests {
    // MARK: - Showing

    @Test("a charge is shown with its order, its method and what was refunded")
    func show() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let body = #","chargeId":"c","orderId":"o""#
            #expect(try await client.charge(key: "k", user: "ada", more: body).status == 200)
            let charge = try await client.get("/charges/c", user: "ada")
            #expect(
                charge.names() == ["chargeId", "status", "amount", "refunded", "orderId", "method", "createdAt"])
            #expect(charge.text("status") == "succeeded")
            #expect(charge.integer("amount/amount") == 2000)
            #expect(charge.integer("refunded/amount") == 0)
            #expect(charge.text("orderId") == "o")
            #expect(charge.text("method") == "card")
            #expect(charge.text("createdAt") == "2026-01-01T00:00:00.000Z")
        }
    }

    @Test("another user's charge reads as one that does not exist (INV-15)")
    func foreign() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k", user: "ada")
            #expect(try await client.status(ofCharge: "c", user: "ada") == "succeeded")
            for user in ["bob", nil] {
                let answer = try await client.get("/charges/c", user: user)
                #expect(answer.status == 404)
                #expect(answer.code == "charge-not-found")
            }
        }
    }

    @Test(
        "an amount may be a decimal of dollars, or minor units of any currency",
        arguments: [
            ("20", 2000, "USD"), ("0.01", 1, "USD"), ("2e1", 2000, "USD"),
            (#"{"amount":500,"currency":"JPY"}"#, 500, "JPY"), (#"{"amount":1250,"currency":"KWD"}"#, 1250, "KWD"),
            ("92233720368547758.07", Int64.max, "USD"),
        ] as [(String, Int64, String)])
    func amounts(_ amount: String, minorUnits: Int64, currency: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let answer = try await client.charge(amount)
            #expect(answer.status == 200)
            #expect(answer.integer("amount/amount") == minorUnits)
            #expect(answer.text("amount/currency") == currency)
        }
    }

    @Test(
        "a command that is not valid names the place of its fault, and leaves its key free (IK-17)",
        arguments: [
            (#"{}"#, "#/amount"), (#"{"amount":0}"#, "#/amount"), (#"{"amount":-1}"#, "#/amount"),
            (#"{"amount":1.005}"#, "#/amount"), (#"{"amount":1e400}"#, "#/amount"), (#"{"amount":"20"}"#, "#/amount"),
            (#"{"amount":92233720368547758.08}"#, "#/amount"),
            (#"{"amount":{"amount":0,"currency":"USD"}}"#, "#/amount/amount"),
            (#"{"amount":{"amount":1,"currency":"XXX"}}"#, "#/amount/currency"),
            (#"{"amount":{"amount":1}}"#, "#/amount/currency"), (#"{"amount":1,"chargeId":""}"#, "#/chargeId"),
            (#"{"amount":1,"orderId":7}"#, "#/orderId"), (#"{"amount":1,"method":""}"#, "#/method"),
            (#"{"amount":1,"tip":1}"#, "#/tip"), (#"{"amount":1,"amount":1}"#, "#/amount"),
        ])
    func invalid(_ body: String, pointer: String) async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let answer = try await client.post("/charge", body, key: "k")
            #expect(answer.status == 422)
            #expect(answer.text("errors/0/pointer") == pointer)
            #expect(provider.charges.isEmpty)
            #expect(try await client.charge(key: "k").status == 200)
        }
    }

    @Test("a charge or refund without a key is refused", arguments: ["/charge", "/refund"])
    func keyMissing(_ path: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let answer = try await client.post(path, #"{"amount":20}"#)
            #expect(answer.status == 400)
            #expect(answer.code == "idempotency-key-missing")
        }
    }

    // MARK: - Charge ids

    @Test("under a key that is the charge's id the receipt is replayed, also when the money was given back since")
    func keyIsID() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let first = try await client.charge(id: "c", key: "c")
            #expect(first.status == 200)
            #expect(!first.isReplayed)
            #expect(try await client.post("/refund", #"{"chargeId":"c"}"#, key: "r").status == 200)
            let second = try await client.charge(id: "c", key: "c")
            #expect(second.isReplayed)
            #expect(second.body == first.body)
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 2000)
        }
    }

    @Test("under a key that is the charge's id another command is refused (IK-13), and a declined one stays declined")
    func keyIsIDMismatch() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            #expect(try await client.charge(id: "c", key: "c").status == 200)
            let other = try await client.charge(id: "c", "30", key: "c")
            #expect(other.status == 422)
            #expect(other.code == "idempotency-key-reused")
            let declined = #"{"amount":20,"chargeId":"d","method":"test_declined"}"#
            for _ in 1...2 {
                let answer = try await client.post("/charge", declined, key: "d")
                #expect(answer.status == 402)
            }
        }
    }

    @Test("a provider that does not answer at once is asked under a key that is the charge's id as under any other")
    func keyIsIDUnanswered() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            provider.scriptCharges(.answer(.unknown), .answer(.approved))
            #expect(try await client.charge(id: "c", key: "c").code == "outcome-unknown")
            let second = try await client.charge(id: "c", key: "c")
            #expect(second.status == 200)
            let third = try await client.charge(id: "c", key: "c")
            #expect(third.isReplayed)
            #expect(third.body == second.body)
        }
        #expect(provider.charges.map(\.chargeID) == ["c", "c"])
    }

    @Test("one charge id under two keys is one charge")
    func sameID() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let first = try await client.charge(id: "c", key: "a")
            let second = try await client.charge(id: "c", key: "b")
            #expect(first.status == 200)
            #expect(second.status == 200)
            #expect(second.body == first.body)
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 2000)
        }
        #expect(provider.charges.map(\.chargeID) == ["c"])
    }

    @Test("a charge id is bound to its amount, its order, its method and its user for good (hazard 26)")
    func bound() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let more = #","chargeId":"c","orderId":"o""#
            #expect(try await client.charge(key: "first", user: "ada", more: more).status == 200)
            let others = [
                try await client.charge("20.01", key: "a", user: "ada", more: more),
                try await client.charge(#"{"amount":2000,"currency":"EUR"}"#, key: "b", user: "ada", more: more),
                try await client.charge(key: "c", user: "ada", more: #","chargeId":"c","orderId":"p""#),
                try await client.charge(key: "d", user: "ada", more: #","chargeId":"c""#),
                try await client.charge(key: "e", user: "ada", more: more + #","method":"test_slow""#),
                try await client.charge(key: "f", user: "bob", more: more),
            ]
            for other in others {
                #expect(other.status == 409)
                #expect(other.code == "charge-state-conflict")
            }
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 2000)
        }
        #expect(fixture.sleeps.isEmpty)
    }

    @Test("a declined charge id stays declined, under its own key and under any other")
    func declinedForGood() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.declined(.insufficientFunds)))
        try await fixture.run { client in
            for key in ["a", "a", "b"] {
                let answer = try await client.charge(id: "c", key: key)
                #expect(answer.status == 402)
                #expect(answer.text("declineCode") == "insufficient_funds")
            }
            #expect(try await client.status(ofCharge: "c") == "failed")
        }
        #expect(provider.charges.count == 1)
    }

    @Test("a declined key without a charge id of its own is tried again as a new charge (IK-18)")
    func declinedOnce() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.declined(.cardDeclined)))
        try await fixture.run { client in
            #expect(try await client.charge().status == 402)
            let answer = try await client.charge()
            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
        }
        #expect(Set(provider.charges.map(\.chargeID)).count == 2)
    }

    // MARK: - Keys

    @Test("a replay has the same bytes and says so, and the provider is not asked (IK-11)")
    func replay() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let first = try await client.charge("20.00")
            let second = try await client.charge(#"{"currency":"USD","amount":2000}"#)
            #expect(!first.isReplayed)
            #expect(second.isReplayed)
            #expect(second.body == first.body)
        }
        #expect(provider.charges.count == 1)
    }

    @Test("another command under the key is refused when the first succeeded, was declined, or has no answer (IK-13)")
    func mismatch() async throws {
        for answer in [CardAnswer.approved, .declined(.cardDeclined), .unknown] {
            let provider = ScriptedProvider()
            let fixture = try PaymentFixture(provider)
            provider.scriptCharges(.answer(answer))
            try await fixture.run { client in
                _ = try await client.charge()
                for other in [
                    try await client.charge("20.01"), try await client.charge(more: #","orderId":"o""#),
                    try await client.charge(more: #","chargeId":"c""#), try await client.charge(method: "test_slow"),
                ] {
                    #expect(other.status == 422)
                    #expect(other.code == "idempotency-key-reused")
                }
            }
            #expect(provider.charges.count == 1)
        }
    }

    @Test("equal keys of two users, and of a charge and a refund, are independent (IK-14)")
    func scopes() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let ada = try await client.charge(key: "k", user: "ada")
            let bob = try await client.charge("30", key: "k", user: "bob")
            #expect(bob.status == 200)
            let id = try #require(ada.text("chargeId"))
            #expect(bob.text("chargeId") != id)
            #expect(try await client.refund(id, key: "k", user: "ada").status == 200)
        }
    }

    @Test("while the provider is asked, the key and the charge id are in progress (IK-15)")
    func inProgress() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        let gate = Gate()
        provider.scriptCharges(.wait(gate, then: .approved))
        try await fixture.run { client in
            async let pending = client.charge(id: "c", key: "a")
            await gate.arrival()
            for key in ["a", "b"] {
                let early = try await client.charge(id: "c", key: key)
                #expect(early.status == 409)
                #expect(early.code == "request-in-progress")
                #expect(early.header("Retry-After") == "1")
            }
            #expect(try await client.status(ofCharge: "c") == "pending")

            gate.open()
            let first = try await pending
            #expect(first.status == 200)
            #expect(try await client.charge(id: "c", key: "b").body == first.body)
        }
        #expect(provider.charges.count == 1)
    }

    @Test("a key takes money once, whether or not it is the charge's id as well (IK-13)", arguments: [false, true])
    func keyAndID(idFirst: Bool) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let commands = [("20", ""), ("30", #","chargeId":"k""#)]
            let (first, second) = idFirst ? (commands[1], commands[0]) : (commands[0], commands[1])
            let taken = try await client.charge(first.0, key: "k", user: "ann", more: first.1)
            #expect(taken.status == 200)
            #expect(
                try await client.charge(second.0, key: "k", user: "ann", more: second.1).code
                    == "idempotency-key-reused")
            #expect(try await client.charge(first.0, key: "k", user: "ann", more: first.1).body == taken.body)
            // The charge's id is there for ever, and so is what its key stands for.
            guard idFirst else { return }
            fixture.test.time.advance(by: .seconds(90_000))
            #expect(try await client.charge("20", key: "k", user: "ann").code == "idempotency-key-reused")
            let again = try await client.charge("30", key: "k", user: "ann", more: #","chargeId":"k""#)
            #expect((again.body == taken.body, again.isReplayed) == (true, true))
            #expect(try await client.charge("20", key: "k", user: "bob").status == 200)
        }
    }

    @Test(
        "another user's charge whose id is its key is no matter of this user's key (IK-14)", arguments: [false, true])
    func keyAndIDOfAnother(inBatch: Bool) async throws {
        try await PaymentFixture.simulated().run { client in
            let sender = inBatch ? client.batching : client
            let hers = try await sender.charge(id: "k", key: "k", user: "ann")
            #expect(hers.status == 200)
            #expect(try await sender.charge(id: "k", key: "k", user: "eve").code == "charge-state-conflict")
            #expect(try await client.charge(key: "k", user: "zoe").status == 200)
        }
    }

    @Test("to name the card is another command than to name nothing, which may be paid from the account (IK-13)")
    func methodAsSent() async throws {
        try await PaymentFixture.simulated().run { client in
            _ = try await client.openWallet("ann", "5.00")
            let card = #","method":"card""#
            for (amount, status) in [("3.00", 200), ("20.00", 402)] {
                #expect(try await client.charge(amount, key: "k\(amount)", user: "ann").status == status)
                #expect(
                    try await client.charge(amount, key: "k\(amount)", user: "ann", more: card).code
                        == "idempotency-key-reused")
            }
            #expect(try await client.balance("ann") == 200)
        }
    }

    @Test("of fifty charges at once with one key, the provider is asked for one (IK-16)")
    func concurrentKey() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let answers = try await withThrowingTaskGroup(of: RouteResponse.self) { group in
                for _ in 0..<50 { group.addTask { try await client.charge() } }
                return try await group.reduce(into: [RouteResponse]()) { $0.append($1) }
            }
            #expect(answers.count { $0.status == 200 && !$0.isReplayed } == 1)
            #expect(answers.allSatisfy { $0.status == 200 || $0.code == "request-in-progress" })
        }
        #expect(provider.charges.count == 1)
    }

    @Test("of fifty charges at once with one charge id and a key each, the provider is asked for one")
    func concurrentID() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        let answer = try await client.charge(id: "c", key: "k\(number)")
                        #expect(answer.status == 200 || answer.code == "request-in-progress")
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 2000)
        }
        #expect(provider.charges.count == 1)
    }
}
