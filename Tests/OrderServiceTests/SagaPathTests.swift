import ServiceClient
import StockAPI
import Testing

@testable import OrderService

/// Walks every path of the saga, breadth first, with participants that answer anything at all: nothing is assumed of
/// them but that what they say is true.
@Suite("Every path of the saga")
struct SagaPathTests {
    /// More steps than the longest path without repetition has, with room for repetitions on the way.
    private static let depth = 14

    /// What the answers so far have shown.
    fileprivate struct Knowledge: Hashable {
        /// `mayArrive`: not executed, but a copy of it may still be on its way.
        enum Charge { case untouched, mayArrive, maybeTaken, taken, refused, returned }

        var charge = Charge.untouched
        var hasReserved = false
        var reserveWasRefused = false
        var hasCompleted = false
        var hasReleased = false
    }

    private struct Path: Hashable {
        var saga: Saga
        var known = Knowledge()
    }

    private static let beginnings: [Path] =
        [Path(saga: Saga(.sample))]
        + Saga.Step.samples.map { step in
            var path = Path(saga: Saga(.sample, step: step, isResumed: true))
            path.known.charge = .maybeTaken
            path.known.hasReserved = step.goods != nil
            // A release that a refund is to follow is stored after the charge is known to be taken; a refund likewise,
            // or by a saga that cannot know; a release alone after the charge is known not to be taken; one that a
            // cancel is to follow after Payment said that it did not execute the charge.
            switch step {
            case .releasing(_, then: .nothing), .failed: path.known.charge = .refused
            case .releasing(_, then: .cancel): path.known.charge = .mayArrive
            case .canceling:
                path.known.charge = .mayArrive
                path.known.hasReleased = true
            case .completing, .completed, .releasing(_, then: .refund): path.known.charge = .taken
            case .refunding: path.known.hasReleased = true
            // It stays unknown what became of the charge.
            case .releasing(_, then: .withdraw), .releasing(_, then: .abandon): break
            case .reserving, .charging: break
            }
            return path
        }

    @Test("no path ends failed with money that is or may be taken, and none ends completed without all three steps")
    func ends() {
        var ends = 0
        explore { path in
            switch path.saga.step {
            case .failed:
                ends += 1
                #expect([.untouched, .refused, .returned].contains(path.known.charge), "\(path)")
                #expect(!path.known.hasCompleted, "\(path)")
                #expect(!path.known.hasReserved || path.known.hasReleased, "\(path)")
            case .completed:
                ends += 1
                #expect(path.known.hasReserved && path.known.charge == .taken && path.known.hasCompleted, "\(path)")
            case .reserving, .charging, .completing, .releasing, .canceling, .refunding: break
            }
        }
        #expect(ends > 10)
    }

    @Test("money is given back only when the goods can no longer be handed over")
    func refundAfterRelease() {
        var refunds = 0
        explore { path in
            switch path.saga.step {
            case .canceling, .refunding: refunds += 1
            case .reserving, .charging, .completing, .releasing, .completed, .failed: return
            }
            #expect(path.known.hasReleased || path.known.reserveWasRefused, "\(path)")
        }
        #expect(refunds > 0)
    }

    @Test("no charge is asked for before the goods are set aside, and no complete before the money is taken")
    func order() {
        explore { path in
            switch path.saga.call {
            case .charge: #expect(path.known.hasReserved, "\(path)")
            case .complete: #expect(path.known.charge == .taken, "\(path)")
            case .reserve, .release, .refund, nil: break
            }
        }
    }

    /// Visits every path of up to `depth` events once.
    private func explore(_ visit: (Path) -> Void) {
        var seen = Set(Self.beginnings.filter { $0.saga.call != nil })
        var level = seen
        for _ in 0..<Self.depth {
            var next: Set<Path> = []
            for path in level {
                visit(path)
                for event in Saga.Event.samples where path.saga.step.awaits(event) {
                    var path = path
                    guard path.saga.apply(event) != nil else {
                        Issue.record("\(path.saga.step) does not take \(event)")
                        continue
                    }
                    path.known.learn(event)
                    if seen.insert(path).inserted { next.insert(path) }
                }
            }
            level = next
        }
        level.forEach(visit)
        #expect(level.isEmpty, "all paths are walked before the depth is reached")
    }
}

extension SagaPathTests.Knowledge {
    fileprivate mutating func learn(_ event: Saga.Event) {
        switch event {
        case .reserved(.succeeded, _): hasReserved = true
        // Stock need not remember it: once prices have changed, a late copy may set something aside.
        case .reserved(.refused(.invalidTotal), _): hasReserved = true
        case .reserved(.refused, _):
            hasReserved = false
            reserveWasRefused = true
        // Something may be set aside, or may yet be: only a release makes sure that it is not.
        case .reserved(.notExecuted, _), .reserved(.unknown, _): hasReserved = true
        case .charged(.succeeded): charge = .taken
        case .charged(.refused): charge = .refused
        case .charged(.unknown): charge = .maybeTaken
        case .charged(.notExecuted(.providerUnavailable)): charge = .mayArrive
        case .charged(.notExecuted): if charge == .untouched { charge = .mayArrive }
        case .completed(.succeeded): hasCompleted = true
        case .released(.succeeded): hasReleased = true
        case .refunded(.succeeded): charge = .returned
        case .reserved(.notSent, _), .charged(.notSent), .completed, .released, .refunded: break
        }
    }
}
