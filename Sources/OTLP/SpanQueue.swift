import CoreMetrics
import Synchronization

/// Spans that have ended and wait for the next export: never more than `capacity`. What does not fit is dropped and counted, so that
/// a collector that is slow or gone costs nothing but its own spans.
final class SpanQueue: Sendable {
    /// How many spans wait at the most.
    let capacity: Int
    /// So many are worth an export of their own.
    let batchSize: Int
    private let counters: SpanCounters
    private let signal = Signal()
    private let state = Mutex(State())

    private struct State {
        var spans: [FinishedSpan] = []
        var isClosed = false
    }

    init(capacity: Int, batchSize: Int, counters: SpanCounters) {
        self.capacity = capacity
        self.batchSize = batchSize
        self.counters = counters
    }

    var count: Int { state.withLock { $0.spans.count } }

    /// Takes a span; never waits.
    func append(_ span: FinishedSpan) {
        enum Taken { case no(closed: Bool), yes(isBatch: Bool) }
        let taken: Taken = state.withLock { state in
            guard !state.isClosed, state.spans.count < capacity else { return .no(closed: state.isClosed) }
            state.spans.append(span)
            return .yes(isBatch: state.spans.count == batchSize)
        }
        switch taken {
        case .no(let closed): counters.count(closed ? .unsent : .queueFull, 1)
        case .yes(let isBatch): if isBatch { signal.raise() }
        }
    }

    /// Takes a batch from the front; empty when nothing waits.
    func take() -> [FinishedSpan] {
        state.withLock { state in
            let batch = Array(state.spans.prefix(batchSize))
            state.spans.removeFirst(batch.count)
            return batch
        }
    }

    /// Gives a batch back that could not be sent for want of time.
    func putBack(_ batch: [FinishedSpan]) {
        let isClosed = state.withLock { state in
            if !state.isClosed { state.spans.insert(contentsOf: batch, at: 0) }
            return state.isClosed
        }
        if isClosed { counters.count(.unsent, batch.count) }
    }

    /// Ends the wait of `batchIsDue`.
    func hurry() { signal.raise() }

    /// Waits until a batch is full, somebody is in a hurry, or the task is cancelled.
    func batchIsDue() async { await signal.wait() }

    /// Takes no further spans; those that wait are given up and counted.
    func close() {
        let left = state.withLock { state in
            state.isClosed = true
            defer { state.spans = [] }
            return state.spans.count
        }
        counters.count(.unsent, left)
    }
}

/// Lets one task wait for another. Raised while nobody waits, it ends the next wait at once.
final class Signal: Sendable {
    private struct State {
        var isRaised = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func raise() {
        let waiting = state.withLock { state in
            defer { state.waiting = nil }
            if state.waiting == nil { state.isRaised = true }
            return state.waiting
        }
        waiting?.resume()
    }

    /// For one task at a time. Cancellation ends the wait too.
    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goesOn = state.withLock { state in
                    if state.isRaised || Task.isCancelled {
                        state.isRaised = false
                        return true
                    }
                    state.waiting = continuation
                    return false
                }
                if goesOn { continuation.resume() }
            }
        } onCancel: {
            raise()
        }
    }
}
