import Storage

/// A store that lets time pass before it runs a transaction, as one does that is behind with its work.
public struct LateStore: Store {
    private let store: any Store
    private let wait: @Sendable () -> Void

    /// A store in front of another one. - Parameter wait: called before each transaction; moves a clock.
    public init(_ store: any Store, wait: @escaping @Sendable () -> Void) {
        self.store = store
        self.wait = wait
    }

    public func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws {
        wait()
        try await store.perform(body)
    }
}
