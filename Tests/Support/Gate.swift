import Synchronization

/// A door that calls wait at until a test opens it: holds work in the middle without a clock.
public final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var arrivals = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
        var watching: [(arrivals: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    /// A closed gate.
    public init() {}

    /// Waits until the gate is open. Cancellation does not open it.
    public func pass() async {
        await withCheckedContinuation { continuation in
            let (isOpen, watchers) = state.withLock { state in
                state.arrivals += 1
                if !state.isOpen { state.waiting.append(continuation) }
                let arrived = state.watching.filter { $0.arrivals <= state.arrivals }
                state.watching.removeAll { $0.arrivals <= state.arrivals }
                return (state.isOpen, arrived.map(\.continuation))
            }
            if isOpen { continuation.resume() }
            watchers.forEach { $0.resume() }
        }
    }

    /// Waits until so many have arrived at the gate, whether or not they have gone through.
    public func arrival(of count: Int = 1) async {
        await withCheckedContinuation { continuation in
            let hasArrived = state.withLock { state in
                if state.arrivals >= count { return true }
                state.watching.append((count, continuation))
                return false
            }
            if hasArrived { continuation.resume() }
        }
    }

    /// Lets everybody through, now and later.
    public func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        waiting.forEach { $0.resume() }
    }
}
