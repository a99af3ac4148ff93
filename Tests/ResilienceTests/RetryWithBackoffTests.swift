import Resilience
import Synchronization
import TestSupport
import Testing

private struct Failure: RepeatableError, Equatable {
    var mayBeRepeated = true
    var retryAfter: Duration?
    var attempt = 0
}

private struct Unforeseen: Error {}

@Suite("Retry with backoff")
struct RetryWithBackoffTests {
    private let time = ManualTime()
    private let sleeper: RecordingSleeper
    private let retry: RetryWithBackoff

    init() {
        sleeper = RecordingSleeper(advancing: time)
        retry = RetryWithBackoff(schedule: BackoffSchedule(), sleeper: sleeper, time: time)
    }

    @Test("a success at the first attempt is returned without a wait")
    func firstTry() async throws {
        let result = try await retry { attempt in "attempt \(attempt)" }
        #expect(result == "attempt 1")
        #expect(sleeper.sleeps.isEmpty)
    }

    @Test("a later success is returned after the waits before it")
    func laterSuccess() async throws {
        let result = try await retry { attempt in
            guard attempt == 3 else { throw Failure() }
            return attempt
        }
        #expect(result == 3)
        #expect(sleeper.sleeps == [.seconds(1), .seconds(2)])
    }

    @Test("five attempts are made with 1, 2, 4 and 8 seconds between them, and no wait follows the last")
    func exhausted() async throws {
        var attempts: [Int] = []
        let error = try await #require(throws: RetriesExhausted.self) {
            try await retry { attempt in
                attempts.append(attempt)
                throw Failure(attempt: attempt)
            }
        }
        #expect(attempts == [1, 2, 3, 4, 5])
        #expect(sleeper.sleeps == [.seconds(1), .seconds(2), .seconds(4), .seconds(8)])
        #expect(error.attempts == 5)
        #expect(error.last as? Failure == Failure(attempt: 5))
    }

    @Test("a refusal is thrown as it is and not repeated")
    func definite() async {
        var attempts = 0
        await #expect(throws: Failure(mayBeRepeated: false, attempt: 2)) {
            try await retry { attempt in
                attempts += 1
                throw Failure(mayBeRepeated: attempt == 1, attempt: attempt)
            }
        }
        #expect(attempts == 2)
        #expect(sleeper.sleeps == [.seconds(1)])
    }

    @Test("an error that nobody has foreseen is thrown as it is and not repeated")
    func unforeseen() async {
        var attempts = 0
        await #expect(throws: Unforeseen.self) {
            try await retry { _ in
                attempts += 1
                throw Unforeseen()
            }
        }
        #expect(attempts == 1)
        #expect(sleeper.sleeps.isEmpty)
    }

    @Test(
        "the wait that the other side asks for is kept, up to the cap, and never shortens the schedule's own",
        arguments: [
            (Duration.seconds(3), Duration.seconds(3)), (.seconds(30), .seconds(30)), (.seconds(3600), .seconds(30)),
            (.milliseconds(200), .seconds(1)), (.zero, .seconds(1)),
        ])
    func retryAfter(asked: Duration, waited: Duration) async throws {
        let retry = RetryWithBackoff(schedule: BackoffSchedule(maximumAttempts: 2), sleeper: sleeper, time: time)
        await #expect(throws: RetriesExhausted.self) {
            try await retry { _ in throw Failure(retryAfter: asked) }
        }
        #expect(sleeper.sleeps == [waited])
    }

    @Test("no wait is begun that would outlast the deadline")
    func deadlineCuts() async throws {
        let deadline = Deadline(after: .seconds(5), on: time)
        let error = try await #require(throws: RetriesExhausted.self) {
            try await retry(until: deadline) { _ in throw Failure() }
        }
        // After 1 + 2 seconds two are left, and the next wait would be four.
        #expect(sleeper.sleeps == [.seconds(1), .seconds(2)])
        #expect(error.attempts == 3)
        #expect(!deadline.hasPassed(on: time))
    }

    @Test("a wait that ends with the deadline is not begun: no time would be left for the attempt")
    func deadlineAtEndOfWait() async throws {
        let error = try await #require(throws: RetriesExhausted.self) {
            try await retry(until: Deadline(after: .seconds(1), on: time)) { _ in
                throw Failure()
            }
        }
        #expect(error.attempts == 1)
        #expect(sleeper.sleeps.isEmpty)
    }

    @Test("nothing is attempted when the deadline has passed before the first attempt")
    func deadlinePassed() async throws {
        var attempts = 0
        let deadline = Deadline(after: .seconds(1), on: time)
        time.advance(by: .seconds(1))
        let error = try await #require(throws: RetriesExhausted.self) {
            try await retry(until: deadline) { _ in attempts += 1 }
        }
        #expect(attempts == 0)
        #expect(error.attempts == 0)
        #expect(error.last == nil)
    }

    @Test("a deadline that passes while waiting ends the attempts")
    func deadlinePassesInWait() async throws {
        // The machine slept for longer than it was asked to.
        let late = LateSleeper(time: time, lateness: .seconds(10))
        let retry = RetryWithBackoff(schedule: BackoffSchedule(), sleeper: late, time: time)
        let error = try await #require(throws: RetriesExhausted.self) {
            try await retry(until: Deadline(after: .seconds(5), on: time)) { attempt in
                throw Failure(attempt: attempt)
            }
        }
        #expect(error.attempts == 1)
        #expect(error.last as? Failure == Failure(attempt: 1))
    }

    @Test("a cancellation in a wait ends the attempts")
    func cancelledWait() async {
        var attempts = 0
        let retry = RetryWithBackoff(
            schedule: BackoffSchedule(), sleeper: RecordingSleeper(maximum: 1), time: time)
        await #expect(throws: CancellationError.self) {
            try await retry { _ in
                attempts += 1
                throw Failure()
            }
        }
        #expect(attempts == 2)
    }

    @Test("a cancelled task does not begin another wait or attempt")
    func cancelledTask() async {
        let attempts = Mutex(0)
        let task = Task { [retry] in
            try await retry { _ in
                attempts.withLock { $0 += 1 }
                withUnsafeCurrentTask { $0?.cancel() }
                throw Failure()
            }
        }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(attempts.withLock { $0 } == 1)
        #expect(sleeper.sleeps.isEmpty)
    }

    @Test("an operation's own cancellation is passed on and not repeated")
    func cancelledOperation() async {
        await #expect(throws: CancellationError.self) {
            try await retry { _ in throw CancellationError() }
        }
        #expect(sleeper.sleeps.isEmpty)
    }

    @Test("each failure that another attempt follows is told, with its wait, and the last is not")
    func onRetry() async {
        let retry = RetryWithBackoff(schedule: BackoffSchedule(maximumAttempts: 3), sleeper: sleeper, time: time)
        var told: [String] = []
        await #expect(throws: RetriesExhausted.self) {
            try await retry(
                onRetry: { attempt, error, wait in
                    told.append("\(attempt) \((error as? Failure)?.attempt ?? 0) \(wait.wholeMilliseconds)")
                },
                { attempt in throw Failure(attempt: attempt) })
        }
        #expect(told == ["1 1 1000", "2 2 2000"])
    }

    @Test("a schedule of one attempt never waits")
    func single() async throws {
        let retry = RetryWithBackoff(schedule: BackoffSchedule(maximumAttempts: 1), sleeper: sleeper, time: time)
        let error = try await #require(throws: RetriesExhausted.self) {
            try await retry { _ in throw Failure() }
        }
        #expect(error.attempts == 1)
        #expect(sleeper.sleeps.isEmpty)
    }
}

/// Wakes later than asked.
private struct LateSleeper: Sleeper {
    let time: ManualTime
    let lateness: Duration

    func sleep(for duration: Duration) async throws {
        time.advance(by: duration + lateness)
    }
}
