import Correlation
import Storage
import Tracing

/// A store that records the transactions made in a span: each as a span under it, from the wait for its turn until it is durable.
/// What the service does by itself, in no span, is not recorded.
struct TracedStore: Store {
    private let store: any Store
    private let traces: Traces

    init(_ store: any Store, traces: Traces) {
        self.store = store
        self.traces = traces
    }

    func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws {
        guard let parent = InstrumentationContext.current?.trace, parent.isSampled,
            let span = traces.start("transaction", as: parent.child())
        else { return try await store.perform(body) }
        span.updateAttributes { attributes in
            attributes["db.system.name"] = "sqlite"
            attributes["db.operation.name"] = "transaction"
        }
        do {
            try await store.perform(body)
            span.end()
        } catch let error as StoreError {
            span.fail(error.label, "\(error)")
            throw error
        } catch {
            // The body has thought better of it, which is no fault of the store.
            span.updateAttributes { $0["checkout.rolled_back"] = true }
            span.end()
            throw error
        }
    }
}
