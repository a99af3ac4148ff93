import Resilience
import Testing

@Suite("Timestamp")
struct TimestampTests {
    @Test(
        "a timestamp is written as RFC 3339 in UTC with milliseconds",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_231_667_120, "2026-11-21T03:27:47.120Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (1_483_228_799_000, "2016-12-31T23:59:59.000Z"),
            // Leap years: every fourth, not every hundredth, but every four hundredth.
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_677_628_799_999, "2023-02-28T23:59:59.999Z"),
            (1_677_628_800_000, "2023-03-01T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            // Before 1970.
            (-1, "1969-12-31T23:59:59.999Z"),
            (-2_203_891_200_001, "1900-02-28T23:59:59.999Z"),
            (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
            (-11_670_998_399_999, "1600-02-29T00:00:00.001Z"),
            (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func text(milliseconds: Int64, text: String) {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
    }

    @Test(
        "the form of HTTP headers has the day of the week, and GMT",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_795_231_667_999, "Sat, 21 Nov 2026 03:27:47 GMT"), (1_582_934_400_000, "Sat, 29 Feb 2020 00:00:00 GMT"),
            (253_402_300_799_999, "Fri, 31 Dec 9999 23:59:59 GMT"), (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] as [(Int64, String)])
    func httpDate(milliseconds: Int64, text: String) {
        #expect(Timestamp(milliseconds: milliseconds).httpDate == text)
    }

    @Test("the texts of four centuries of days sort as the days do, and none repeats")
    func order() {
        var previous = Timestamp(milliseconds: -5_364_662_400_000)
        #expect(previous.description == "1800-01-01T00:00:00.000Z")
        for _ in 0..<146_097 {
            let next = previous.advanced(by: .seconds(86_400))
            guard next.description > previous.description else {
                Issue.record("\(next) does not sort after \(previous)")
                return
            }
            previous = next
        }
        #expect(previous.description == "2200-01-01T00:00:00.000Z")
    }

    @Test(
        "a timestamp moves by whole milliseconds; the part below is dropped",
        arguments: [
            (Duration.milliseconds(1), 1001), (.seconds(86_400), 86_401_000), (.seconds(-2), -1000), (.zero, 1000),
            (.microseconds(1999), 1001), (.microseconds(999), 1000), (.microseconds(-999), 1000),
        ] as [(Duration, Int64)])
    func advanced(duration: Duration, milliseconds: Int64) {
        #expect(Timestamp(milliseconds: 1000).advanced(by: duration) == Timestamp(milliseconds: milliseconds))
    }

    @Test("timestamps compare by time")
    func comparison() {
        #expect(Timestamp(milliseconds: -1) < Timestamp(milliseconds: 0))
        #expect(!(Timestamp(milliseconds: 0) < Timestamp(milliseconds: 0)))
        #expect(!(Timestamp(milliseconds: 1) < Timestamp(milliseconds: 0)))
    }
}
