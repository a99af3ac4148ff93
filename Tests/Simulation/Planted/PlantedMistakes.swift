/// The deliberate mistakes, each of which the simulation must catch.
public enum PlantedMistakes {
    /// What came of one.
    public struct Finding: Sendable, CustomStringConvertible {
        let mistake: Mistake
        let found: (where: String, violation: Violation)?

        /// Whether an invariant broke.
        public var isCaught: Bool { found != nil }

        public var description: String {
            guard let found else {
                let isIdle = mistake.statement != nil && !mistake.wasMade.value
                return "NOT CAUGHT  \(mistake.name): \(mistake.sentence)\(isIdle ? " Its statement never came." : "")"
            }
            return "caught      \(mistake.name): \(mistake.sentence) \(found.violation.invariant), in \(found.where)"
        }
    }

    static let all = statements + readings + messages + decisions + others + payments

    /// How many there are.
    public static var count: Int { all.count }

    /// How many seeds are tried before a mistake counts as not caught.
    private static let maximumSeeds: UInt64 = 2000

    /// Turns one mistake on, alone, and runs until an invariant breaks.
    public static func find(_ index: Int, _ simulator: Simulator) throws -> Finding {
        let mistake = all[index]
        /// What breaks with the mistake and does not break without it.
        func violation(_ scenario: Scenario, seed: UInt64, _ deaths: Set<Int> = []) throws -> Violation? {
            let result = try simulator.run(scenario, seed: seed, mistake: mistake, deaths: deaths)
            guard let found = result.violations.first else { return nil }
            return try simulator.run(scenario, seed: seed, deaths: deaths).hasFailed ? nil : found
        }
        for scenario in Scenario.named {
            if let violation = try violation(scenario, seed: 1) {
                return Finding(mistake: mistake, found: ("the scenario '\(scenario.name)'", violation))
            }
        }
        for seed in 1...maximumSeeds {
            if let violation = try violation(.random(seed: seed), seed: seed) {
                return Finding(mistake: mistake, found: ("seed \(seed)", violation))
            }
        }
        for scenario in CrashPoints.all {
            for point in try simulator.run(scenario, seed: 1, mistake: mistake).discovered {
                if let violation = try violation(scenario, seed: 1, [point.number]) {
                    return Finding(
                        mistake: mistake, found: ("the scenario '\(scenario.name)', crash at \(point.name)", violation))
                }
            }
        }
        return Finding(mistake: mistake, found: nil)
    }
}
