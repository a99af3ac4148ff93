import Money
import PaymentService
import Resilience

/// What the payment provider knows to be true: the money that really moved, by the ids that it was asked under.
final class ProviderLedger: Sendable {
    enum ChargeState: Sendable { case nothing, underWay, taken, declined }

    struct Entry: Sendable {
        /// The how-manieth charge this is; names it independently of its id.
        let number: Int
        var state = ChargeState.nothing
        var amount: Int64
        /// Given back, by refund id.
        var refunds: [String: Int64] = [:]
        var askings = 0
        var refundAskings = 0
    }

    private let entries = Cell<[String: Entry]>([:])

    /// Looks at or changes what is known of a charge.
    func with<Value>(_ charge: CardCharge, _ body: (inout Entry) -> Value) -> Value {
        let new = Entry(number: entries.value.count + 1, amount: charge.amount.minorUnits)
        return body(&entries.value[charge.chargeID, default: new])
    }

    /// What is known of a charge; nil when it was never asked for.
    func entry(_ id: String) -> Entry? { entries.value[id] }

    /// The ids of all charges asked for.
    var ids: [String] { entries.value.keys.sorted() }
}

/// The provider as Payment reaches it: idempotent by id, but its answers get lost.
struct LedgerProvider: CardProvider {
    /// Methods that customers of the simulation pay with.
    enum Method: String, CaseIterable, Sendable {
        /// Answered at once; only Payment's own book knows of it.
        case card
        /// Declined at once.
        case broke
        /// Asked over a network that has the faults of the run.
        case remote
        /// Declined by a remote provider.
        case remoteDeclined = "remote-declined"
        /// The first answer is lost after the money was taken.
        case remoteUnknownOnce = "remote-unknown-once"
        /// The first asking of a run finds the provider unavailable.
        case remoteUnavailableOnce = "remote-unavailable-once"
        /// The provider is not available for a while.
        case remoteUnavailable = "remote-unavailable"
        /// Taking works, and takes 1.5 s.
        case remoteSlow = "remote-slow"
        /// Taking works, and takes 1.5 s; the first refund finds the provider unavailable.
        case remoteRefundUnavailableOnce = "remote-refund-unavailable-once"

        /// Whether it can take money at all.
        var canPay: Bool {
            switch self {
            case .broke, .remoteDeclined: false
            case .card, .remote, .remoteSlow, .remoteUnknownOnce, .remoteUnavailableOnce, .remoteUnavailable,
                .remoteRefundUnavailableOnce:
                true
            }
        }
    }

    /// How long the provider is not available to those who pay with `remoteUnavailable`.
    private static let timeUnavailable = Duration.seconds(9)

    private enum Behaviour: CaseIterable { case unknownBefore, unknownAfter, unavailable, slow, lands }

    let incarnation: Incarnation

    func immediateAnswer(to charge: CardCharge) -> CardAnswer? {
        switch Method(rawValue: charge.method) {
        case .card: .approved
        case .broke: .declined(.insufficientFunds)
        case nil: .declined(.methodNotSupported)
        case .remote, .remoteDeclined, .remoteUnknownOnce, .remoteUnavailableOnce, .remoteUnavailable, .remoteSlow,
            .remoteRefundUnavailableOnce:
            nil
        }
    }

    func immediateAnswer(to refund: CardRefund) -> CardAnswer? {
        immediateAnswer(to: refund.charge)
    }

    func charge(_ charge: CardCharge) async -> CardAnswer {
        let ledger = incarnation.world.provider
        guard incarnation.isAlive else { return await incarnation.wait(orOnDeath: .unknown) { _ in } }
        let (number, asking) = ledger.with(charge) { entry in
            entry.askings += 1
            return (entry.number, entry.askings)
        }
        let method = Method(rawValue: charge.method)
        let isSlow = method == .remoteSlow || method == .remoteRefundUnavailableOnce
        return await ask("payment>provider charge \(number) #\(asking)", isSlow: isSlow) { behaviour in
            let isDown = method == .remoteUnavailable && incarnation.world.scheduler.now < Self.timeUnavailable
            let isFirst = number == 1 && asking == 1
            if isDown || method == .remoteUnavailableOnce && isFirst { return .unavailable }
            return ledger.with(charge) { entry in
                let before = entry.state
                defer { if before != .taken, entry.state == .taken { incarnation.world.audit.taken(charge.chargeID) } }
                if entry.state == .taken { return .approved }
                if entry.state == .underWay { return .unknown }
                if entry.state == .declined || method == .remoteDeclined {
                    entry.state = .declined
                    return .declined(.cardDeclined)
                }
                switch behaviour {
                case .unknownBefore: return .unknown
                case .unavailable: return .unavailable
                case .lands:
                    entry.state = .underWay
                    incarnation.world.scheduler.after(.seconds(7), nil) { ledger.with(charge) { $0.state = .taken } }
                    return .unknown
                case .unknownAfter:
                    entry.state = .taken
                    return .unknown
                case .slow, nil:
                    entry.state = .taken
                    return method == .remoteUnknownOnce && asking == 1 ? .unknown : .approved
                }
            }
        }
    }

    func refund(_ refund: CardRefund) async -> CardAnswer {
        let ledger = incarnation.world.provider
        guard incarnation.isAlive else { return await incarnation.wait(orOnDeath: .unknown) { _ in } }
        let (number, asking) = ledger.with(refund.charge) { entry in
            entry.refundAskings += 1
            return (entry.number, entry.refundAskings)
        }
        return await ask("payment>provider refund \(number) #\(asking)") { behaviour in
            if refund.charge.method == Method.remoteRefundUnavailableOnce.rawValue, asking == 1 { return .unavailable }
            return ledger.with(refund.charge) { entry in
                if behaviour == .unknownBefore || behaviour == .lands { return .unknown }
                if behaviour == .unavailable, entry.refunds[refund.refundID] == nil { return .unavailable }
                entry.refunds[refund.refundID] = refund.amount.minorUnits
                return behaviour == .unknownAfter ? .unknown : .approved
            }
        }
    }

    /// One call to the provider: the process may die before and after it, and the run's faults decide how it goes.
    private func ask(
        _ name: String, isSlow: Bool = false, _ effect: @escaping (Behaviour?) -> CardAnswer
    ) async -> CardAnswer {
        let world = incarnation.world
        return await incarnation.wait(orOnDeath: .unknown) { answer in
            _ = world.points.pass("\(name) before asking", incarnation)
            guard incarnation.isAlive else { return }
            var behaviour: Behaviour?
            if world.faults.happens("\(name): provider's fault", world.faults.rates.provider, in: world) {
                var numbers = world.chance.generator("\(name) behaviour")
                behaviour = Behaviour.allCases.randomElement(using: &numbers)
            }
            let times: ClosedRange<Int64> = behaviour == .slow ? 1000...9000 : isSlow ? 1500...1500 : 5...50
            let time = world.chance.milliseconds("\(name) time", in: times)
            world.scheduler.after(time, nil) {
                let said = effect(behaviour)
                world.note("\(name) is answered: \(said)")
                world.scheduler.after(.milliseconds(5), incarnation) {
                    _ = world.points.pass("\(name) before its answer arrives", incarnation)
                    answer.give(said)
                }
            }
            _ = world.points.pass("\(name) after asking", incarnation)
        }
    }
}
