extension Simulator {
    /// So many lines of a trace are shown; `--trace` shows them all.
    private static let longestTrace = 120

    /// Runs the scenario of a seed.
    public func run(seed: UInt64, keepsTrace: Bool = false) throws -> RunResult {
        try run(.random(seed: seed), seed: seed, keepsTrace: keepsTrace)
    }

    /// What there is to say about a seed that fails: the invariant, and the shortest trace that still breaks it.
    public func report(seed: UInt64) throws -> String {
        let short = try shorten(.random(seed: seed), seed: seed, mistake: .none)
        return """
            seed \(seed) breaks \(short.result.violations.first?.invariant ?? "nothing"): \
            \(short.result.violations.first?.what ?? "")
            faults left after shortening (\(short.faults.count)):
            \(short.faults.map { "  \($0)" }.joined(separator: "\n"))
            clients: \(short.scenario.clients.map { "\($0.name) \($0.user)/\($0.key) \($0.purchase)" }.joined(separator: "; "))
            trace:
            \(short.result.trace.prefix(Self.longestTrace).map { "  \($0)" }.joined(separator: "\n"))
            """
    }

    /// Leaves out one client or one fault after another for as long as the same invariant breaks.
    func shorten(_ scenario: Scenario, seed: UInt64, mistake: Mistake) throws -> Shortened {
        var scenario = scenario
        let first = try run(scenario, seed: seed, mistake: mistake)
        var faults = first.injected
        guard let invariant = first.violations.first?.invariant else {
            return Shortened(scenario: scenario, faults: faults, result: first)
        }
        func stillFails(_ scenario: Scenario, _ faults: [String]) throws -> [String]? {
            let result = try run(scenario, seed: seed, mistake: mistake, only: Set(faults))
            return result.violations.first?.invariant == invariant ? result.injected : nil
        }
        for client in scenario.clients.reversed() where scenario.clients.count > 1 {
            var smaller = scenario
            smaller.clients.removeAll { $0.name == client.name }
            if let left = try stillFails(smaller, faults) { (scenario, faults) = (smaller, left) }
        }
        var hasShrunk = true
        while hasShrunk {
            hasShrunk = false
            for fault in faults.reversed() {
                if let left = try stillFails(scenario, faults.filter { $0 != fault }), left.count < faults.count {
                    faults = left
                    hasShrunk = true
                }
            }
        }
        let result = try run(scenario, seed: seed, mistake: mistake, only: Set(faults), keepsTrace: true)
        return Shortened(scenario: scenario, faults: faults, result: result)
    }

    /// A failing run made shorter.
    struct Shortened {
        let scenario: Scenario
        let faults: [String]
        let result: RunResult
    }
}
