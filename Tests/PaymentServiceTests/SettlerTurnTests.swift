import Resilience
import TestSupport
import Testing

@testable import PaymentService

@Suite("The turns in which open payments are asked about", .timeLimit(.minutes(5)))
struct SettlerTurnTests {
    private let provider = ScriptedProvider()
    private let fixture: PaymentFixture

    init() throws { fixture = try PaymentFixture(provider) }

    private var time: ManualTime { fixture.test.time }

    private func open(_ id: String) async throws {
        let answer = try await fixture.run { try await $0.charge(id: id, key: "key-of-\(id)") }
        try #require(answer.code == "outcome-unknown")
    }

    @Test("charges that nobody answers for do not keep later ones waiting, however many they are")
    func fair() async throws {
        let (stuck, others) = (PaymentService.settleLimit, 6)
        let isSilent = stuck + others + stuck
        provider.scriptCharges { $0 <= isSilent ? .answer(.unknown) : .answer(.approved) }
        for number in 0..<(stuck + others) { try await open("c\(1000 + number)") }

        try await fixture.settleOpen()
        #expect(provider.charges.count == isSilent)
        let asked = Set(provider.charges.dropFirst(stuck + others).map(\.chargeID))
        #expect(asked.count == stuck)
        // The clock has not moved: only those are due that were not asked about in the first turn.
        try await fixture.settleOpen()
        #expect(provider.charges.count == isSilent + others)
        #expect(asked.isDisjoint(with: provider.charges.dropFirst(isSilent).map(\.chargeID)))
        // And then come those again that have waited longest.
        time.advance(by: ChargeBook.shortestWait)
        try await fixture.settleOpen()
        #expect(provider.charges.count == isSilent + others + stuck)
    }

    @Test("a charge is asked about again after 2, 4 and 8 s, and then every 8 s for as long as it takes")
    func backoff() async throws {
        provider.scriptCharges { _ in .answer(.unknown) }
        try await open("c")
        try await fixture.settleOpen()
        var askings = 2
        for wait in [2, 4, 8, 8] + Array(repeating: 8, count: 20) {
            #expect(provider.charges.count == askings)
            time.advance(by: .milliseconds(wait * 1000 - 1))
            try await fixture.settleOpen()
            #expect(provider.charges.count == askings)
            time.advance(by: .milliseconds(1))
            try await fixture.settleOpen()
            askings += 1
        }
        #expect(provider.charges.count == askings)
        provider.scriptCharges()
        time.advance(by: ChargeBook.longestWait)
        try await fixture.settleOpen()
        #expect(try await fixture.run { try await $0.status(ofCharge: "c") } == "succeeded")
    }

    @Test("a clock that is set back does not put a question off (hazard 37)")
    func clockSetBack() async throws {
        provider.scriptCharges { _ in .answer(.unknown) }
        try await open("c")
        try await fixture.settleOpen()
        time.jump(by: .seconds(-86_400))
        try await fixture.settleOpen()
        #expect(provider.charges.count == 3)
    }

    @Test("a question whose answer never comes counts: the next process does not begin anew with it")
    func died() async throws {
        let gate = Gate()
        provider.scriptCharges { $0 == 2 ? .wait(gate, then: .unknown) : .answer($0 == 1 ? .unknown : .approved) }
        try await open("c")
        async let first: Void = fixture.settleOpen()
        await gate.arrival()
        let second = PaymentFixture(fixture.test, fixture.environment, provider)
        try await second.settleOpen()
        #expect(provider.charges.count == 2)
        time.advance(by: ChargeBook.shortestWait)
        try await second.settleOpen()
        #expect(provider.charges.count == 3)
        gate.open()
        try await first
        #expect(try await fixture.run { try await $0.status(ofCharge: "c") } == "succeeded")
    }

    @Test("refunds have their turns in the same way")
    func refunds() async throws {
        provider.scriptRefunds(.answer(.unknown), .answer(.unknown), .answer(.unknown))
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            #expect(try await client.refund("c").code == "outcome-unknown")
            for (wait, askings) in [(0, 2), (1, 2), (1, 3), (3, 3), (1, 4)] {
                time.advance(by: .seconds(wait))
                try await fixture.settleOpen()
                #expect(provider.refunds.count == askings)
            }
            #expect(try await client.status(ofCharge: "c") == "refunded")
        }
    }
}
