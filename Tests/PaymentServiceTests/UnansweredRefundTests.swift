import TestSupport
import Testing

@testable import PaymentService

@Suite("Refunds whose answer is long in coming", .timeLimit(.minutes(5)))
struct UnansweredRefundTests {
    @Test("a refund that the provider does not make is set free again: it may be tried again, and the amount is there")
    func unavailable() async throws {
        for answer in [CardAnswer.unavailable, .declined(.cardDeclined)] {
            let provider = ScriptedProvider()
            let fixture = try PaymentFixture(provider)
            provider.scriptRefunds(.answer(answer))
            try await fixture.run { client in
                _ = try await client.charge(id: "c", key: "k")
                let failed = try await client.refund("c")
                #expect(failed.status == 503)
                #expect(failed.code == "provider-unavailable")
                #expect(try await client.get("/charges/c").integer("refunded/amount") == 0)
                #expect(try await client.refund("c").integer("amount/amount") == 2000)
            }
        }
    }

    @Test("a refund without a definite answer holds its amount, and is asked about under the same id until it has one")
    func unknown() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptRefunds(.answer(.unknown))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let unknown = try await client.refund("c", "15.00")
            #expect(unknown.status == 504)
            #expect(unknown.code == "outcome-unknown")
            #expect(try await client.refund("c", "5.01", key: "other").code == "refund-exceeds-charge")

            let answer = try await client.refund("c", "15.00")
            #expect(answer.status == 200)
            #expect(answer.integer("amount/amount") == 1500)
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 1500)
        }
        #expect(provider.refunds.count == 2)
        #expect(Set(provider.refunds).count == 1)
    }

    @Test("while the provider is asked, the key and a further whole refund are in progress")
    func inProgress() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        let gate = Gate()
        provider.scriptRefunds(.wait(gate, then: .approved))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            async let pending = client.refund("c", key: "a")
            await gate.arrival()
            for key in ["a", "b"] {
                #expect(try await client.refund("c", key: key).code == "request-in-progress")
            }
            try await fixture.settleOpen()
            #expect(provider.refunds.count == 1)
            gate.open()
            let first = try await pending
            #expect(first.status == 200)
            #expect(try await client.refund("c", key: "b").body == first.body)
        }
        #expect(provider.refunds.count == 1)
    }

    @Test("an answer that cannot be stored leaves the refund pending; the settler then asks again")
    func answerNotStored() async throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let provider = ScriptedProvider()
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        let gate = Gate()
        provider.scriptRefunds(.wait(gate, then: .approved))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            async let pending = client.refund("c")
            await gate.arrival()
            store.failNext()
            gate.open()
            #expect(try await pending.code == "outcome-unknown")

            try await fixture.settleOpen()
            let replay = try await client.refund("c")
            #expect(replay.status == 200)
            #expect(replay.isReplayed)
            #expect(try await client.get("/charges/c").integer("refunded/amount") == 2000)
        }
        #expect(Set(provider.refunds).count == 1)
    }

    @Test("a refund that an earlier process left pending is settled without its client")
    func earlierProcess() async throws {
        let provider = ScriptedProvider()
        let first = try PaymentFixture(provider)
        // That the provider is not available says nothing of the first asking.
        provider.scriptRefunds(.answer(.unknown), .answer(.unavailable), .answer(.approved))
        let second = PaymentFixture(first.test, first.environment, provider)
        try await first.run { client in
            _ = try await client.charge(id: "c", key: "k")
            #expect(try await client.refund("c").status == 504)
            try await second.settleOpen()
            #expect(try await client.refund("c", key: "another").code == "request-in-progress")
            first.test.time.advance(by: .seconds(2))
            try await second.settleOpen()
            #expect(try await client.refund("c").isReplayed)
            #expect(try await client.status(ofCharge: "c") == "refunded")
        }
        #expect(Set(provider.refunds).count == 1)
    }

    @Test(
        "a refund that ends between the settler's reading and its asking is not asked about: it might be made twice")
    func endedMeanwhile() async throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let provider = ScriptedProvider()
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        let asking = Gate()
        let afterReading = Gate()
        provider.scriptRefunds(.wait(asking, then: .unavailable))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            async let pending = client.refund("c")
            await asking.arrival()
            store.holdNext(at: afterReading)
            async let settled: Void = fixture.settleOpen()
            await afterReading.arrival()

            asking.open()
            #expect(try await pending.code == "provider-unavailable")
            afterReading.open()
            try await settled
            #expect(provider.refunds.count == 1, "the provider approved what the client was told is not given back")
            #expect(try await client.refund("c").status == 200)
        }
    }

    @Test(
        "a whole refund is not answered as done while a part of it has no answer yet", arguments: [nil, "8.00"])
    func wholeBesidePending(_ otherPart: String?) async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        let gate = Gate()
        provider.scriptRefunds(.wait(gate, then: .unavailable))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            async let part = client.refund("c", "12.00", key: "part")
            await gate.arrival()
            if let otherPart {
                #expect(try await client.refund("c", otherPart, key: "other").status == 200)
            }
            let early = try await client.refund("c", key: "whole", orCancel: true)
            #expect(early.status == 409)
            #expect(early.code == "request-in-progress")

            gate.open()
            #expect(try await part.status == 503)
            #expect(try await client.refund("c", key: "whole", orCancel: true).status == 200)
            #expect(try await client.status(ofCharge: "c") == "refunded")
        }
    }
}
