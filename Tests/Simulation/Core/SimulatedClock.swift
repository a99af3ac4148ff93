import Resilience

/// The clocks of one process, and its sleep. The wall clock of a process may be wrong, and may jump (hazard 37).
struct SimulatedClock: TimeSource, Sleeper {
    /// 2026-01-01T00:00:00Z.
    private static let beginning = Timestamp(milliseconds: 1_767_225_600_000)

    let incarnation: Incarnation

    var now: Timestamp {
        Self.beginning.advanced(by: incarnation.world.scheduler.now + incarnation.node.clockError.value)
    }

    var uptime: Duration { incarnation.world.scheduler.now }

    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        let sleeping = Cell<Answer<Bool>?>(nil)
        let hasSlept = await withTaskCancellationHandler {
            await incarnation.wait(orOnDeath: false) { answer in
                sleeping.value = answer
                incarnation.world.scheduler.after(duration, incarnation) { answer.give(true) }
            }
        } onCancel: {
            sleeping.value?.give(false)
        }
        guard hasSlept else { throw CancellationError() }
    }
}
