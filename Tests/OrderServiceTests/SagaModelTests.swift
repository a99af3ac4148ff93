import ServiceClient
import StockAPI
import Testing

@testable import OrderService

/// Walks every state that the saga, its stored form and two honest participants can reach together when any reply may
/// be lost, any command may arrive late, the reservation may expire at any moment, and the process may die at any
/// moment.
@Suite("The saga among participants that commit and then lose their replies")
struct SagaModelTests {
    /// The two participants, and what is still on its way to them.
    fileprivate struct World: Hashable {
        enum Reservation { case none, refused, reserved, completed, canceled }
        enum Charge { case none, taken, declined, canceled, returned }

        var reservation = Reservation.none
        var charge = Charge.none
        /// Whether Stock remembers, under the reserve's key, that it has set the goods aside.
        var reserveIsReplayed = false
        var lateReserve = false
        var lateCharge = false
        var lateComplete = false
    }

    private struct State: Hashable {
        var saga: Saga
        /// The step that a later process would find.
        var stored: Saga.Step
        var world = World()
    }

    @Test("wherever it is cut off, the end is an order that is paid and handed over, or nothing taken and nothing held")
    func ends() throws {
        var completed = 0
        var failed = 0
        for state in try reachableStates() where state.saga.call == nil {
            let world = state.world.afterLateArrivals
            switch state.saga.step {
            case .completed:
                completed += 1
                #expect(world.reservation == .completed && world.charge == .taken, "\(state)")
            case .failed:
                failed += 1
                #expect(world.charge != .taken, "\(state)")
                #expect(world.reservation != .reserved && world.reservation != .completed, "\(state)")
            case .reserving, .charging, .completing, .releasing, .refunding: Issue.record("\(state) is no end")
            }
        }
        #expect(completed > 0)
        #expect(failed > 0)
    }

    @Test("from everywhere the saga can still come to an end")
    func progress() throws {
        let states = try reachableStates()
        var ending = states.filter { $0.saga.call == nil }
        var isGrowing = true
        while isGrowing {
            let more = try states.filter { state in
                guard !ending.contains(state) else { return false }
                return try successors(of: state).contains { ending.contains($0) }
            }
            isGrowing = !more.isEmpty
            ending.formUnion(more)
        }
        #expect(states.subtracting(ending).isEmpty)
    }

    private func reachableStates() throws -> Set<State> {
        let beginning = State(saga: Saga(.sample), stored: .reserving)
        var seen: Set<State> = [beginning]
        var open = [beginning]
        while let state = open.popLast() {
            for next in try successors(of: state) where seen.insert(next).inserted { open.append(next) }
        }
        return seen
    }

    /// Everything that may happen next.
    private func successors(of state: State) throws -> [State] {
        guard let call = state.saga.call else { return [] }
        var next: [State] = []
        func crashed(_ state: State) -> State {
            var state = state
            state.saga = Saga(.sample, step: state.stored, isResumed: true)
            return state
        }
        for world in state.world.spontaneousChanges {
            var changed = state
            changed.world = world
            next.append(changed)
        }
        for (world, events) in state.world.outcomes(of: call) {
            var called = state
            called.world = world
            // The process dies after the command had its effect, and before its answer is seen.
            next.append(crashed(called))
            for event in events {
                var after = called
                let applied = after.saga.apply(event)
                let action = try #require(applied)
                // It dies after the answer is seen, and before anything is stored.
                next.append(crashed(after))
                if action == .repeatLater || after.saga.mustBeStored { after.stored = after.saga.step }
                next.append(after)
            }
        }
        return next
    }
}

extension SagaModelTests.World {
    /// What may happen without a call of the saga: a late command arrives, or the reservation expires.
    fileprivate var spontaneousChanges: [Self] {
        var changes: [Self] = []
        if reservation == .reserved {
            var world = self
            world.reservation = .canceled
            changes.append(world)
        }
        if lateReserve { changes.append(afterLateReserve) }
        if lateCharge { changes.append(afterLateCharge) }
        if lateComplete { changes.append(afterLateComplete) }
        return changes
    }

    fileprivate var afterLateArrivals: Self { afterLateReserve.afterLateCharge.afterLateComplete }

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
    fileprivate func outcomes(of call: Saga.Call) -> [(world: Self, events: [Saga.Event])] {
        switch call {
        case .reserve:
            let reserved = effectsOfReserve.map { world, outcome in
                (
                    world,
                    [true, false].flatMap { mayCharge in
                        [outcome, .unknown(.timedOut)].map { Saga.Event.reserved($0, mayCharge: mayCharge) }
                    }
                )
            }
            var late = self
            late.lateReserve = true
            return reserved + [
                (late, [.reserved(.unknown(.timedOut), mayCharge: true)]),
                (self, [.reserved(.notExecuted(.unreachable), mayCharge: true)]),
            ]
        case .charge:
            var late = self
            late.lateCharge = true
            return effectsOfCharge.map { ($0, [.charged($1), .charged(.unknown(.timedOut))]) } + [
                (late, [.charged(.unknown(.timedOut))]), (self, [.charged(.notExecuted(.unreachable))]),
            ]
        case .complete:
            var late = self
            late.lateComplete = true
            let (world, outcome) = effectOfComplete
            return [
                (world, [.completed(outcome), .completed(.unknown(.timedOut))]),
                (late, [.completed(.unknown(.timedOut))]), (self, [.completed(.notExecuted(.unreachable))]),
            ]
        case .release:
            var world = self
            if reservation != .completed { world.reservation = .canceled }
            let outcome: Outcome<Done> = reservation == .completed ? .refused(.conflict) : .succeeded(Done())
            return [
                (world, [.released(outcome), .released(.unknown(.timedOut))]),
                (self, [.released(.unknown(.timedOut)), .released(.notExecuted(.unreachable))]),
            ]
        case .refund:
            var world = self
            switch charge {
            case .taken: world.charge = .returned
            case .none: world.charge = .canceled
            case .declined, .canceled, .returned: break
            }
            return [
                (world, [.refunded(.succeeded(Done())), .refunded(.unknown(.timedOut))]),
                (self, [.refunded(.unknown(.timedOut)), .refunded(.notExecuted(.unreachable))]),
            ]
        }
    }

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
        case .declined, .canceled: return [(self, .refused(.declined))]
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
