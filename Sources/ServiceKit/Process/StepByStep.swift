import Resilience

extension ServiceEnvironment {
    /// The least time between two steps of long work.
    package static let shortestStepPause = Duration.milliseconds(1)
    /// The longest, whatever a step took: a process may have been frozen meanwhile.
    package static let longestStepPause = Duration.seconds(1)

    /// Does work that is long in short steps, and serves requests between them.
    ///
    /// Transactions that are awaited one after another make no room by themselves. The end of one resumes its caller on the
    /// service's loop, the caller submits the next, and the loop reads no socket before it has run out of such jobs. So after
    /// each step but the last there is a pause by the environment's sleeper, whose timer the loop has to wait for: as long as the
    /// step took, so that half of the loop's time is left to requests, or a number of times as long.
    ///
    /// - Parameters:
    ///   - pauses: how many times as long as the step before it a pause is, asked at each.
    ///   - step: some milliseconds of work, at most; whether there is more to do. The work's bound is the caller's.
    /// - Throws: what `step` throws; `CancellationError` when the task is cancelled during a pause.
    package func stepByStep(
        isolation: isolated (any Actor)? = #isolation, pauses: () -> Int = { 1 }, _ step: () async throws -> Bool
    ) async throws {
        while true {
            let start = time.uptime
            guard try await step() else { return }
            let took = (time.uptime - start) * pauses()
            try await sleeper.sleep(for: min(max(took, Self.shortestStepPause), Self.longestStepPause))
        }
    }
}
