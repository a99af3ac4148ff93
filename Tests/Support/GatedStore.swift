import ServiceKit
import Storage
import Synchronization

/// A store that holds a caller back, or fails, where a test says so.
public final class GatedStore: Store {
    private struct Script {
        var passing = 0
        var failures = 0
        var error = StoreError.full
        var gate: Gate?
    }

    private let store: any Store
    private let script = Mutex(Script())

    /// A store in front of another one.
    public init(_ store: any Store) {
        self.store = store
    }

    /// Refuses the next transactions: nothing of them is run. - Parameter passing: how many come through before those.
    public func failNext(_ count: Int = 1, after passing: Int = 0, with error: StoreError = .full) {
        script.withLock { script in
            script.passing = passing
            script.failures = count
            script.error = error
        }
    }

    /// Holds the next caller at a gate once its transaction is committed: between a reading and what is done with it,
    /// something else may then happen.
    public func holdNext(at gate: Gate) {
        script.withLock { $0.gate = gate }
    }

    public func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws {
        let (error, gate): (StoreError?, Gate?) = script.withLock { script in
            if script.failures > 0, script.passing > 0 {
                script.passing -= 1
            } else if script.failures > 0 {
                script.failures -= 1
                return (script.error, nil)
            }
            defer { script.gate = nil }
            return (nil, script.gate)
        }
        if let error { throw error }
        try await store.perform(body)
        await gate?.pass()
    }
}

extension TestEnvironment {
    /// The same environment on another store.
    public func environment(on store: any Store) -> ServiceEnvironment {
        ServiceEnvironment(
            store: store, keys: environment.keys, time: time, sleeper: sleeper, identifiers: environment.identifiers,
            logger: environment.logger)
    }
}
