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

    @Test("a service that is ended because another part has failed was not told to stop")
    func cancelled() async {
        let calls = Atomic(0)
        let drain = DrainState(onDrain: { calls.add(1, ordering: .relaxed) })
        let run = Task { try await drain.run() }
        run.cancel()
        await #expect(throws: CancellationError.self) { try await run.value }
        #expect(!drain.isDraining)
        #expect(calls.load(ordering: .relaxed) == 0)
    }
}
