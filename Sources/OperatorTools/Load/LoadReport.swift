import Histogram
import Resilience
import StrictJSON

/// What became of a run's checkouts.
package struct LoadReport: Sendable {
    /// The highest time that is told apart from a higher one.
    private static let longest: UInt64 = 600_000_000
    /// How many broken promises are told one by one.
    private static let maximumViolations = 20

    /// Checkouts that were paid.
    package var completed = 0
    /// Checkouts that failed for good, by the problem's code.
    package var refused: [String: Int] = [:]
    /// Checkouts whose outcome their client has not learned within all its attempts.
    package var unanswered = 0
    package var requests = 0
    /// Requests that were made again, by why: a problem's code, or what the connection said.
    package var repeated: [String: Int] = [:]
    package var duplicated = 0
    package var replayed = 0
    package var abandoned = 0
    /// How many orders were looked for at the end, of how many that were answered as completed; nil when nobody looked.
    package var checked: (orders: Int, acknowledged: Int)?
    /// Answers that break a promise of the contract, at most 20 of them.
    package private(set) var violations: [String] = []
    package private(set) var violationCount = 0
    /// From the time at which a checkout was to begin to its definite answer, in microseconds: a client that had to wait for
    /// its turn has waited, too, so that a slow service does not hide its own slowness (coordinated omission).
    package private(set) var latency = Histogram<UInt64>(
        highestTrackableValue: longest, numberOfSignificantValueDigits: .three)
    package var seconds = 0.0

    package init() {}

    package var ended: Int { completed + refused.values.reduce(0, +) + unanswered }

    package mutating func took(_ duration: Duration) {
        let microseconds = UInt64(max(1, duration.inSeconds * 1_000_000))
        latency.record(min(microseconds, Self.longest))
    }

    package mutating func violated(_ violation: String) {
        violationCount += 1
        if violations.count < Self.maximumViolations { violations.append(violation) }
    }

    /// The shares of the checkouts whose times are told.
    private static let percentiles = [50.0, 90, 99, 99.9, 100]

    package var json: JSONValue {
        func counts(_ counts: [String: Int]) -> JSONValue {
            .object(counts.sorted { $0.key < $1.key }.map { .init($0.key, .number(String($0.value))) })
        }
        func number(_ value: Double) -> JSONValue { .number(String((value * 1000).rounded() / 1000)) }
        return .object([
            .init("seconds", number(seconds)), .init("checkouts", .number(String(ended))),
            .init("perSecond", number(Double(ended) / max(seconds, 0.001))),
            .init("completed", .number(String(completed))), .init("refused", counts(refused)),
            .init("unanswered", .number(String(unanswered))), .init("requests", .number(String(requests))),
            .init("repeated", counts(repeated)), .init("duplicated", .number(String(duplicated))),
            .init("replayed", .number(String(replayed))), .init("abandoned", .number(String(abandoned))),
            .init("acknowledged", checked.map { .number(String($0.acknowledged)) } ?? .null),
            .init("checked", checked.map { .number(String($0.orders)) } ?? .null),
            .init(
                "latencyMilliseconds",
                .object(
                    Self.percentiles.map { percentile in
                        .init(
                            "p\(Self.name(percentile))",
                            number(Double(latency.valueAtPercentile(percentile)) / 1000))
                    })),
            .init("violationCount", .number(String(violationCount))),
            .init("violations", .array(violations.map { .string($0) })),
        ])
    }

    /// For a person.
    package var text: String {
        func counts(_ counts: [String: Int]) -> String {
            counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }
        var lines = [
            "\(ended) checkouts in \(TopView.number(seconds)) s, \(TopView.number(Double(ended) / max(seconds, 0.001)))/s",
            "completed     \(completed)",
        ]
        if !refused.isEmpty { lines.append("refused       \(counts(refused))") }
        if unanswered > 0 { lines.append("unanswered    \(unanswered)") }
        lines.append("requests      \(requests): duplicates \(duplicated), replays \(replayed), abandoned \(abandoned)")
        if !repeated.isEmpty { lines.append("asked again   \(counts(repeated))") }
        if let checked {
            let rest = checked.acknowledged - checked.orders
            lines.append(
                "looked for    \(checked.orders) orders that were answered as completed"
                    + (rest > 0 ? "; \(rest) more were not looked for" : ""))
        }
        lines += ["", "latency       from when a checkout was to begin until its outcome was known"]
        for percentile in Self.percentiles {
            let time = TopView.time(Double(latency.valueAtPercentile(percentile)) / 1_000_000)
            lines.append("  p\(Self.name(percentile))".padded(to: 10) + time)
        }
        lines += histogram
        for violation in violations { lines.append("VIOLATION     \(Table.clean(violation))") }
        if violationCount > violations.count { lines.append("… and \(violationCount - violations.count) more") }
        return lines.joined(separator: "\n")
    }

    /// A bar for each doubling of the time.
    private var histogram: [String] {
        guard latency.totalCount > 0 else { return [] }
        var bars: [(upTo: UInt64, count: UInt64)] = []
        for value in latency.recordedValues() {
            var bound: UInt64 = 250
            while bound < value.value { bound *= 2 }
            if bars.last?.upTo != bound { bars.append((bound, 0)) }
            bars[bars.count - 1].count += value.countAddedInThisIterationStep
        }
        let most = bars.map(\.count).max() ?? 1
        return [""]
            + bars.map { bar in
                let length = Int((Double(bar.count) / Double(most) * 40).rounded(.up))
                return "  up to \(TopView.time(Double(bar.upTo) / 1_000_000))".padded(to: 22)
                    + String(bar.count).padded(to: 10) + String(repeating: "#", count: length)
            }
    }

    private static func name(_ percentile: Double) -> String {
        percentile == percentile.rounded() ? String(Int(percentile)) : String(percentile)
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
