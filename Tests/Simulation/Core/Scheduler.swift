/// The one thread of a simulation: jobs that are ready, first come first served, and events in virtual time.
///
/// Every task of every simulated process runs its jobs here, so the order of all that happens is the order of these two
/// queues, and equal runs are equal to the last step.
final class Scheduler: Sendable {
    /// One thing to do that cannot wait, for one process.
    enum Work {
        case job(UnownedJob, Incarnation)
        case loopTask(@Sendable () -> Void, Incarnation)
    }

    private struct Event {
        let time: Duration
        /// Events of one moment come in the order in which they were made.
        let number: Int
        let target: Incarnation?
        let action: () -> Void
    }

    /// Virtual time since the beginning.
    private let clock = Cell(Duration.zero)
    private let ready = Cell<[Work]>([])
    private let nextReady = Cell(0)
    private let events = Cell<[Event]>([])
    private let eventCount = Cell(0)
    /// Steps done, so that a run without an end can be told from a long one.
    let steps = Cell(0)

    var now: Duration { clock.value }

    /// Puts work at the end of the queue.
    func enqueue(_ work: Work) {
        ready.value.append(work)
    }

    /// Makes something happen later. - Parameter target: the process it happens to, which holds it back while frozen; what
    /// happens to a dead process does not happen.
    func after(_ delay: Duration, _ target: Incarnation?, _ action: @escaping () -> Void) {
        eventCount.value += 1
        push(Event(time: now + max(.zero, delay), number: eventCount.value, target: target, action: action))
    }

    /// Runs what is ready until nothing is.
    func drain() {
        while nextReady.value < ready.value.count {
            let work = ready.value[nextReady.value]
            nextReady.value += 1
            // Keeps the queue from growing without keeping it from being cheap.
            if nextReady.value == 256 {
                ready.value.removeFirst(256)
                nextReady.value = 0
            }
            steps.value += 1
            switch work {
            case .job(let job, let owner):
                if owner.holds(.work(work)) { continue }
                job.runSynchronously(on: owner.asUnownedTaskExecutor())
            case .loopTask(let task, let owner):
                if owner.holds(.work(work)) { continue }
                owner.commit(task)
            }
        }
        ready.value.removeAll(keepingCapacity: true)
        nextReady.value = 0
    }

    /// Runs what is ready, then the next event not later than `limit`. - Returns: false when there is none.
    func step(until limit: Duration) -> Bool {
        drain()
        guard let first = events.value.first, first.time <= limit else { return false }
        let event = pop()
        clock.value = max(now, event.time)
        steps.value += 1
        if let target = event.target {
            guard target.isAlive else { return true }
            if target.holds(.event(event.action)) { return true }
        }
        event.action()
        return true
    }

    /// Runs everything up to a moment; the clock then shows it.
    func run(until limit: Duration) {
        while step(until: limit) {}
        clock.value = max(now, limit)
    }

    /// Forgets all events, which may refer to each other in circles.
    func clear() {
        drain()
        events.value = []
    }

    // MARK: - A binary heap, earliest event first

    private static func isEarlier(_ left: Event, _ right: Event) -> Bool {
        left.time == right.time ? left.number < right.number : left.time < right.time
    }

    private func push(_ event: Event) {
        events.value.append(event)
        var child = events.value.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.isEarlier(events.value[child], events.value[parent]) else { break }
            events.value.swapAt(child, parent)
            child = parent
        }
    }

    private func pop() -> Event {
        let first = events.value[0]
        let last = events.value.removeLast()
        guard !events.value.isEmpty else { return first }
        events.value[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < events.value.count && Self.isEarlier(events.value[child], events.value[least]) {
                least = child
            }
            guard least != parent else { return first }
            events.value.swapAt(parent, least)
            parent = least
        }
    }
}
