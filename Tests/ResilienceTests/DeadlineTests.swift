import Resilience
import TestSupport
import Testing

@Suite("Deadline")
struct DeadlineTests {
    @Test("the time left shrinks as the clock goes, and is never negative")
    func remaining() {
        let time = ManualTime()
        let deadline = Deadline(after: .seconds(5), on: time)
        #expect(deadline.remaining(on: time) == .seconds(5))
        time.advance(by: .seconds(2))
        #expect(deadline.remaining(on: time) == .seconds(3))
        time.advance(by: .seconds(3))
        #expect(deadline.remaining(on: time) == .zero)
        time.advance(by: .seconds(100))
        #expect(deadline.remaining(on: time) == .zero)
    }

    @Test("a deadline has passed from its moment on")
    func hasPassed() {
        let time = ManualTime()
        let deadline = Deadline(after: .milliseconds(10), on: time)
        #expect(!deadline.hasPassed(on: time))
        time.advance(by: .milliseconds(9))
        #expect(!deadline.hasPassed(on: time))
        time.advance(by: .milliseconds(1))
        #expect(deadline.hasPassed(on: time))
    }

    @Test("a deadline after no time at all has passed", arguments: [Duration.zero, .seconds(-1)])
    func noTime(duration: Duration) {
        let time = ManualTime()
        let deadline = Deadline(after: duration, on: time)
        #expect(deadline.hasPassed(on: time))
        #expect(deadline.remaining(on: time) == .zero)
    }

    @Test("a jump of the wall clock does not move a deadline (hazard 37)")
    func wallClockJump() {
        let deadline = Deadline(
            after: .seconds(5), on: FixedTime(now: Timestamp(milliseconds: 0), uptime: .seconds(10)))
        let jumped = FixedTime(now: Timestamp(milliseconds: 1_000_000_000), uptime: .seconds(10))
        #expect(deadline.remaining(on: jumped) == .seconds(5))
        #expect(deadline == Deadline(uptime: .seconds(15)))
    }
}

private struct FixedTime: TimeSource {
    let now: Timestamp
    let uptime: Duration
}
