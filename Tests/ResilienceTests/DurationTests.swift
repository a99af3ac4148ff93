import Resilience
import Testing

@Suite("Duration")
struct DurationTests {
    @Test(
        "whole milliseconds are rounded towards zero",
        arguments: [
            (Duration.seconds(1), 1000), (.milliseconds(1500), 1500), (.microseconds(1999), 1),
            (.nanoseconds(999_999), 0),
            (.microseconds(-1999), -1), (.milliseconds(-1500), -1500), (.zero, 0),
            (.seconds(31_536_000), 31_536_000_000),
        ] as [(Duration, Int64)])
    func wholeMilliseconds(duration: Duration, milliseconds: Int64) {
        #expect(duration.wholeMilliseconds == milliseconds)
    }

    @Test(
        "seconds carry their fraction",
        arguments: [(Duration.milliseconds(1500), 1.5), (.milliseconds(-250), -0.25), (.zero, 0), (.seconds(7), 7)])
    func inSeconds(duration: Duration, seconds: Double) {
        #expect(duration.inSeconds == seconds)
    }
}
