import ArgumentParser
import Simulation

@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Simulates the whole checkout with faults, from seeds: the same seed is the same run.")

    @Option(help: "How many random seeds to run.") var seeds: Int?
    @Option(help: "The first seed.") var from: UInt64 = 1
    @Option(help: "Show the run of one seed.") var trace: UInt64?
    @Option(help: "Show the run of one scenario of the crash points, by its name.") var scenario: String?
    @Option(help: "At which points of that scenario processes die, by number.") var dies: [Int] = []
    @Flag(help: "Let processes die at every crash point, and at every pair of them.") var crashPoints = false
    @Flag(help: "See that every planted mistake is caught.") var planted = false
    @Flag(help: "All of these, with 20,000 seeds unless --seeds says otherwise.") var all = false

    func validate() throws {
        guard seeds != nil || trace != nil || scenario != nil || crashPoints || planted || all else {
            throw ValidationError("say what to do: --seeds N, --trace SEED, --crash-points, --planted or --all")
        }
        if let seeds, seeds < 1 { throw ValidationError("--seeds is at least 1") }
    }

    func run() throws {
        let simulator = try Simulator()
        if let trace { return try show(trace, simulator) }
        if let scenario {
            guard let index = CrashPoints.scenarios.firstIndex(of: scenario) else {
                throw ValidationError(
                    "there is no such scenario; there are: \(CrashPoints.scenarios.joined(separator: "; "))")
            }
            return try CrashPoints.trace(simulator, scenario: index, deaths: Set(dies)).forEach { print($0) }
        }
        var isGood = true
        if crashPoints || all { isGood = try explore(simulator) && isGood }
        if planted || all { isGood = try plant(simulator) && isGood }
        if let count = seeds ?? (all ? 20_000 : nil) { isGood = try search(count, simulator) && isGood }
        if !isGood { throw ExitCode.failure }
    }

    private func show(_ seed: UInt64, _ simulator: Simulator) throws {
        let result = try simulator.run(seed: seed, keepsTrace: true)
        result.trace.forEach { print($0) }
        if result.hasFailed { throw ExitCode.failure }
    }

    private func search(_ count: Int, _ simulator: Simulator) throws -> Bool {
        let progress = Progress("seeds", total: count)
        var failures = 0
        for seed in from..<(from + UInt64(count)) {
            if try simulator.run(seed: seed).hasFailed {
                failures += 1
                progress.say(try simulator.report(seed: seed))
                if failures >= 3 { break }
            }
            progress.advance()
        }
        progress.end("\(failures) of \(progress.done) seeds failed")
        return failures == 0
    }

    private func explore(_ simulator: Simulator) throws -> Bool {
        let exploration = CrashPoints(simulator, withPairs: true)
        var total = CrashPoints.Report()
        let progress = Progress("crash points", total: CrashPoints.scenarios.count)
        for (index, name) in CrashPoints.scenarios.enumerated() {
            let report = try exploration.explore(scenario: index) { count in
                progress.show("\(name): \(count.executed)/\(count.discovered) pairs")
            }
            total.single.add(report.single)
            total.pairs.add(report.pairs)
            total.failures += report.failures
            report.failures.forEach { progress.say($0) }
            progress.advance()
        }
        progress.end(
            """
            crash points executed/discovered: \(total.single.executed)/\(total.single.discovered), \
            pairs \(total.pairs.executed)/\(total.pairs.discovered), \(total.failures.count) failures
            """)
        return total.single.isComplete && total.pairs.isComplete && total.failures.isEmpty
    }

    private func plant(_ simulator: Simulator) throws -> Bool {
        let progress = Progress("planted mistakes", total: PlantedMistakes.count)
        var caught = 0
        for index in 0..<PlantedMistakes.count {
            let finding = try PlantedMistakes.find(index, simulator)
            if finding.isCaught { caught += 1 }
            progress.say(finding.description)
            progress.advance()
        }
        progress.end("caught/planted: \(caught)/\(PlantedMistakes.count)")
        return caught == PlantedMistakes.count
    }
}

extension CrashPoints.Count {
    fileprivate mutating func add(_ other: CrashPoints.Count) {
        discovered += other.discovered
        executed += other.executed
    }
}
