/// Asks again and again, and lets other tasks run in between, until a condition holds. For what happens in a task that
/// a test has no handle on; the suite's time limit ends a wait in vain.
public func eventually(_ condition: () async throws -> Bool) async throws {
    while try await !condition() {
        try Task.checkCancellation()
        await Task.yield()
    }
}
