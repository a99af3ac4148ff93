import Money
import ProviderAPI
import ServiceKit
import Testing

@testable import MockProvider

@Suite("Behaviour of the mock provider")
struct BehaviourTests {
    private func command(_ token: String?, minorUnits: Int64 = 2000) -> ProviderCommand {
        ProviderCommand(
            reference: "ref-1", kind: .charge, amount: Money(minorUnits: minorUnits, currency: .usd), token: token)
    }

    private func asking(_ reference: String = "ref-1", number: Int = 1) -> Behaviour.Asking {
        Behaviour.Asking(provider: .stripe, operation: "pay", reference: reference, number: number)
    }

    private func handling(
        _ behaviour: Behaviour, token: String? = nil, number: Int = 1, movesMoney: Bool = true
    ) -> Behaviour.Handling {
        behaviour.handling(asking(number: number), token: token, movesMoney: movesMoney)
    }

    // MARK: Tokens

    @Test("each token has its outcome", arguments: TestToken.allCases)
    func tokens(_ token: TestToken) {
        let expected: Behaviour.Verdict =
            switch token {
            case .declined: .decline(code: "card_declined")
            case .insufficientFunds: .decline(code: "insufficient_funds")
            case .expiredCard: .decline(code: "expired_card")
            case .pending: .pend(declineCode: nil)
            case .pendingDeclined: .pend(declineCode: "card_declined")
            default: .succeed
            }
        #expect(Behaviour().verdict(on: command(token.rawValue)) == expected)
    }

    @Test("without a token a payment succeeds, and with one that nobody knows it is declined")
    func otherTokens() {
        #expect(Behaviour().verdict(on: command(nil)) == .succeed)
        #expect(Behaviour().verdict(on: command("tok_decilned")) == .decline(code: "token_not_supported"))
    }

    @Test("tokens that are for the first asking alone let the second through")
    func firstAsking() {
        let behaviour = Behaviour()
        for (token, entry) in [
            ("tok_error_once", Behaviour.Entry.fail), ("tok_rate_limited", .throttle), ("tok_late", .hold),
        ] {
            #expect(handling(behaviour, token: token).entry == entry)
            #expect(handling(behaviour, token: token, number: 2) == Behaviour.Handling())
        }
        #expect(handling(behaviour, token: "tok_error", number: 9).entry == .fail)
        #expect(handling(behaviour, token: "tok_timeout_after_commit").exit == .hold)
        #expect(handling(behaviour, token: "tok_error_after_commit").exit == .fail)
    }

    @Test("an amount with the chosen ending is declined, and no other")
    func endings() {
        var behaviour = Behaviour()
        #expect(behaviour.verdict(on: command(nil, minorUnits: 1313)) == .succeed)
        behaviour.declinedEnding = 13
        #expect(behaviour.verdict(on: command(nil, minorUnits: 1313)) == .decline(code: "card_declined"))
        #expect(behaviour.verdict(on: command(nil, minorUnits: 13)) == .decline(code: "card_declined"))
        #expect(behaviour.verdict(on: command(nil, minorUnits: 1300)) == .succeed)
        behaviour.declinedEnding = 0
        #expect(behaviour.verdict(on: command(nil, minorUnits: 1300)) == .decline(code: "card_declined"))
    }

    // MARK: Rates

    /// How many of a thousand requests meet each fault.
    private func faults(_ behaviour: Behaviour, movesMoney: Bool = true) -> [String: Int] {
        var counts: [String: Int] = [:]
        for number in 0..<1000 {
            let handling = behaviour.handling(asking("ref-\(number)"), movesMoney: movesMoney)
            counts["\(handling.entry)/\(handling.exit)", default: 0] += 1
        }
        return counts
    }

    @Test("without rates nothing fails")
    func noRates() {
        #expect(faults(Behaviour()) == ["take/answer": 1000])
    }

    @Test("rates add up, and each is met about as often as it says")
    func rates() {
        var behaviour = Behaviour()
        (behaviour.errorRate, behaviour.throttleRate, behaviour.timeoutRate) = (0.1, 0.2, 0.3)
        let counts = faults(behaviour)
        for (name, expected) in [
            ("fail/answer", 100), ("throttle/answer", 200), ("take/hold", 300), ("take/answer", 400),
        ] {
            #expect(abs(counts[name, default: 0] - expected) < 60, "\(name): \(counts)")
        }
        #expect(faults(behaviour, movesMoney: false)["take/hold"] == nil)
    }

    @Test("rates of one leave nothing else")
    func certainty() {
        var behaviour = Behaviour()
        behaviour.errorRate = 1
        #expect(faults(behaviour) == ["fail/answer": 1000])
        behaviour = Behaviour()
        behaviour.timeoutRate = 1
        #expect(faults(behaviour) == ["take/hold": 1000])
    }

    @Test("the same seed makes the same choices for the same request, another makes others")
    func seeds() {
        var behaviour = Behaviour()
        behaviour.errorRate = 0.5
        behaviour.delay = .zero ... .seconds(1)
        func choices(_ seed: UInt64) -> [Behaviour.Handling] {
            behaviour.seed = seed
            return (1...64).map { handling(behaviour, number: $0) }
        }
        let first = choices(7)
        #expect(choices(7) == first)
        #expect(choices(8) != first)
        #expect(Set(first.map(\.delay)).count > 32)
        #expect(first.allSatisfy { $0.delay < .seconds(1) })
    }

    @Test("messages are doubled and held back at their rates")
    func messages() {
        var behaviour = Behaviour()
        let plain = behaviour.delivery(.stripe, type: "t", reference: "r")
        #expect(plain.copies == 1 && !plain.isHeldBack)
        (behaviour.duplicateRate, behaviour.reorderRate) = (0.5, 0.25)
        let all = (0..<1000).map { behaviour.delivery(.paypal, type: "t", reference: "ref-\($0)") }
        let doubled = all.filter { $0.copies == 2 }
        let heldBack = all.filter(\.isHeldBack)
        #expect(abs(doubled.count - 500) < 60)
        #expect(abs(heldBack.count - 250) < 60)
    }

    // MARK: Settings

    private func configuration(_ environment: [String: String]) throws -> MockProviderConfiguration {
        try MockProviderConfiguration(Settings(flags: [:], environment: environment))
    }

    private static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    @Test("without settings nothing fails and nothing is sent")
    func defaults() throws {
        let configuration = try configuration([:])
        #expect(configuration.behaviour.errorRate == 0 && configuration.behaviour.declinedEnding == nil)
        #expect(configuration.targets.isEmpty)
    }

    @Test("each provider has an address and a secret of its own")
    func targets() throws {
        let configuration = try configuration([
            "WEBHOOK_URL": "http://127.0.0.1:8080/payment/webhooks/{provider}", "PAYPAL_WEBHOOK_SECRET": Self.secret,
        ])
        #expect(configuration.targets.keys.elementsEqual([.paypal]))
        #expect(configuration.targets[.paypal]?.url == "http://127.0.0.1:8080/payment/webhooks/paypal")
    }

    @Test(
        "a setting that cannot be used names itself",
        arguments: [
            (["MOCK_ERROR_RATE": "1.5"], "MOCK_ERROR_RATE"), (["MOCK_TIMEOUT_RATE": "x"], "MOCK_TIMEOUT_RATE"),
            (["MOCK_ERROR_RATE": "0.6", "MOCK_TIMEOUT_RATE": "0.6"], "MOCK_TIMEOUT_RATE"),
            (["MOCK_DELAY_MIN_SECONDS": "2", "MOCK_DELAY_MAX_SECONDS": "1"], "MOCK_DELAY_MAX_SECONDS"),
            (["MOCK_DECLINE_AMOUNT_ENDING": "100"], "MOCK_DECLINE_AMOUNT_ENDING"), (["MOCK_SEED": "-1"], "MOCK_SEED"),
            (["STRIPE_WEBHOOK_SECRET": "whsec_secret"], "STRIPE_WEBHOOK_SECRET"),
            (["STRIPE_WEBHOOK_SECRET": secret, "WEBHOOK_URL": "ftp://x/{provider}"], "WEBHOOK_URL"),
            (["WEBHOOK_MAX_ATTEMPTS": "0"], "WEBHOOK_MAX_ATTEMPTS"),
        ])
    func badSettings(_ environment: [String: String], _ name: String) throws {
        let error = try #require(throws: ConfigurationError.self) { try configuration(environment) }
        #expect(error.name == name)
        #expect(!error.description.contains("whsec_secret"))
    }
}
