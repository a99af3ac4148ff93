import Resilience
import Synchronization

/// A provider without a bank behind it. The method `card` (and none) always succeeds at once; test methods, when allowed,
/// make every other outcome happen on demand.
public final class SimulatedCard: CardProvider {
    /// The methods that a payment may name when `PAYMENT_TEST_METHODS` is true.
    public enum TestMethod: String, CaseIterable, Sendable {
        /// Declined: `card_declined`.
        case declined = "test_declined"
        /// Declined: `insufficient_funds`.
        case insufficientFunds = "test_insufficient_funds"
        /// Succeeds, after 3 s.
        case slow = "test_slow"
        /// Charges, but the answer to the first asking is lost after 3 s; asking again succeeds.
        case timeoutAfterCharge = "test_timeout_after_charge"
        /// The first asking fails and charges nothing; the next succeeds.
        case errorThenOK = "test_error_then_ok"
        /// Every asking fails and charges nothing.
        case error = "test_error"
        /// The first two askings have no definite answer; the third succeeds.
        case unknownThenOK = "test_unknown_then_ok"
        /// The charge succeeds; the first refund fails, the next succeeds.
        case refundFailsOnce = "test_refund_fails_once"
    }

    /// How long a slow answer takes.
    public static let slowness = Duration.seconds(3)
    /// How many ids the provider remembers having been asked for; older ones are forgotten in no particular order.
    static let maximumRemembered = 10_000

    private let allowsTestMethods: Bool
    private let sleeper: any Sleeper
    private let asked = Mutex<[String: Int]>([:])

    /// A provider.
    public init(allowsTestMethods: Bool, sleeper: any Sleeper) {
        self.allowsTestMethods = allowsTestMethods
        self.sleeper = sleeper
    }

    public func immediateAnswer(to charge: CardCharge) -> CardAnswer? {
        if charge.method == ChargeRequest.defaultMethod { return .approved }
        guard let method = testMethod(charge.method) else { return .declined(.methodNotSupported) }
        switch method {
        case .declined: return .declined(.cardDeclined)
        case .insufficientFunds: return .declined(.insufficientFunds)
        case .refundFailsOnce: return .approved
        case .slow, .timeoutAfterCharge, .errorThenOK, .error, .unknownThenOK: return nil
        }
    }

    public func immediateAnswer(to refund: CardRefund) -> CardAnswer? {
        testMethod(refund.charge.method) == .refundFailsOnce ? nil : .approved
    }

    public func charge(_ charge: CardCharge) async -> CardAnswer {
        if let answer = immediateAnswer(to: charge) { return answer }
        let asking = count(charge.chargeID)
        switch testMethod(charge.method) {
        case .slow:
            try? await sleeper.sleep(for: Self.slowness)
            return .approved
        case .timeoutAfterCharge:
            guard asking == 1 else { return .approved }
            try? await sleeper.sleep(for: Self.slowness)
            return .unknown
        case .errorThenOK: return asking == 1 ? .unavailable : .approved
        case .error: return .unavailable
        case .unknownThenOK: return asking <= 2 ? .unknown : .approved
        case .declined, .insufficientFunds, .refundFailsOnce, nil: return .unavailable
        }
    }

    public func refund(_ refund: CardRefund) async -> CardAnswer {
        // Counted by charge: a refund that failed may be asked for again under another id.
        count("refund of \(refund.charge.chargeID)") == 1 ? .unavailable : .approved
    }

    private func testMethod(_ name: String) -> TestMethod? {
        allowsTestMethods ? TestMethod(rawValue: name) : nil
    }

    private func count(_ id: String) -> Int {
        asked.withLock { asked in
            if asked.count >= Self.maximumRemembered, asked[id] == nil, let some = asked.keys.first {
                asked[some] = nil
            }
            asked[id, default: 0] += 1
            return asked[id, default: 0]
        }
    }
}
