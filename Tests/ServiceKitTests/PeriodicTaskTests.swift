import Logging
import ServiceKit
import Synchronization
import TestSupport
import Testing

private struct BodyError: Error {}

@Suite("Periodic task")
struct PeriodicTaskTests {
    private let log = LogRecorder()

    private func logger() -> Logger {
        Logger(label: "test") { [log] _ in JSONLogHandler(service: "test", level: .debug, write: log.append) }
    }

    @Test("the body runs at once and then after each pause, until the task is cancelled")
    func repeats() async throws {
        let sleeper = RecordingSleeper(maximum: 3)
        let runs = Atomic(0)
        let task = PeriodicTask(name: "sweep", interval: .seconds(10), sleeper: sleeper, logger: logger()) {
            runs.add(1, ordering: .relaxed)
        }
        try await task.run()
        #expect(runs.load(ordering: .relaxed) == 4)
        #expect(sleeper.sleeps == Array(repeating: .seconds(10), count: 4))
        #expect(log.lines.isEmpty)
    }

    @Test("a failure is logged and the next turn tries again")
    func failure() async throws {
        let runs = Atomic(0)
        let task = PeriodicTask(
            name: "sweep", interval: .seconds(10), sleeper: RecordingSleeper(maximum: 2), logger: logger()
        ) {
            if runs.add(1, ordering: .relaxed).newValue == 1 { throw BodyError() }
        }
        try await task.run()
        #expect(runs.load(ordering: .relaxed) == 3)
        #expect(log.lines.count == 1)
        #expect(log.lines.first?.contains(#""task":"sweep""#) == true)
        #expect(log.lines.first?.contains(#""level":"warning""#) == true)
    }

    @Test("turns that may overlap begin when their time has come, and the task ends when the last of them is over")
    func overlaps() async throws {
        let runs = Atomic(0)
        let gate = Gate()
        let task = PeriodicTask(
            name: "sweep", interval: .seconds(10), overlaps: true, sleeper: RecordingSleeper(maximum: 2),
            logger: logger()
        ) {
            if runs.add(1, ordering: .relaxed).newValue == 1 { await gate.pass() }
        }
        let hasEnded = Atomic(false)
        async let run: Void = {
            try await task.run()
            hasEnded.store(true, ordering: .relaxed)
        }()
        await gate.arrival()
        try await eventually { runs.load(ordering: .relaxed) == 3 }
        let endsEarly = hasEnded.load(ordering: .relaxed)
        #expect(!endsEarly)
        gate.open()
        try await run
        #expect(runs.load(ordering: .relaxed) == 3)
    }

    @Test("a task that is cancelled ends without a line in the log")
    func cancellation() async throws {
        let sleeper = RecordingSleeper()
        let task = PeriodicTask(name: "sweep", interval: .seconds(10), sleeper: sleeper, logger: logger()) {
            withUnsafeCurrentTask { $0?.cancel() }
            throw CancellationError()
        }
        try await task.run()
        #expect(sleeper.sleeps.isEmpty)
        #expect(log.lines.isEmpty)
    }

    @Test("a body that gives up something of its own is tried again: only the task's own cancellation ends it")
    func cancellationOfAnother() async throws {
        let sleeper = RecordingSleeper(maximum: 2)
        let task = PeriodicTask(name: "sweep", interval: .seconds(10), sleeper: sleeper, logger: logger()) {
            throw CancellationError()
        }
        try await task.run()
        #expect(sleeper.sleeps == Array(repeating: .seconds(10), count: 3))
    }
}
