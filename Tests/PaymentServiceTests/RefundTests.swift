import Money
import Storage
import TestSupport
import Testing

@testable import PaymentService

@Suite("Refunds", .timeLimit(.minutes(5)))
struct RefundTests {
    // MARK: - Whole and partial

    @Test("a refund that is not valid leaves its key free for the one that is (IK-17)")
    func invalidLeavesKey() async throws {
        try await PaymentFixture.simulated().run { client in
            _ = try await client.charge(id: "c", key: "k")
            let euro = try await client.refund("c", #"{"amount":500,"currency":"EUR"}"#, key: "r")
            #expect(euro.text("errors/0/pointer") == "#/amount/currency")
            #expect(try await client.refund("c", "5.00", key: "r").status == 200)
        }
    }

    @Test("a refund without an amount gives all of it back")
    func whole() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let answer = try await client.refund("c")
            #expect(answer.status == 200)
            #expect(answer.names() == ["refundId", "chargeId", "status", "amount"])
            #expect(answer.text("chargeId") == "c")
            #expect(answer.text("status") == "succeeded")
            #expect(answer.integer("amount/amount") == 2000)
            #expect(answer.text("amount/currency") == "USD")
            let charge = try await client.get("/charges/c")
            #expect(charge.text("status") == "refunded")
            #expect(charge.integer("refunded/amount") == 2000)
        }
    }

    @Test(
        "what a version before has charged under an id that is none any more can be given back; nothing new is made under such a one"
    )
    func earlierID() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            try await fixture.test.store.transaction { transaction in
                _ = try transaction.run("UPDATE charges SET charge_id = 'order 17' WHERE charge_id = 'c'", [])
            }
            #expect(try await client.refund("order 17").text("status") == "succeeded")
            for more in ["", #", "orCancel": true"#] {
                let unknown = try await client.post("/refund", #"{"chargeId": "order 18"\#(more)}"#, key: "other")
                #expect(unknown.status == 422 && unknown.text("errors/0/pointer") == "#/chargeId")
            }
        }
    }

    @Test("refunds in part add up, and the last one without an amount gives back what is left")
    func partial() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let first = try await client.refund("c", "5.00", key: "a")
            #expect(first.integer("amount/amount") == 500)
            #expect(try await client.status(ofCharge: "c") == "partially_refunded")
            let second = try await client.refund("c", #"{"amount":300,"currency":"USD"}"#, key: "b")
            #expect(second.integer("amount/amount") == 300)
            #expect(second.text("refundId") != first.text("refundId"))
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 800)
            #expect(try await client.refund("c", key: "c").integer("amount/amount") == 1200)
            #expect(try await client.status(ofCharge: "c") == "refunded")
        }
    }

    @Test("more than is left is refused, and gives nothing back", arguments: [false, true])
    func above(_ isRemote: Bool) async throws {
        let provider = ScriptedProvider()
        let fixture = try isRemote ? PaymentFixture(provider) : .simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            _ = try await client.refund("c", "15.00", key: "a")
            for (key, amount) in [("b", "5.01"), ("c", "20.00"), ("d", "92233720368547758.07")] {
                let answer = try await client.refund("c", amount, key: key)
                #expect(answer.status == 409)
                #expect(answer.code == "refund-exceeds-charge")
            }
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 1500)
            #expect(try await client.refund("c", "5.00", key: "e").status == 200)
            #expect(try await client.refund("c", "0.01", key: "f").code == "refund-exceeds-charge")
        }
        #expect(provider.refunds.count == (isRemote ? 2 : 0))
    }

    @Test("a whole refund of what is wholly refunded answers with the refund that was made, and has no second effect")
    func wholeAgain() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let first = try await client.refund("c", key: "a")
            let second = try await client.refund("c", key: "b")
            #expect(second.status == 200)
            #expect(!second.isReplayed)
            #expect(second.body == first.body)
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 2000)
        }
        #expect(provider.refunds.count == 1)
    }

    @Test(
        "a command that is not valid names the place of its fault, and leaves its key free (IK-17)",
        arguments: [
            (#"{}"#, "#/chargeId"), (#"{"chargeId":7}"#, "#/chargeId"), (#"{"chargeId":"c","amount":0}"#, "#/amount"),
            (#"{"chargeId":"c","amount":"1"}"#, "#/amount"), (#"{"chargeId":"c","orCancel":"yes"}"#, "#/orCancel"),
            (#"{"chargeId":"c","reason":"x"}"#, "#/reason"),
        ])
    func invalid(_ body: String, pointer: String) async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let answer = try await client.post("/refund", body, key: "r")
            #expect(answer.status == 422)
            #expect(answer.text("errors/0/pointer") == pointer)
            #expect(try await client.refund("c", key: "r").status == 200)
        }
    }

    @Test("an amount in another currency than the charge's is refused")
    func currency() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let answer = try await client.refund("c", #"{"amount":100,"currency":"EUR"}"#)
            #expect(answer.status == 422)
            #expect(answer.text("errors/0/pointer") == "#/amount/currency")
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 0)
        }
    }

    // MARK: - Whose, and of what

    @Test("another user's charge, and one that does not exist, cannot be refunded")
    func notFound() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k", user: "ada")
            for answer in [
                try await client.refund("c", key: "a", user: "bob"), try await client.refund("c", key: "b"),
                try await client.refund("c", key: "c", user: "bob", orCancel: true),
                try await client.refund("none", key: "d", user: "ada"),
            ] {
                #expect(answer.status == 404)
                #expect(answer.code == "charge-not-found")
            }
            #expect(try await client.get("/charges/c", user: "ada").integer("refunded/amount") == 0)
        }
    }

    @Test("one user's refund has nothing to do with another's under an equal key (IK-14)")
    func equalKeys() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            for user in ["ann", "bob"] { _ = try await client.charge(id: "of-\(user)", key: "c", user: user) }
            for user in ["ann", "bob"] {
                let refund = try await client.refund("of-\(user)", key: "r", user: user)
                #expect(refund.status == 200 && !refund.isReplayed)
                #expect(refund.text("chargeId") == "of-\(user)")
            }
            for user in ["ann", "bob"] {
                #expect(try await client.get("/charges/of-\(user)", user: user).text("status") == "refunded")
            }
        }
    }

    @Test("while a refund has no answer its charge does not say that the money was given back (INV-17)")
    func shownWhilePending() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptRefunds(.answer(.unknown))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            #expect(try await client.refund("c", "5.00", key: "r").code == "outcome-unknown")
            let pending = try await client.get("/charges/c")
            #expect(pending.text("status") == "succeeded")
            #expect(pending.integer("refunded/amount") == 0 && pending.integer("refunding/amount") == 500)
            #expect(try await client.refund("c", "5.00", key: "r").status == 200)
            let done = try await client.get("/charges/c")
            #expect(done.text("status") == "partially_refunded")
            #expect(done.integer("refunded/amount") == 500 && done.value("refunding") == nil)
        }
    }

    @Test("a declined charge took nothing: its refund is refused, or with orCancel has nothing to do")
    func declined() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.declined(.cardDeclined)))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let refused = try await client.refund("c", key: "a")
            #expect(refused.status == 409)
            #expect(refused.code == "charge-state-conflict")

            let nothing = try await client.refund("c", key: "b", orCancel: true)
            #expect(nothing.status == 200)
            #expect(nothing.text("status") == "canceled")
            #expect(nothing.integer("amount/amount") == 0)
            #expect(try await client.status(ofCharge: "c") == "failed")
        }
        #expect(provider.refunds.isEmpty)
    }

    @Test("a refund with orCancel of a charge never seen leaves a tombstone that refuses the late charge (hazard 5)")
    func tombstone() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let answer = try await client.refund("c", key: "a", orCancel: true)
            #expect(answer.status == 200)
            #expect(answer.text("status") == "canceled")
            #expect(answer.integer("amount/amount") == 0)
            #expect(try await client.status(ofCharge: "c") == "canceled")

            for key in ["k", "k", "l"] {
                let late = try await client.charge(id: "c", key: key)
                #expect(late.status == 409)
                #expect(late.code == "charge-state-conflict")
            }
            #expect(try await client.refund("c", key: "a", orCancel: true).isReplayed)
            #expect(try await client.refund("c", key: "b", orCancel: true).text("status") == "canceled")
            #expect(try await client.refund("c", key: "c").code == "charge-state-conflict")
        }
        #expect(provider.charges.isEmpty)
        #expect(provider.refunds.isEmpty)
    }

    @Test("a charge without an answer cannot be refunded yet, and the key is not recorded (hazard 6)")
    func pendingCharge() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unknown))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            for orCancel in [false, true] {
                let early = try await client.refund("c", key: "r", orCancel: orCancel)
                #expect(early.status == 409)
                #expect(early.code == "request-in-progress")
                #expect(early.header("Retry-After") == "1")
                // Of the charge, and not of this key, which was never used.
                #expect(early.text("detail")?.contains("The charge has no outcome yet") == true)
            }
            try await fixture.settleOpen()
            // Another command under the key: it would be refused if the key had been recorded.
            #expect(try await client.refund("c", "1.00", key: "r").status == 200)
        }
    }

    // MARK: - Keys

    @Test("a replay has the same bytes and says so, and gives nothing more back (IK-11)")
    func replay() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let first = try await client.refund("c", "5.00")
            let second = try await client.refund("c", "5.00")
            #expect(second.isReplayed)
            #expect(second.body == first.body)
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 500)
            for other in [
                try await client.refund("c", "5.01"), try await client.refund("c"),
                try await client.refund("d", "5.00"),
                try await client.refund("c", "5.00", orCancel: true),
            ] {
                #expect(other.code == "idempotency-key-reused")
            }
        }
    }

    @Test("a refund that failed for want of its charge may be tried again under its key (IK-18)")
    func again() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            #expect(try await client.refund("c").status == 404)
            _ = try await client.charge(id: "c", key: "k")
            let answer = try await client.refund("c")
            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
        }
    }

    // MARK: - At once

    @Test("fifty refunds at once never give back more than was charged (hazard 48)", arguments: [false, true])
    func race(_ isRemote: Bool) async throws {
        let provider = ScriptedProvider()
        let fixture = try isRemote ? PaymentFixture(provider) : .simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<50 {
                    group.addTask { try await client.refund("c", "0.90", key: "r\(number)").status }
                }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
            #expect(statuses.count { $0 == 200 } == 22)
            #expect(statuses.count { $0 == 409 } == 28)
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 1980)
        }
        #expect(provider.refunds.count == (isRemote ? 22 : 0))
    }

    @Test("of fifty whole refunds at once with a key each, the provider is asked for one")
    func wholeRace() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        let answer = try await client.refund("c", key: "r\(number)", orCancel: true)
                        #expect(answer.status == 200 || answer.code == "request-in-progress")
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await client.status(ofCharge: "c") == "refunded")
        }
        #expect(provider.refunds.map(\.amount.minorUnits) == [2000])
    }

    // MARK: - Totals

    @Test("the totals show by currency what was captured and what was given back")
    func totals() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges { call in
            switch call {
            case 4: .answer(.declined(.cardDeclined))
            case 5: .answer(.unknown)
            default: .answer(.approved)
            }
        }
        try await fixture.run { client in
            _ = try await client.charge(id: "a", "20.00", key: "1")
            _ = try await client.charge(id: "b", "5.00", key: "2")
            _ = try await client.charge(id: "c", #"{"amount":700,"currency":"JPY"}"#, key: "3")
            _ = try await client.charge(id: "declined", key: "4")
            _ = try await client.charge(id: "pending", key: "5")
            _ = try await client.refund("canceled", key: "6", orCancel: true)
            _ = try await client.refund("a", "1.50", key: "7")
            _ = try await client.refund("b", key: "8")

            let totals = try await client.get("/audit/totals")
            #expect(totals.count("currencies") == 2)
            #expect(totals.text("currencies/0/currency") == "JPY")
            #expect(totals.integer("currencies/0/net") == 700)
            #expect(totals.text("currencies/1/currency") == "USD")
            #expect(totals.integer("currencies/1/captured") == 2500)
            #expect(totals.integer("currencies/1/refunded") == 650)
            #expect(totals.integer("currencies/1/net") == 1850)
        }
    }
}
