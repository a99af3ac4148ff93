import ServiceKit
import Synchronization
import Testing

@Suite("Drain state")
struct DrainStateTests {
    @Test("a service drains once it is told to stop, not before, and that is told once")
    func drains() async throws {
        #expect(!DrainState().isDraining)
        let calls = Atomic(0)
        let drain = try await DrainState.stopped { calls.add(1, ordering: .relaxed) }
        #expect(drain.isDraining)
        #expect(calls.load(ordering: .relaxed) == 1)
    }
}
