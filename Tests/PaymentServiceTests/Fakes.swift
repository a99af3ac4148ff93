import Money
import Resilience
import SeededRandom
import ServiceKit
import Storage
import Synchronization
import TestSupport

@testable import PaymentService

/// A provider that answers by a script, and notes what it was asked. Nothing is answered at once: every charge and
/// refund is stored as an intent first.
final class ScriptedProvider: CardProvider {
    /// What becomes of one asking.
    enum Reply: Sendable {
        case answer(CardAnswer)
        /// It arrives and waits at a gate for its answer.
        case wait(Gate, then: CardAnswer)
    }

    private struct State {
        var charges: [CardCharge] = []
        var refunds: [CardRefund] = []
        var chargeReply: @Sendable (Int) -> Reply = { _ in .answer(.approved) }
        var refundReply: @Sendable (Int) -> Reply = { _ in .answer(.approved) }
    }

    private let state = Mutex(State())

    /// Every charge it was asked for, in order.
    var charges: [CardCharge] { state.withLock { $0.charges } }
    /// Every refund it was asked for, in order.
    var refunds: [CardRefund] { state.withLock { $0.refunds } }

    /// Gives the askings for charges their replies, in order; later ones are approved.
    func scriptCharges(_ replies: Reply...) {
        state.withLock { $0.chargeReply = Self.script(replies) }
    }

    /// Gives the askings for refunds their replies, in order; later ones are approved.
    func scriptRefunds(_ replies: Reply...) {
        state.withLock { $0.refundReply = Self.script(replies) }
    }

    /// Gives each asking for a charge its reply. - Parameter reply: is given the asking's number, from 1.
    func scriptCharges(_ reply: @escaping @Sendable (Int) -> Reply) {
        state.withLock { $0.chargeReply = reply }
    }

    private static func script(_ replies: [Reply]) -> @Sendable (Int) -> Reply {
        { $0 <= replies.count ? replies[$0 - 1] : .answer(.approved) }
    }

    func immediateAnswer(to charge: CardCharge) -> CardAnswer? { nil }
    func immediateAnswer(to refund: CardRefund) -> CardAnswer? { nil }

    func charge(_ charge: CardCharge) async -> CardAnswer {
        let reply = state.withLock { state in
            state.charges.append(charge)
            return state.chargeReply(state.charges.count)
        }
        return await answer(reply)
    }

    func refund(_ refund: CardRefund) async -> CardAnswer {
        let reply = state.withLock { state in
            state.refunds.append(refund)
            return state.refundReply(state.refunds.count)
        }
        return await answer(reply)
    }

    private func answer(_ reply: Reply) async -> CardAnswer {
        switch reply {
        case .answer(let answer): return answer
        case .wait(let gate, let answer):
            await gate.pass()
            return answer
        }
    }
}

/// A provider with a ledger that answers at random and never lies: what it says has moved has moved, once for each id. It may
/// answer half of the charges at once, which are then approved.
final class LedgerProvider: CardProvider {
    private enum Fate { case moved, declined }

    private struct State {
        var random: SeededGenerator
        var charges: [String: Fate] = [:]
        var refunds: [String: Fate] = [:]
        var taken: [String: Int64] = [:]
        var returned: [String: Int64] = [:]
    }

    private let state: Mutex<State>

    private let answersAtOnce: Bool

    init(seed: UInt64, answersAtOnce: Bool = false) {
        state = Mutex(State(random: SeededGenerator(seed: seed)))
        self.answersAtOnce = answersAtOnce
    }

    /// The minor units taken, by charge.
    var taken: [String: Int64] { state.withLock { $0.taken } }
    /// The minor units given back, by charge.
    var returned: [String: Int64] { state.withLock { $0.returned } }

    func immediateAnswer(to charge: CardCharge) -> CardAnswer? {
        guard answersAtOnce, let digit = charge.chargeID.utf8.last, digit.isMultiple(of: 2) else { return nil }
        state.withLock { state in
            state.charges[charge.chargeID] = .moved
            state.taken[charge.chargeID] = charge.amount.minorUnits
        }
        return .approved
    }

    func immediateAnswer(to refund: CardRefund) -> CardAnswer? { nil }

    func charge(_ charge: CardCharge) async -> CardAnswer {
        state.withLock { state in
            let (answer, fate) = Self.answer(state.charges[charge.chargeID], &state.random)
            if fate == .moved, state.charges[charge.chargeID] == nil {
                state.taken[charge.chargeID] = charge.amount.minorUnits
            }
            state.charges[charge.chargeID] = fate
            return answer
        }
    }

    func refund(_ refund: CardRefund) async -> CardAnswer {
        state.withLock { state in
            var (answer, fate) = Self.answer(state.refunds[refund.refundID], &state.random)
            // A refund is not declined for good: what is owed back is owed.
            if fate == .declined { (answer, fate) = (.unavailable, nil) }
            if fate == .moved, state.refunds[refund.refundID] == nil {
                state.returned[refund.charge.chargeID, default: 0] += refund.amount.minorUnits
            }
            state.refunds[refund.refundID] = fate
            return answer
        }
    }

    private static func answer(
        _ fate: Fate?, _ random: inout SeededGenerator
    ) -> (CardAnswer, Fate?) {
        let isLost = Int.random(in: 0..<3, using: &random) == 0
        switch fate {
        case .moved: return (isLost ? .unknown : .approved, .moved)
        case .declined: return (isLost ? .unknown : .declined(.cardDeclined), .declined)
        case nil:
            switch Int.random(in: 0..<8, using: &random) {
            case 0: return (.unavailable, nil)
            case 1: return (.unknown, nil)
            case 2: return (isLost ? .unknown : .declined(.cardDeclined), .declined)
            default: return (isLost ? .unknown : .approved, .moved)
            }
        }
    }
}

/// Payment with a provider in front of it.
struct PaymentFixture: Sendable {
    let test: TestEnvironment
    let environment: ServiceEnvironment
    let service: BuiltService
    let parts: PaymentService.Parts
    /// Asks the providers, and only when a test says so unless it is eager.
    let worker: PaymentWorker

    init(_ provider: any CardProvider) throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        self.init(test, test.environment, provider)
    }

    /// A process of its own on an environment, perhaps after another one.
    init(
        _ test: TestEnvironment, _ environment: ServiceEnvironment, _ provider: any CardProvider,
        gateway: any ProviderGateway = ScriptedGateway(),
        configuration: PaymentsConfiguration = PaymentsConfiguration(),
        isEager: Bool = false
    ) {
        self.test = test
        self.environment = environment
        parts = PaymentService.Parts(environment, provider: provider, gateway: gateway, configuration: configuration)
        service = BuiltService(routes: parts.routes, operatorRoutes: parts.operatorRoutes)
        if isEager {
            worker = parts.worker
        } else {
            parts.worker.close()
            worker = PaymentWorker(environment, gateway, configuration, PaymentMetrics(environment.metrics))
        }
    }

    /// With the simulated provider, as the service runs by default.
    static func simulated(allowsTestMethods: Bool = true) throws -> PaymentFixture {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let provider = SimulatedCard(allowsTestMethods: allowsTestMethods, sleeper: test.sleeper)
        return PaymentFixture(test, test.environment, provider)
    }

    /// What the sleeper was asked for so far.
    var sleeps: [Duration] { test.sleeper.sleeps }

    /// Runs a test against the routes.
    func run<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await service.test(in: environment, body)
    }

    /// One turn of the settler.
    func settleOpen() async throws {
        try await PaymentService.settleOpen(environment, parts.charging, parts.refunding)
    }

    /// Runs commands on the records in one transaction.
    func book<T: Sendable>(_ body: @escaping @Sendable (ChargeBook) throws -> T) async throws -> T {
        try await environment.store.transaction { try body(ChargeBook(transaction: $0)) }
    }
}

extension RouteClient {
    /// A charge of dollars and cents. - Parameter more: further members of the command.
    func charge(
        _ amount: String = "20.00", key: String = "charge-key", user: String? = nil, more: String = ""
    ) async throws -> RouteResponse {
        try await post("/charge", #"{"amount":\#(amount)\#(more)}"#, key: key, user: user)
    }

    /// A charge under the caller's own id.
    func charge(
        id: String, _ amount: String = "20.00", key: String, user: String? = nil, method: String = "card"
    ) async throws -> RouteResponse {
        try await charge(amount, key: key, user: user, more: #","chargeId":"\#(id)","method":"\#(method)""#)
    }

    /// A charge by a method of the simulated provider.
    func charge(method: String, key: String = "charge-key") async throws -> RouteResponse {
        try await charge(key: key, more: #","method":"\#(method)""#)
    }

    /// A refund, of all that is left when there is no amount.
    func refund(
        _ chargeID: String, _ amount: String? = nil, key: String = "refund-key", user: String? = nil,
        orCancel: Bool = false
    ) async throws -> RouteResponse {
        let amount = amount.map { #","amount":\#($0)"# } ?? ""
        let body = #"{"chargeId":"\#(chargeID)"\#(amount)\#(orCancel ? #","orCancel":true"# : "")}"#
        return try await post("/refund", body, key: key, user: user)
    }

    /// The status of a charge; nil when there is none.
    func status(ofCharge id: String, user: String? = nil) async throws -> String? {
        try await get("/charges/\(id)", user: user).text("status")
    }
}
