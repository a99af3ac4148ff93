import AuditAPI

/// The screen of `checkout top`. Pure: the same reading and size are the same lines.
package struct TopView: Sendable {
    /// In characters. Nothing is wider or higher.
    package let width: Int
    package let height: Int
    /// Whether a terminal is there that shows colours, and the reader wants them.
    package let hasColour: Bool

    package init(width: Int, height: Int, hasColour: Bool) {
        self.width = max(1, width)
        self.height = max(1, height)
        self.hasColour = hasColour
    }

    /// The lines of one frame.
    package func lines(_ reading: TopReading, title: String) -> [String] {
        let rate = reading.outcomes.values.reduce(0, +)
        let failures = reading.outcomes.filter { $0.key != "completed" }.sorted { $0.key < $1.key }
        let driven = TopReading.states.dropLast(2).compactMap { state in
            reading.sagas[state].flatMap { $0 > 0 ? "\(state) \($0)" : nil }
        }
        let (waiting, parked) = (reading.sagas["waiting"] ?? 0, reading.sagas["parked"] ?? 0)
        let limbo = reading.limbo.map { "\($0.state) \(Amount.text(Int128($0.minorUnits), $0.currency))" }
        // The services first: they are what is looked at first, and what is too much for the window is cut below.
        var lines = [bold(cut(title)), ""] + services(reading.services) + [""]
        lines += [
            row(
                "checkouts",
                "\(Self.number(rate))/s   p50 \(Self.time(reading.p50))   p99 \(Self.time(reading.p99))")
        ]
        lines.append(row("driven", driven.isEmpty ? "none" : driven.joined(separator: "   ")))
        lines.append(row("waiting", "\(waiting)"))
        lines.append(row("parked", "\(parked)", isBad: parked > 0))
        lines.append(row("limbo", limbo.isEmpty ? "nothing" : limbo.joined(separator: "   ")))
        lines += reading.breakers.sorted { $0.key < $1.key }.map { target, state in
            row("breaker", "\(target) \(TopReading.breaker(state))", isBad: state != 0)
        }
        lines += providers(reading)
        lines.append(
            row(
                "recovery",
                "retries \(Self.number(reading.retries))/s   compensations \(Self.number(reading.compensations))/s"))
        lines.append(row("ended", "completed \(Self.number(reading.outcomes["completed"] ?? 0))/s"))
        lines += failures.map { row("", "\($0.key) \(Self.number($0.value))/s", isBad: $0.key != "payment_declined") }
        return Array(lines.prefix(height))
    }

    /// What Payment says of payments through providers, and of its ledger.
    private func providers(_ reading: TopReading) -> [String] {
        var lines = reading.providers.map { provider in
            let overdue = provider.overdue > 0 ? ", due for \(Self.time(provider.overdue))" : ""
            return row(
                "provider",
                "\(provider.name) \(TopReading.breaker(provider.breaker)), \(provider.open) payments open\(overdue)",
                isBad: provider.isTroubled)
        }
        if let letters = reading.deadLetters, letters > 0 {
            lines.append(row("given up", "\(letters) payments wait for somebody to decide", isBad: true))
        }
        if reading.isLedgerBalanced == false { lines.append(row("ledger", "OUT OF BALANCE", isBad: true)) }
        return lines
    }

    private func services(_ services: [TopReading.Service]) -> [String] {
        let headings = ["SERVICE", "REQ/s", "5xx/s", "P50", "P99", "STORE/s", "P99", "CORES", "MiB"]
        let rows = services.map { service in
            guard service.isUp else { return [service.name, "no answer"] + [String](repeating: "", count: 7) }
            let troubles = [service.unready, service.storeFailure.map { "store: \($0)" }].compactMap(\.self)
            let state = troubles.isEmpty ? "" : " (\(troubles.joined(separator: ", ")))"
            return [
                service.name + state, Self.number(service.requests), Self.number(service.errors),
                Self.time(service.p50), Self.time(service.p99), Self.number(service.transactions),
                Self.time(service.storeP99),
                Self.number(service.processor), Self.number(service.memory / 1_048_576),
            ]
        }
        let lines = Table.text(headings, rows, right: Set(1..<headings.count)).split(separator: "\n").map(String.init)
        return lines.enumerated().map { index, line in
            let isBad = index > 0 && (!services[index - 1].isWell || services[index - 1].errors > 0)
            return isBad ? bad(cut(line)) : cut(line)
        }
    }

    private func row(_ name: String, _ text: String, isBad: Bool = false) -> String {
        let line = cut(name + String(repeating: " ", count: max(0, 12 - name.count)) + Table.clean(text))
        return isBad ? bad(line) : line
    }

    /// What of a line fits. What is not ASCII may take two columns.
    private func cut(_ line: String) -> String {
        var left = width
        return String(
            line.prefix { character in
                left -= character.isASCII ? 1 : 2
                return left >= 0
            })
    }
    private func bold(_ line: String) -> String { hasColour ? "\u{1B}[1m\(line)\u{1B}[0m" : line }
    private func bad(_ line: String) -> String { hasColour ? "\u{1B}[31m\(line)\u{1B}[0m" : line }

    /// Three digits, or as many as a whole number has.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return "-" }
        let tenths = (value * 10).rounded() / 10
        if tenths >= 100 { return String(Int64(min(value.rounded(), 1e15))) }
        return String(tenths)
    }

    /// A time in seconds, for a person: `3.2 ms`, `1.5 s`.
    package static func time(_ seconds: Double?) -> String {
        guard let seconds, seconds.isFinite else { return "-" }
        return seconds < 1 ? "\(number(seconds * 1000)) ms" : "\(number(seconds)) s"
    }
}
