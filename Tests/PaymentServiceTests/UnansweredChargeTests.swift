import ServiceKit
import ServiceLifecycle
import TestSupport
import Testing

@testable import PaymentService

@Suite("Charges whose answer is long in coming", .timeLimit(.minutes(5)))
struct UnansweredChargeTests {
    @Test("a charge without a definite answer is asked about again, under the same id, until it has one (hazard 4)")
    func unknown() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unknown), .answer(.unknown))
        try await fixture.run { client in
            for _ in 0..<2 { #expect(try await client.charge().code == "outcome-unknown") }
            let answer = try await client.charge()
            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
            #expect(try await client.charge().body == answer.body)
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 2000)
        }
        #expect(provider.charges.count == 3)
        #expect(Set(provider.charges).count == 1)
    }

    @Test("a charge is stored before its provider is asked")
    func intentFirst() async throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let provider = ScriptedProvider()
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        try await fixture.run { client in
            store.failNext()
            let answer = try await client.charge()
            #expect(answer.code == "store-unavailable")
            #expect(provider.charges.isEmpty)
            #expect(try await client.charge().status == 200)
        }
    }

    @Test("an unavailable provider leaves no charge behind: the id and the key may be tried again")
    func unavailable() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unavailable), .answer(.unavailable))
        try await fixture.run { client in
            for _ in 0..<2 {
                let failed = try await client.charge(id: "c", key: "a")
                #expect(failed.status == 503)
                #expect(failed.code == "provider-unavailable")
                #expect(try await client.get("/charges/c").status == 404)
            }
            #expect(try await client.charge(id: "c", "30.00", key: "b").status == 200)
            #expect(try await client.charge(id: "c", key: "a").code == "charge-state-conflict")
        }
    }

    @Test("an answer that cannot be stored leaves the charge pending; the same request asks again")
    func answerNotStored() async throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let provider = ScriptedProvider()
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        let gate = Gate()
        provider.scriptCharges(.wait(gate, then: .approved))
        try await fixture.run { client in
            async let pending = client.charge(id: "c", key: "k")
            await gate.arrival()
            store.failNext()
            gate.open()
            let unknown = try await pending
            #expect(unknown.status == 504)
            #expect(unknown.code == "outcome-unknown")
            #expect(try await client.status(ofCharge: "c") == "pending")
            #expect(fixture.test.log.lines.contains { $0.contains("could not be stored") })

            #expect(try await client.charge(id: "c", key: "k").status == 200)
            #expect(try await client.status(ofCharge: "c") == "succeeded")
        }
        #expect(provider.charges.count == 2)
    }

    @Test("a client that leaves while the provider is asked changes nothing (hazard 19)")
    func clientLeaves() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        let gate = Gate()
        provider.scriptCharges(.wait(gate, then: .approved))
        try await fixture.run { client in
            let request = Task { try await client.charge(id: "c", key: "k") }
            await gate.arrival()
            request.cancel()
            gate.open()
            _ = try? await request.value
            try await eventually { try await client.status(ofCharge: "c") == "succeeded" }
            #expect(try await client.charge(id: "c", key: "k").isReplayed)
        }
        #expect(provider.charges.count == 1)
    }

    @Test(
        "a charge that comes while an earlier asking under its id is just being forgotten is not stored, and may come again"
    )
    func whileDropped() async throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let provider = ScriptedProvider()
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        let (asked, dropped) = (Gate(), Gate())
        provider.scriptCharges(.wait(asked, then: .unavailable), .answer(.unavailable))
        try await fixture.run { client in
            async let first = client.charge(id: "c", key: "a")
            await asked.arrival()
            store.holdNext(at: dropped)
            asked.open()
            await dropped.arrival()
            #expect(try await client.charge(id: "c", key: "b").code == "request-in-progress")
            #expect(try await client.get("/charges/c").status == 404)
            dropped.open()
            let forgotten = try await first
            #expect(forgotten.code == "provider-unavailable")
            // Asked for a first time, the provider's word that it has done nothing counts.
            #expect(try await client.charge(id: "c", key: "b").code == "provider-unavailable")
            #expect(try await client.charge(id: "c", key: "b").status == 200)
        }
    }

    // MARK: - The settler

    @Test("a charge that an earlier process left pending is settled without its client, and its key then replays it")
    func earlierProcess() async throws {
        let provider = ScriptedProvider()
        let first = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unknown))
        let unknown = try await first.run { try await $0.charge(id: "c", key: "k") }
        #expect(unknown.status == 504)

        let second = PaymentFixture(first.test, first.environment, provider)
        try await second.settleOpen()
        try await second.run { client in
            #expect(try await client.status(ofCharge: "c") == "succeeded")
            let replay = try await client.charge(id: "c", key: "k")
            #expect(replay.status == 200)
            #expect(replay.isReplayed)
        }
        #expect(Set(provider.charges).count == 1)
    }

    @Test("a refusal that the settler learns of is final")
    func settledOtherwise() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unknown), .answer(.declined(.cardDeclined)))
        try await fixture.run { client in
            #expect(try await client.charge(id: "c", key: "a").status == 504)
            try await fixture.settleOpen()
            #expect(try await client.charge(id: "c", key: "a").status == 402)
        }
    }

    @Test("an unavailable provider says nothing of an earlier asking: the charge stays pending until it is known")
    func unavailableLater() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(
            .answer(.unknown), .answer(.unavailable), .answer(.unavailable), .answer(.approved))
        try await fixture.run { client in
            #expect(try await client.charge(id: "c", key: "k").code == "outcome-unknown")
            try await fixture.settleOpen()
            #expect(try await client.status(ofCharge: "c") == "pending")
            #expect(try await client.charge(id: "c", key: "k").code == "outcome-unknown")
            #expect(try await client.status(ofCharge: "c") == "pending")
            #expect(try await client.charge(id: "c", key: "k").status == 200)
        }
        #expect(Set(provider.charges).count == 1)
    }

    @Test("a charge that is still unknown stays pending, turn after turn")
    func stillUnknown() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unknown), .answer(.unknown), .answer(.unknown))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            for wait in [2, 4] {
                try await fixture.settleOpen()
                #expect(try await client.status(ofCharge: "c") == "pending")
                fixture.test.time.advance(by: .seconds(wait))
            }
            try await fixture.settleOpen()
            #expect(try await client.status(ofCharge: "c") == "succeeded")
            try await fixture.settleOpen()
        }
        #expect(provider.charges.count == 4)
    }

    @Test("a charge whose provider is being asked is not asked about a second time")
    func inFlight() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        let gate = Gate()
        provider.scriptCharges(.wait(gate, then: .approved))
        try await fixture.run { client in
            async let pending = client.charge(id: "c", key: "k")
            await gate.arrival()
            try await fixture.settleOpen()
            #expect(provider.charges.count == 1)
            gate.open()
            #expect(try await pending.status == 200)
        }
    }

    @Test(
        "a charge that ends between the settler's reading and its asking is not asked about: it might be taken")
    func endedMeanwhile() async throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let provider = ScriptedProvider()
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        let asking = Gate()
        let afterReading = Gate()
        provider.scriptCharges(.wait(asking, then: .unavailable))
        try await fixture.run { client in
            async let pending = client.charge(id: "c", key: "k")
            await asking.arrival()
            store.holdNext(at: afterReading)
            async let settled: Void = fixture.settleOpen()
            await afterReading.arrival()

            asking.open()
            #expect(try await pending.code == "provider-unavailable")
            afterReading.open()
            try await settled
            #expect(try await client.get("/charges/c").status == 404)
        }
        #expect(provider.charges.count == 1, "the provider approved what the client was told is not charged")
    }

    @Test("the service settles by itself, again and again")
    func periodic() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unknown), .answer(.unknown))
        let service = fixture.parts.service()
        let settler = try #require(service.background.first)
        try await service.test(in: fixture.environment) { client in
            _ = try await client.charge(id: "c", key: "k")
            let running = Task { try await settler.run() }
            try await eventually { try await client.status(ofCharge: "c") == "succeeded" }
            running.cancel()
            try await running.value
        }
        #expect(provider.charges.count == 3)
        #expect(Set(fixture.sleeps) == [.seconds(2)])
    }
}
