import Resilience
import Testing

@Suite("Backoff schedule")
struct BackoffScheduleTests {
    @Test("the waits of the default schedule are 1, 2, 4 and 8 seconds, for 5 attempts")
    func doubling() {
        let schedule = BackoffSchedule()
        #expect(schedule.maximumAttempts == 5)
        #expect((1...4).map(schedule.delay(afterAttempt:)) == [.seconds(1), .seconds(2), .seconds(4), .seconds(8)])
    }

    @Test("no wait is longer than the cap")
    func cap() {
        let schedule = BackoffSchedule(base: .seconds(1), cap: .seconds(5), maximumAttempts: 10)
        #expect(
            (1...6).map(schedule.delay(afterAttempt:)) == [
                .seconds(1), .seconds(2), .seconds(4), .seconds(5), .seconds(5), .seconds(5),
            ])
    }

    @Test("a base above the cap is cut to it")
    func baseAboveCap() {
        let schedule = BackoffSchedule(base: .seconds(60), cap: .seconds(30))
        #expect((1...3).map(schedule.delay(afterAttempt:)) == [.seconds(30), .seconds(30), .seconds(30)])
    }

    @Test("another factor makes the waits grow by it; 1 keeps them equal")
    func factor() {
        let tripling = BackoffSchedule(base: .milliseconds(10), factor: 3)
        #expect(
            (1...3).map(tripling.delay(afterAttempt:)) == [.milliseconds(10), .milliseconds(30), .milliseconds(90)])
        let constant = BackoffSchedule(base: .seconds(2), factor: 1)
        #expect((1...3).map(constant.delay(afterAttempt:)) == [.seconds(2), .seconds(2), .seconds(2)])
    }

    @Test("a number of attempts that nobody will reach waits for the cap", arguments: [64, 1000, 1_000_000, Int.max])
    func hugeAttempt(attempt: Int) {
        #expect(BackoffSchedule().delay(afterAttempt: attempt) == .seconds(30))
    }

    @Test("a number below the first attempt waits as after the first", arguments: [0, -1, Int.min])
    func lowAttempt(attempt: Int) {
        #expect(BackoffSchedule().delay(afterAttempt: attempt) == .seconds(1))
    }

    @Test("a base of zero never waits", arguments: [1, 5, Int.max])
    func zeroBase(attempt: Int) {
        #expect(BackoffSchedule(base: .zero).delay(afterAttempt: attempt) == .zero)
    }

    @Test(
        "jitter adds its share of the random number, also on top of the cap",
        arguments: [(0.0, 0), (0.25, 25), (0.5, 50), (0.75, 75)])
    func jitterShare(random: Double, added: Int) {
        let schedule = BackoffSchedule(cap: .seconds(4), jitter: .milliseconds(100)) { random }
        #expect(schedule.delay(afterAttempt: 1) == .milliseconds(1000 + added))
        #expect(schedule.delay(afterAttempt: 9) == .milliseconds(4000 + added))
    }

    @Test("jitter from the default generator lies between nothing and its maximum, and varies")
    func jitterBounds() {
        let schedule = BackoffSchedule(jitter: .milliseconds(100))
        let delays = (0..<1000).map { _ in schedule.delay(afterAttempt: 2) }
        #expect(delays.allSatisfy { .seconds(2) <= $0 && $0 < .milliseconds(2100) })
        #expect(Set(delays).count > 500)
    }

    @Test("the same schedule with other jitter, or with one attempt, keeps everything else")
    func variants() {
        let schedule = BackoffSchedule(
            base: .seconds(2), factor: 3, cap: .seconds(9), jitter: .seconds(1), maximumAttempts: 4, random: { 0.5 })
        let wider = schedule.withJitter(.seconds(4))
        #expect((1...3).map { wider.delay(afterAttempt: $0) } == [.seconds(4), .seconds(8), .seconds(11)])
        #expect(wider.maximumAttempts == 4)
        #expect(schedule.single.maximumAttempts == 1)
        #expect(
            (1...3).map { schedule.single.delay(afterAttempt: $0) } == [.seconds(2.5), .seconds(6.5), .seconds(9.5)])
    }
}
