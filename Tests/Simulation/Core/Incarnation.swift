import PaymentService

/// One life of a process, from its start to its death: the executor of all its tasks.
///
/// A dead process runs on for a while, because a Swift task cannot be dropped: every store, call and sleep of it fails at
/// once and changes nothing, so its tasks come to their ends and free their memory. Nobody else sees any of that.
final class Incarnation: TaskExecutor {
    private enum State { case alive, frozen, dead }

    /// What came for a frozen process.
    enum Held {
        case work(Scheduler.Work)
        case event(() -> Void)
    }

    let node: Node
    let number: Int
    let world: World
    private let state = Cell(State.alive)
    private let held = Cell<[Held]>([])
    private let waits = Cell<[Int: () -> Void]>([:])
    private let waitCount = Cell(0)
    private let stepsAfterDeath = Cell(0)
    /// Answers what is sent to the process; nil until it has started.
    let endpoint = Cell<Endpoint?>(nil)
    /// Takes the messages of payment providers; nil but in Payment.
    let inbox = Cell<WebhookInbox?>(nil)
    /// Whether the transactions of the present commit have changed anything.
    let hasWritten = Cell(false)

    init(_ node: Node, number: Int, in world: World) {
        self.node = node
        self.number = number
        self.world = world
    }

    /// False once it is dead; a frozen process lives.
    var isAlive: Bool { state.value != .dead }

    var isFrozen: Bool { state.value == .frozen }

    func enqueue(_ job: consuming ExecutorJob) {
        world.scheduler.enqueue(.job(UnownedJob(job), self))
    }

    /// Starts a task of the process.
    func spawn(_ work: @escaping @Sendable () async -> Void) {
        Task(executorPreference: self, operation: work)
    }

    /// Takes what comes for a frozen process. - Returns: false when it is not frozen.
    func holds(_ item: @autoclosure () -> Held) -> Bool {
        guard isFrozen else { return false }
        held.value.append(item())
        return true
    }

    /// Runs one turn of the store: everything that waits for a commit. Before it and after it the process may die.
    func commit(_ flush: @escaping @Sendable () -> Void) {
        guard isAlive else { return flush() }
        let count = node.count("commit")
        let before = world.points.pass("\(node.name) commit #\(count) before", self, isCertain: false)
        if holds(.work(.loopTask(flush, self))) { return }
        guard isAlive else { return flush() }
        hasWritten.value = false
        flush()
        guard hasWritten.value else { return }
        world.points.confirm(before, self)
        world.note("\(node.name) commits #\(count)")
        world.audit.afterCommit(of: node)
        _ = world.points.pass("\(node.name) commit #\(count) after", self)
    }

    func kill() {
        guard isAlive else { return }
        world.note("\(node.name) dies")
        state.value = .dead
        node.incarnation.value = nil
        endpoint.value = nil
        inbox.value = nil
        for case .work(let work) in held.value { world.scheduler.enqueue(work) }
        held.value = []
        let waiting = waits.value.sorted { $0.key < $1.key }
        waits.value = [:]
        for wait in waiting { wait.value() }
    }

    func freeze() {
        guard state.value == .alive else { return }
        world.note("\(node.name) freezes")
        state.value = .frozen
    }

    func thaw() {
        guard isFrozen else { return }
        world.note("\(node.name) wakes")
        state.value = .alive
        for item in held.value {
            switch item {
            case .work(let work): world.scheduler.enqueue(work)
            case .event(let action): world.scheduler.after(.zero, self, action)
            }
        }
        held.value = []
    }

    // MARK: - Waiting

    /// Waits for an answer that something else will give. - Returns: `fallback` at once when the process is or becomes dead.
    func wait<Value: Sendable>(orOnDeath fallback: Value, _ begin: (Answer<Value>) -> Void) async -> Value {
        guard isAlive else {
            await endOfZombie()
            return fallback
        }
        return await withUnsafeContinuation { continuation in
            waitCount.value += 1
            let number = waitCount.value
            let answer = Answer(continuation) { [waits] in waits.value[number] = nil }
            waits.value[number] = { answer.give(fallback) }
            begin(answer)
        }
    }

    /// A loop that never looks whether it may go on would not end: its task is left lying about instead.
    private func endOfZombie() async {
        stepsAfterDeath.value += 1
        guard stepsAfterDeath.value > 500 else { return }
        await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
    }
}

/// Where one task waits for one value; what comes after the first is dropped.
final class Answer<Value: Sendable>: Sendable {
    private let continuation: Cell<UnsafeContinuation<Value, Never>?>
    private let onGiven: @Sendable () -> Void

    fileprivate init(_ continuation: UnsafeContinuation<Value, Never>, onGiven: @escaping @Sendable () -> Void) {
        self.continuation = Cell(continuation)
        self.onGiven = onGiven
    }

    var isGiven: Bool { continuation.value == nil }

    func give(_ value: Value) {
        guard let waiting = continuation.value else { return }
        continuation.value = nil
        onGiven()
        waiting.resume(returning: value)
    }
}
