import Correlation
import Money
import ProviderAPI
import Resilience
import SeededRandom
import ServiceClient
import ServiceKit
import Storage
import Synchronization
import TestSupport
import Testing

@testable import PaymentService

/// Providers that answer by a script, and note what they were asked. What is not in the script succeeds.
final class ScriptedGateway: ProviderGateway {
    /// What becomes of one asking.
    enum Step: Sendable {
        case reply(ProviderReply)
        /// It arrives and waits at a gate for its answer.
        case wait(Gate, then: ProviderReply)
    }

    private let state: Mutex<(calls: [ProviderCall], script: [Step])>
    private let known = Mutex<[(requestID: RequestID, trace: TraceContext)]>([])

    init(_ script: ProviderReply...) {
        state = Mutex(([], script.map { .reply($0) }))
    }

    init(steps: [Step]) {
        state = Mutex(([], steps))
    }

    /// By which requests it was asked.
    var requestIDs: [String] { known.withLock { $0.map(\.requestID.value) } }
    /// In which spans it was asked.
    var traces: [TraceContext] { known.withLock { $0.map(\.trace) } }

    /// What was asked, in order.
    var calls: [ProviderCall] { state.withLock { $0.calls } }
    /// The names of what was asked, in order.
    var names: [String] { calls.map(\.name) }

    func perform(
        _ call: ProviderCall, at provider: Provider, as requestID: RequestID, in trace: TraceContext
    ) async -> ProviderReply {
        known.withLock { $0.append((requestID, trace)) }
        let step = state.withLock { state -> Step in
            state.calls.append(call)
            return state.script.isEmpty ? .reply(.succeeded) : state.script.removeFirst()
        }
        switch step {
        case .reply(let reply): return reply
        case .wait(let gate, let reply):
            await gate.pass()
            return reply
        }
    }
}

/// Providers that cannot be reached, and then turn most payments away.
final class OutageGateway: ProviderGateway {
    private let state = Mutex<(every: Int, asked: Int)>((0, 0))

    /// The outage is over; of so many one is taken.
    func takes(oneOf count: Int) { state.withLock { $0 = (count, 0) } }

    func perform(
        _ call: ProviderCall, at provider: Provider, as requestID: RequestID, in trace: TraceContext
    ) async -> ProviderReply {
        state.withLock { state in
            guard state.every > 0 else { return .notSent(.unreachable) }
            state.asked += 1
            return state.asked.isMultiple(of: state.every) ? .succeeded : .throttled(after: nil)
        }
    }
}

/// Providers with books of their own that answer at random and never lie: what they say has moved has moved, once for each
/// reference, and under one that was closed nothing is taken.
final class LedgerGateway: ProviderGateway {
    private enum Fate { case moved, declined, closed, pending }

    private struct State {
        var random: SeededGenerator
        var fates: [String: Fate] = [:]
        /// What came from outside, or went there (below zero), by provider.
        var net: [Provider: Int64] = [:]
        var refunded: [String: Int64] = [:]
        var commands: [String: ProviderCommand] = [:]
        /// Commands that are still on their way, and arrive later.
        var late: [(ProviderCall, Provider)] = []
    }

    private let state: Mutex<State>

    init(seed: UInt64) {
        state = Mutex(State(random: SeededGenerator(seed: seed)))
    }

    /// What they have collected for us less what they have paid out, in minor units.
    func net(_ provider: Provider) -> Int64 { state.withLock { $0.net[provider] ?? 0 } }

    /// Lets arrive what is still on its way.
    func deliverLate() {
        state.withLock { state in
            let late = state.late
            state.late = []
            for (call, provider) in late { _ = Self.carryOut(call, provider, &state, mayDecline: false) }
        }
    }

    func perform(
        _ call: ProviderCall, at provider: Provider, as requestID: RequestID, in trace: TraceContext
    ) async -> ProviderReply {
        state.withLock { state in
            switch Int.random(in: 0..<10, using: &state.random) {
            case 0: return .notSent(.unreachable)
            case 1: return .throttled(after: .seconds(2))
            case 2: return .unknown(.timedOut)
            case 3:
                // Lost on its way, or only late.
                state.late.append((call, provider))
                return .unknown(.timedOut)
            case 4:
                _ = Self.carryOut(call, provider, &state)
                return .unknown(.connectionLost)
            default: return Self.carryOut(call, provider, &state)
            }
        }
    }

    private static func carryOut(
        _ call: ProviderCall, _ provider: Provider, _ state: inout State, mayDecline: Bool = true
    ) -> ProviderReply {
        switch call {
        case .pay(let command): return pay(command, provider, &state, mayDecline: mayDecline)
        case .payment(let command):
            let reference = command.reference
            if state.fates[reference] == .pending, Bool.random(using: &state.random) {
                move(reference, provider, &state)
            }
            return state.fates[reference].map(reply) ?? .notFound
        case .cancel(let command):
            let reference = command.reference
            if state.fates[reference] == nil { state.fates[reference] = .closed }
            return state.fates[reference].map(reply) ?? .notFound
        case .refund(let command):
            if state.fates[command.reference] == .moved { return .succeeded }
            guard let paid = state.commands[command.paymentReference],
                state.refunded[command.paymentReference, default: 0] + command.amount.minorUnits
                    <= paid.amount.minorUnits
            else { return .refused(code: "refund-exceeds-payment", detail: "too much") }
            state.fates[command.reference] = .moved
            state.refunded[command.paymentReference, default: 0] += command.amount.minorUnits
            state.net[provider, default: 0] -= (paid.kind == .charge ? 1 : -1) * command.amount.minorUnits
            return .succeeded
        case .refundStatus(let command): return state.fates[command.reference] == .moved ? .succeeded : .notFound
        }
    }

    private static func pay(
        _ command: ProviderCommand, _ provider: Provider, _ state: inout State, mayDecline: Bool
    ) -> ProviderReply {
        if let fate = state.fates[command.reference] { return reply(fate) }
        state.commands[command.reference] = command
        switch Int.random(in: 0..<8, using: &state.random) {
        case 0 where mayDecline: state.fates[command.reference] = .declined
        case 1: state.fates[command.reference] = .pending
        default: move(command.reference, provider, &state)
        }
        return state.fates[command.reference].map(reply) ?? .notFound
    }

    private static func move(_ reference: String, _ provider: Provider, _ state: inout State) {
        guard let command = state.commands[reference] else { return }
        state.fates[reference] = .moved
        state.net[provider, default: 0] += (command.kind == .charge ? 1 : -1) * command.amount.minorUnits
    }

    private static func reply(_ fate: Fate) -> ProviderReply {
        switch fate {
        case .moved: .succeeded
        case .declined: .declined(code: "card_declined")
        case .closed: .canceled
        case .pending: .pending
        }
    }
}

extension PaymentFixture {
    /// Payment in memory, with providers in front of it.
    static func withGateway(
        _ gateway: any ProviderGateway, _ configuration: PaymentsConfiguration = .steady, isEager: Bool = false
    ) throws -> PaymentFixture {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        return PaymentFixture(
            test, test.environment, SimulatedCard(allowsTestMethods: false, sleeper: test.sleeper),
            gateway: gateway, configuration: configuration, isEager: isEager)
    }

    /// Another process on the same store.
    func successor(_ gateway: any ProviderGateway, _ configuration: PaymentsConfiguration = .steady) -> PaymentFixture {
        PaymentFixture(
            test, environment, SimulatedCard(allowsTestMethods: false, sleeper: test.sleeper), gateway: gateway,
            configuration: configuration)
    }

    /// Lets the worker take up what is due, and waits for it.
    func work() async throws {
        try await worker.fill()
        await worker.idle()
    }

    /// Lets the worker work until nothing is open. - Parameter step: how much time passes between two looks.
    func workAll(step: Duration = .seconds(40)) async throws {
        for _ in 0..<400 {
            try await work()
            let open = try await records { records in
                try Provider.allCases.map { try records.backlog(of: $0, at: self.environment.time.now).count }.reduce(
                    0, +)
            }
            if open == 0 { return }
            test.time.advance(by: step)
        }
        Issue.record("payments are open that never end")
    }

    func records<T: Sendable>(_ body: @escaping @Sendable (PaymentRecords) throws -> T) async throws -> T {
        try await environment.store.transaction { try body(PaymentRecords(transaction: $0)) }
    }

    /// That clearing holds what is held for open payments and nothing else, beside what `expectSoundBooks` expects.
    func expectSoundPayments(_ comment: Comment? = nil) async throws {
        try await expectSoundBooks(comment)
        let books = try await books()
        let held = try await environment.store.transaction { transaction in
            try transaction.all("SELECT provider, currency, sum(held) FROM payments GROUP BY 1, 2 LIMIT 1000", []) {
                ("clearing:\($0.text(0)):\($0.text(1))", Int128($0.integer(2)))
            }
        }
        for (account, sum) in held { #expect(books.balances[account] ?? 0 == -sum, comment) }
    }
}

extension PaymentsConfiguration {
    /// Without jitter, so that waits are known; and who runs out of attempts is given up, however young.
    static let steady = PaymentsConfiguration(backoff: BackoffSchedule(), giveUpAfter: .zero)
}

extension RouteClient {
    /// Makes a payment. - Returns: its id.
    func pay(
        _ type: String, from account: String, _ amount: String, key: String, user: String? = nil,
        provider: String = "stripe", more: String = ""
    ) async throws -> RouteResponse {
        let body =
            #"{"type":"\#(type)","sourceAccountId":"\#(account)","amount":\#(amount),"provider":"\#(provider)"\#(more)}"#
        return try await post("/payments", body, key: key, user: user)
    }

    func refund(payment: String, _ amount: String? = nil, key: String, user: String? = nil) async throws
        -> RouteResponse
    {
        try await post(
            "/payments/\(payment)/refund", amount.map { #"{"amount":\#($0)}"# } ?? "{}", key: key, user: user)
    }

    /// The status of a payment; nil when there is none.
    func status(ofPayment id: String, user: String? = nil) async throws -> String? {
        try await get("/payments/\(id)", user: user).text("status")
    }

    /// The types of a payment's events, in order.
    func events(ofPayment id: String, user: String? = nil) async throws -> [String] {
        let events = try await get("/payments/\(id)/events?limit=100", user: user)
        return (0..<(events.count("events") ?? 0)).compactMap { events.text("events/\($0)/type") }
    }
}
