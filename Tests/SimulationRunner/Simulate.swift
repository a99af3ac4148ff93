import ArgumentParser
import Foundation
import Simulation

@main
struct Simulate: AsyncParsableCommand {
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

    func run() async throws {
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
        if crashPoints || all { isGood = try await explore() && isGood }
        if planted || all { isGood = try await plant() && isGood }
        if let count = seeds ?? (all ? 20_000 : nil) { isGood = try await search(count) && isGood }
        if !isGood { throw ExitCode.failure }
    }

    private func show(_ seed: UInt64, _ simulator: Simulator) throws {
        let result = try simulator.run(seed: seed, keepsTrace: true)
        result.trace.forEach { print($0) }
        if result.hasFailed { throw ExitCode.failure }
    }

    private func search(_ count: Int) async throws -> Bool {
        let progress = Progress("seeds", total: count)
        var failures = 0
        try await onEveryCore(count) { [from] simulator, index in
            let seed = from + UInt64(index)
            return try simulator.run(seed: seed).hasFailed ? try simulator.report(seed: seed) : nil
        } take: { (report: String?) in
            progress.advance()
            guard let report else { return true }
            failures += 1
            progress.say(report)
            return failures < 3
        }
        progress.end("\(failures) of \(progress.done) seeds failed")
        return failures == 0
    }

    private func explore() async throws -> Bool {
        var total = CrashPoints.Report()
        let progress = Progress("crash points", total: CrashPoints.scenarios.count)
        try await onEveryCore(CrashPoints.scenarios.count) { simulator, index in
            try CrashPoints(simulator, withPairs: true).explore(scenario: index)
        } take: { (report: CrashPoints.Report) in
            total.single.add(report.single)
            total.pairs.add(report.pairs)
            total.failures += report.failures
            report.failures.forEach { progress.say($0) }
            progress.advance()
            return true
        }
        progress.end(
            """
            crash points executed/discovered: \(total.single.executed)/\(total.single.discovered), \
            pairs \(total.pairs.executed)/\(total.pairs.discovered), \(total.failures.count) failures
            """)
        return total.single.isComplete && total.pairs.isComplete && total.failures.isEmpty
    }

    private func plant() async throws -> Bool {
        let progress = Progress("planted mistakes", total: PlantedMistakes.count)
        var caught = 0
        try await onEveryCore(PlantedMistakes.count) { simulator, index in
            let finding = try PlantedMistakes.find(index, simulator)
            return (finding.isCaught, finding.description)
        } take: { (isCaught: Bool, description: String) in
            if isCaught { caught += 1 }
            progress.say(description)
            progress.advance()
            return true
        }
        progress.end("caught/planted: \(caught)/\(PlantedMistakes.count)")
        return caught == PlantedMistakes.count
    }

    /// Does something for each number below `count`, on every core, each with a simulator of its own.
    ///
    /// - Parameter take: given each result as it comes, one at a time; says whether to go on.
    private func onEveryCore<T: Sendable>(
        _ count: Int, _ work: @escaping @Sendable (Simulator, Int) throws -> T, take: (T) -> Bool
    ) async throws {
        try await withThrowingTaskGroup(of: (Simulator, T).self) { group in
            var next = 0
            func begin(_ simulator: Simulator) {
                guard next < count else { return }
                group.addTask { [next] in (simulator, try work(simulator, next)) }
                next += 1
            }
            for _ in 0..<ProcessInfo.processInfo.activeProcessorCount { begin(try Simulator()) }
            while let (simulator, result) = try await group.next() {
                guard take(result) else { return }
                begin(simulator)
            }
        }
    }
}

extension CrashPoints.Count {
    fileprivate mutating func add(_ other: CrashPoints.Count) {
        discovered += other.discovered
        executed += other.executed
    }
}
