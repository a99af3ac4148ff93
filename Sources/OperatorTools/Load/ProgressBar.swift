/// A progress bar, as one line.
package enum ProgressBar {
    /// - Parameter share: done, from 0 to 1; nil when nobody knows how much there is.
    package static func line(_ share: Double?, _ report: LoadReport, width: Int) -> String {
        let rate = TopView.number(Double(report.ended) / max(report.seconds, 0.001))
        let text = " \(report.ended) checkouts  \(rate)/s"
        guard let share, width > text.count + 12 else { return String(text.prefix(max(0, width))) }
        let length = min(40, width - text.count - 8)
        let done = Int((min(max(share, 0), 1) * Double(length)).rounded(.down))
        let bar = String(repeating: "#", count: done) + String(repeating: ".", count: length - done)
        return "[\(bar)] \(Int(min(max(share, 0), 1) * 100)) %\(text)"
    }
}
