import CoreMetrics
import Synchronization

/// One number that any thread may change without waiting for another.
final class Cell: Sendable {
    private let bits = Atomic<Int64>(0)

    var value: Int64 { bits.load(ordering: .relaxed) }
    func add(_ amount: Int64) { bits.wrappingAdd(amount, ordering: .relaxed) }
    func set(_ value: Int64) { bits.store(value, ordering: .relaxed) }
}

/// A number that only goes up.
final class PrometheusCounter: CounterHandler {
    private let cell = Cell()

    var value: Int64 { cell.value }
    func increment(by amount: Int64) { cell.add(amount) }
    func reset() { cell.set(0) }
}

/// A number that goes up and down.
final class PrometheusGauge: MeterHandler, RecorderHandler {
    private let bits = Atomic<UInt64>(Double(0).bitPattern)

    var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }
    func decrement(by amount: Double) { increment(by: -amount) }

    func increment(by amount: Double) {
        var expected = bits.load(ordering: .relaxed)
        while true {
            let next = (Double(bitPattern: expected) + amount).bitPattern
            let (exchanged, original) = bits.weakCompareExchange(
                expected: expected, desired: next, ordering: .relaxed)
            if exchanged { return }
            expected = original
        }
    }
}

/// How durations are spread over the buckets.
final class PrometheusHistogram: TimerHandler {
    /// The upper bounds that OpenTelemetry recommends for durations, in seconds.
    static let bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

    private static let nanoseconds = bounds.map { Int64(($0 * 1e9).rounded()) }
    /// One for each bound and one for what is above them all; each counts only its own.
    private let buckets = (0...bounds.count).map { _ in Cell() }
    private let sum = Cell()

    func recordNanoseconds(_ duration: Int64) {
        // Most durations end in one of the first buckets.
        buckets[Self.nanoseconds.firstIndex { duration <= $0 } ?? Self.bounds.count].add(1)
        sum.add(max(0, duration))
    }

    /// How many were at most as long as each bound, and last how many there were in all; and the sum of them in seconds.
    var reading: (cumulative: [Int64], sum: Double) {
        var total: Int64 = 0
        let cumulative = buckets.map { bucket in
            total += bucket.value
            return total
        }
        return (cumulative, Double(sum.value) / 1e9)
    }
}
