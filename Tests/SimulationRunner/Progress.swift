#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A bar that fills up; on something that is no terminal, a line from time to time.
final class Progress {
    private let name: String
    private let total: Int
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    private var lastShown: ContinuousClock.Instant
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private(set) var done = 0

    init(_ name: String, total: Int) {
        self.name = name
        self.total = total
        start = clock.now
        lastShown = start
    }

    func advance() {
        done += 1
        show("")
    }

    /// Shows how far it is, unless it has just done so.
    func show(_ detail: String) {
        let pause: Duration = isTerminal ? .milliseconds(100) : .seconds(10)
        guard clock.now - lastShown > pause else { return }
        lastShown = clock.now
        let width = 30
        let filled = total == 0 ? width : done * width / total
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        put(
            "\(isTerminal ? "\r\u{1B}[K" : "")\(name) [\(bar)] \(done)/\(total), \(rate)\(detail.isEmpty ? "" : "  ")\(detail)"
        )
        if !isTerminal { put("\n") }
    }

    /// Writes a line of its own.
    func say(_ text: String) {
        if isTerminal { put("\r\u{1B}[K") }
        put("\(text)\n", to: STDOUT_FILENO)
    }

    func end(_ summary: String) {
        say("\(summary) (\(name): \(done) in \(seconds) s, \(rate))")
    }

    private var seconds: Int { Int((clock.now - start).components.seconds) }

    private var rate: String {
        let elapsed = Double((clock.now - start) / .milliseconds(1)) / 60_000
        return elapsed > 0 ? "\(Int(Double(done) / elapsed)) a minute" : ""
    }

    /// Unbuffered, so that what is known is seen although the run is stopped.
    private func put(_ text: String, to descriptor: Int32 = STDERR_FILENO) {
        var text = text
        _ = text.withUTF8 { write(descriptor, $0.baseAddress, $0.count) }
    }
}
