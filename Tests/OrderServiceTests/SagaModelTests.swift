import ServiceClient
import StockAPI
import Testing

@testable import OrderService

/// Walks every state that the saga, its stored form and two honest participants can reach together when any reply may
/// be lost, any command may arrive late, the reservation may expire at any moment, and the process may die at any
/// moment.
@Suite("The saga among participants that commit and then lose their replies")
struct SagaModelTests {
    private struct State: Hashable {
        var saga: Saga
        /// The step that a later process would find.
        var stored: Saga.Step
        var world = SagaModelWorld()
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
                if state.saga.step.failure?.code == Refusal.chargeConflict.code {
                    #expect(world.charge != .others, "\(state)")
                }
                #expect(world.reservation != .reserved && world.reservation != .completed, "\(state)")
            case .reserving, .charging, .completing, .releasing, .canceling, .refunding:
                Issue.record("\(state) is no end")
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

    @Test("every step is reached, and every kind of outcome happens in it, to fresh and to resumed sagas")
    func coverage() throws {
        var seen: Set<String> = []
        for state in try reachableStates() {
            guard let call = state.saga.call else { continue }
            for (_, events) in state.world.outcomes(of: call) {
                for event in events { seen.insert("\(state.saga.step.kind) \(event.kind) \(state.saga.isResumed)") }
            }
        }
        for step in Saga.Step.samples where Saga(.sample, step: step, isResumed: false).call != nil {
            for event in Saga.Event.samples where step.awaits(event) {
                for isResumed in [false, true] {
                    let kind = "\(step.kind) \(event.kind) \(isResumed)"
                    #expect(seen.contains(kind) == !kind.isImpossible, "\(kind)")
                }
            }
        }
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
            state.saga = Saga(resuming: .sample, at: state.stored)
            return state
        }
        for world in state.world.spontaneousChanges {
            var changed = state
            changed.world = world
            next.append(changed)
        }
        // An operator withdraws what nobody drives; a driver that was thought dead may still be anywhere.
        var withdrawn = crashed(state)
        if withdrawn.saga.withdraw() != nil {
            withdrawn.stored = withdrawn.saga.step
            next.append(withdrawn)
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

extension Saga.Step {
    /// The step without what it knows.
    fileprivate var kind: String {
        if case .releasing(_, let undo) = self { "releasing, then \(undo)" } else { name }
    }
}

extension Saga.Event {
    /// The outcome without what it brings.
    fileprivate var kind: String {
        switch self {
        case .reserved(let outcome, let mayCharge): "\(outcome.kind) \(mayCharge)"
        case .charged(let outcome), .completed(let outcome), .released(let outcome), .refunded(let outcome):
            outcome.kind
        }
    }
}

extension Outcome {
    fileprivate var kind: String {
        switch self {
        case .succeeded: "succeeded"
        case .refused: "refused"
        case .notSent: "not sent"
        case .notExecuted: "not executed"
        case .unknown: "unknown"
        }
    }
}

extension String {
    /// Honest participants never refuse what undoes: release of what no saga of this model has completed, and refund. But an
    /// operator may withdraw what was completed already; and what was withdrawn is always resumed.
    fileprivate var isImpossible: Bool {
        if hasPrefix("releasing, then withdraw") { return hasSuffix("false") }
        if hasPrefix("releasing, then abandon"), hasSuffix("false") { return true }
        return contains("refused") && (hasPrefix("releasing") || hasPrefix("canceling") || hasPrefix("refunding"))
    }
}
