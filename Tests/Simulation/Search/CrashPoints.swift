/// Executes every crash point of the named scenarios, alone and in pairs.
public struct CrashPoints: Sendable {
    /// How many were found and how many were executed.
    public struct Count: Sendable {
        public var discovered = 0
        public var executed = 0

        /// Whether none was left out.
        public var isComplete: Bool { discovered > 0 && discovered == executed }
    }

    /// What came of it.
    public struct Report: Sendable {
        public var single = Count()
        public var pairs = Count()
        /// What failed, with the points at which processes died.
        public var failures: [String] = []

        /// Nothing yet.
        public init() {}
    }

    /// How many failures are described.
    private static let maximumFailures = 20
    /// One seed for all: it decides how long messages take, and nothing else happens by chance.
    private static let seed: UInt64 = 1

    private let simulator: Simulator
    private let withPairs: Bool

    /// An exploration. - Parameter withPairs: whether to let a second process die during the recovery of the first.
    public init(_ simulator: Simulator, withPairs: Bool) {
        self.simulator = simulator
        self.withPairs = withPairs
    }

    /// The names of the scenarios explored.
    public static var scenarios: [String] { all.map(\.name) }

    /// Every way through the saga, and every fault of every message on the main ones.
    static let all = Scenario.named + Scenario.faulty

    /// Explores one scenario.
    public func explore(scenario index: Int) throws -> Report {
        let scenario = Self.all[index]
        var report = Report()
        func run(_ deaths: Set<Int>) throws -> RunResult {
            let result = try simulator.run(scenario, seed: Self.seed, deaths: deaths)
            if let violation = result.violations.first, report.failures.count < Self.maximumFailures {
                let places = result.executed.map { "\($0.name) (\($0.number))" }.joined(separator: ", then ")
                report.failures.append(
                    "\(scenario.name), a crash at \(places.isEmpty ? "no point" : places): \(violation.invariant), \(violation.what)"
                )
            }
            return result
        }
        for point in try run([]).discovered {
            report.single.discovered += 1
            let result = try run([point.number])
            if result.executed.contains(point) { report.single.executed += 1 }
            guard withPairs, scenario.hasPairs else { continue }
            for second in result.discovered where second.number > point.number {
                report.pairs.discovered += 1
                if try run([point.number, second.number]).executed.contains(second) { report.pairs.executed += 1 }
            }
        }
        return report
    }

    /// The trace of one scenario in which processes die at these points. For looking at a failure.
    public static func trace(_ simulator: Simulator, scenario index: Int, deaths: Set<Int>) throws -> [String] {
        try simulator.run(all[index], seed: seed, deaths: deaths, keepsTrace: true).trace
    }
}
