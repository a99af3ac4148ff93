import ServiceClient
import StockAPI

@testable import OrderService

/// The two participants, and what is still on its way to them.
struct SagaModelWorld: Hashable {
    enum Reservation { case none, refused, reserved, completed, canceled }
    enum Charge {
        case none, taken, declined, canceled, returned
        /// Somebody has charged other money under the id, directly.
        case others
    }

    var reservation = Reservation.none
    var charge = Charge.none
    /// Whether Stock remembers, under the reserve's key, that it has set the goods aside.
    var reserveIsReplayed = false
    var lateReserve = false
    var lateCharge = false
    var lateComplete = false
}

extension SagaModelWorld {
    /// What may happen without a call of the saga: a late command arrives, or the reservation expires.
    var spontaneousChanges: [Self] {
        var changes: [Self] = []
        if reservation == .reserved {
            var world = self
            world.reservation = .canceled
            changes.append(world)
        }
        if charge == .none {
            var world = self
            world.charge = .others
            changes.append(world)
        }
        if lateReserve { changes.append(afterLateReserve) }
        if lateCharge { changes.append(afterLateCharge) }
        if lateComplete { changes.append(afterLateComplete) }
        return changes
    }

    var afterLateArrivals: Self { afterLateReserve.afterLateCharge.afterLateComplete }

    private var afterLateReserve: Self {
        var world = self
        if lateReserve, reservation == .none {
            world.reservation = .reserved
            world.reserveIsReplayed = true
        }
        world.lateReserve = false
        return world
    }

    private var afterLateCharge: Self {
        var world = self
        if lateCharge, charge == .none { world.charge = .taken }
        world.lateCharge = false
        return world
    }

    private var afterLateComplete: Self {
        var world = self
        if lateComplete, reservation == .reserved { world.reservation = .completed }
        world.lateComplete = false
        return world
    }

    /// The worlds that a call may lead to, each with what its caller may be told then.
    func outcomes(of call: Saga.Call) -> [(world: Self, events: [Saga.Event])] {
        switch call {
        case .reserve:
            func events(_ outcomes: Outcome<ReservedGoods>...) -> [Saga.Event] {
                outcomes.flatMap { outcome in [true, false].map { .reserved(outcome, mayCharge: $0) } }
            }
            var late = self
            late.lateReserve = true
            return effectsOfReserve.map { ($0, events($1, .unknown(.timedOut))) } + [
                (late, events(.unknown(.timedOut), .notExecuted(.unavailable))),
                (self, events(.notSent(.unreachable), .notSent(.timedOut), .notExecuted(.unavailable))),
            ]
        case .charge:
            var late = self
            late.lateCharge = true
            return effectsOfCharge.map { ($0, [.charged($1), .charged(.unknown(.timedOut))]) } + [
                (late, [.charged(.unknown(.timedOut)), .charged(.notExecuted(.unavailable))]),
                (self, Self.withoutEffect.map { .charged($0) }),
            ] + (charge == .none ? [late, self].map { ($0, [.charged(.notExecuted(.providerUnavailable))]) } : [])
        case .complete:
            var late = self
            late.lateComplete = true
            let (world, outcome) = effectOfComplete
            return [
                (world, [.completed(outcome), .completed(.unknown(.timedOut))]),
                (late, [.completed(.unknown(.timedOut)), .completed(.notExecuted(.unavailable))]),
                (self, Self.withoutEffect.map { .completed($0) }),
            ]
        case .release:
            var world = self
            if reservation != .completed { world.reservation = .canceled }
            let outcome: Outcome<Done> = reservation == .completed ? .refused(.conflict) : .succeeded(Done())
            return [
                (world, [.released(outcome), .released(.unknown(.timedOut))]),
                (self, (Self.withoutEffect + [.unknown(.timedOut)]).map { .released($0) }),
            ]
        case .refund:
            var world = self
            switch charge {
            case .taken, .others: world.charge = .returned
            case .none: world.charge = .canceled
            case .declined, .canceled, .returned: break
            }
            return [
                (world, [.refunded(.succeeded(Done())), .refunded(.unknown(.timedOut))]),
                (self, (Self.withoutEffect + [.unknown(.timedOut)]).map { .refunded($0) }),
            ]
        }
    }

    /// What a caller may be told when the command had no effect, and no copy of it is on its way.
    private static let withoutEffect: [Outcome<Done>] = [
        .notSent(.unreachable), .notSent(.timedOut), .notExecuted(.unavailable),
    ]

    private var effectsOfReserve: [(world: Self, outcome: Outcome<ReservedGoods>)] {
        var reserved = self
        reserved.reservation = .reserved
        reserved.reserveIsReplayed = true
        var refused = self
        refused.reservation = .refused
        switch reservation {
        case .none: return [(reserved, .succeeded(.sample)), (refused, .refused(.insufficientStock))]
        case .refused: return [(self, .refused(.insufficientStock))]
        case .reserved, .completed: return [(self, .succeeded(.sample))]
        case .canceled:
            // Once the key is forgotten, the tombstone answers.
            let conflict = (self, Outcome<ReservedGoods>.refused(.conflict))
            return reserveIsReplayed ? [(self, .succeeded(.sample)), conflict] : [conflict]
        }
    }

    private var effectsOfCharge: [(world: Self, outcome: Outcome<Done>)] {
        var taken = self
        taken.charge = .taken
        var declined = self
        declined.charge = .declined
        switch charge {
        case .none: return [(taken, .succeeded(Done())), (declined, .refused(.declined))]
        case .declined: return [(self, .refused(.declined))]
        case .canceled, .others: return [(self, .refused(.chargeConflict))]
        case .taken, .returned: return [(self, .succeeded(Done()))]
        }
    }

    private var effectOfComplete: (world: Self, outcome: Outcome<Done>) {
        switch reservation {
        case .reserved, .completed:
            var world = self
            world.reservation = .completed
            return (world, .succeeded(Done()))
        case .none, .refused, .canceled: return (self, .refused(.conflict))
        }
    }
}
