/// A point of wall-clock time in whole milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
public struct Timestamp: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    public let milliseconds: Int64

    /// A point of time.
    public init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// This point moved by a duration; the part below a millisecond is dropped.
    public func advanced(by duration: Duration) -> Timestamp {
        Timestamp(milliseconds: milliseconds + duration.wholeMilliseconds)
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }

    /// RFC 3339 in UTC with milliseconds, for example `2026-11-21T03:27:47.120Z`.
    public var description: String {
        String(unsafeUninitializedCapacity: Self.length) { text in
            put(into: text)
            return Self.length
        }
    }

    /// How many bytes its text has.
    public static let length = 24

    /// Writes its text, `length` bytes of ASCII.
    public func put(into text: UnsafeMutableBufferPointer<UInt8>) {
        let (day, millisecondOfDay) = milliseconds.flooredQuotientAndRemainder(dividingBy: 86_400_000)
        let (year, month, dayOfMonth) = Self.civilDate(daysSince1970: day)
        let second = millisecondOfDay / 1000
        func put(_ number: Int64, at start: Int, width: Int, then mark: Unicode.Scalar) {
            var rest = number
            for position in (start..<start + width).reversed() {
                text[position] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            }
            text[start + width] = UInt8(ascii: mark)
        }
        put(year, at: 0, width: 4, then: "-")
        put(month, at: 5, width: 2, then: "-")
        put(dayOfMonth, at: 8, width: 2, then: "T")
        put(second / 3600, at: 11, width: 2, then: ":")
        put(second / 60 % 60, at: 14, width: 2, then: ":")
        put(second % 60, at: 17, width: 2, then: ".")
        put(millisecondOfDay % 1000, at: 20, width: 3, then: "Z")
    }

    /// The form of HTTP's `Date` header (RFC 9110, section 5.6.7), for example `Sat, 21 Nov 2026 03:27:47 GMT`.
    public var httpDate: String {
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let (day, millisecondOfDay) = milliseconds.flooredQuotientAndRemainder(dividingBy: 86_400_000)
        let (year, month, dayOfMonth) = Self.civilDate(daysSince1970: day)
        let second = millisecondOfDay / 1000
        func padded(_ number: Int64, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        // 1 January 1970 was a Thursday.
        let dayOfWeek = days[Int(day.flooredQuotientAndRemainder(dividingBy: 7).remainder)]
        let clock = [second / 3600, second / 60 % 60, second % 60].map { padded($0, 2) }.joined(separator: ":")
        return "\(dayOfWeek), \(padded(dayOfMonth, 2)) \(months[Int(month) - 1]) \(padded(year, 4)) \(clock) GMT"
    }

    /// The Gregorian date of a day, by the usual arithmetic on 400-year eras that begin in March.
    private static func civilDate(daysSince1970 day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (day + 719_468).flooredQuotientAndRemainder(dividingBy: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
    }
}

extension Int64 {
    /// Quotient rounded down and a remainder that is never negative.
    fileprivate func flooredQuotientAndRemainder(dividingBy divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

extension Duration {
    /// The duration in milliseconds, rounded towards zero.
    public var wholeMilliseconds: Int64 {
        Int64(clamping: attoseconds / 1_000_000_000_000_000)
    }

    /// The duration in nanoseconds, rounded towards zero. One that does not fit is the largest that does.
    public var wholeNanoseconds: Int64 {
        Int64(clamping: attoseconds / 1_000_000_000)
    }

    /// The duration in seconds. For printing and for arithmetic that need not be exact.
    public var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
