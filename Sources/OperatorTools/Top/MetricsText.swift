/// The metrics of one service, read from Prometheus' text format 0.0.4.
package struct MetricsText: Sendable, Equatable {
    /// One line: a name, its labels and its value.
    package struct Series: Sendable, Equatable {
        package let name: String
        package let labels: [String: String]
        package let value: Double

        /// The value as a whole number; nil for what is none, such as NaN.
        package var whole: Int? { Int(exactly: value.rounded()) }
    }

    /// No service has as many.
    private static let maximumSeries = 50_000

    package let series: [Series]

    /// Reads a text; a line that is not understood is left out.
    package init(_ text: String) {
        series = text.split(separator: "\n", maxSplits: Self.maximumSeries).compactMap(Self.series)
    }

    /// The sum of the series of a name that have these labels.
    package func sum(_ name: String, _ labels: [String: String] = [:]) -> Double {
        matching(name, labels).reduce(0) { $0 + $1.value }
    }

    /// The series of a name that have these labels.
    package func matching(_ name: String, _ labels: [String: String] = [:]) -> [Series] {
        series.filter { one in one.name == name && labels.allSatisfy { one.labels[$0.key] == $0.value } }
    }

    /// Without the series that are not wanted.
    func filtered(_ isWanted: (Series) -> Bool) -> MetricsText { MetricsText(series.filter(isWanted)) }

    private init(_ series: [Series]) { self.series = series }

    /// The counts of a histogram's buckets, added up over its series, by upper bound; cumulative as they are exposed.
    package func buckets(_ name: String, _ labels: [String: String] = [:]) -> [Double: Double] {
        matching("\(name)_bucket", labels).reduce(into: [:]) { buckets, one in
            guard one.value.isFinite, let bound = one.labels["le"].flatMap({ $0 == "+Inf" ? .infinity : Double($0) })
            else { return }
            buckets[bound, default: 0] += one.value
        }
    }

    private static func series(_ line: Substring) -> Series? {
        guard !line.hasPrefix("#"), let space = line.lastIndex(of: " "),
            let value = number(line[line.index(after: space)...])
        else { return nil }
        let head = line[..<space]
        guard let brace = head.firstIndex(of: "{") else { return Series(name: String(head), labels: [:], value: value) }
        guard head.last == "}" else { return nil }
        return Series(
            name: String(head[..<brace]), labels: labels(head[head.index(after: brace)...].dropLast()), value: value)
    }

    private static func number(_ text: Substring) -> Double? {
        switch text {
        case "+Inf": .infinity
        case "-Inf": -.infinity
        case "NaN": .nan
        default: Double(text)
        }
    }

    /// `a="b",c="d"`, with backslashes before quotes, backslashes and `n`.
    private static func labels(_ text: Substring) -> [String: String] {
        var labels: [String: String] = [:]
        var rest = text
        while let equals = rest.firstIndex(of: "=") {
            let name = rest[..<equals].drop { $0 == "," }
            rest = rest[rest.index(after: equals)...].dropFirst()
            var value = ""
            var isEscaped = false
            while let character = rest.popFirst() {
                if isEscaped {
                    value.append(character == "n" ? "\n" : character)
                    isEscaped = false
                } else if character == "\\" {
                    isEscaped = true
                } else if character == "\"" {
                    break
                } else {
                    value.append(character)
                }
            }
            labels[String(name)] = value
        }
        return labels
    }
}

/// The value below which a share of what a histogram has counted lies.
package enum Quantile {
    /// - Parameter buckets: cumulative counts by upper bound. - Returns: nil when nothing was counted; within a bucket what was
    ///   counted is taken to lie evenly, and above the last bound that bound is told, as Prometheus does.
    package static func value(_ share: Double, _ buckets: [Double: Double]) -> Double? {
        let sorted = buckets.sorted { $0.key < $1.key }
        guard let total = sorted.last?.value, total > 0 else { return nil }
        let wanted = share * total
        var (lower, below) = (0.0, 0.0)
        for (bound, count) in sorted {
            if count >= wanted {
                guard bound.isFinite else { return lower }
                return count > below ? lower + (bound - lower) * (wanted - below) / (count - below) : bound
            }
            (lower, below) = (bound, count)
        }
        return lower
    }
}
