import Testing

@testable import Simulation

/// A few runs of each kind; `scripts/simulate` does thousands.
@Suite("The simulated checkout", .serialized)
struct SimulationTests {
    @Test("the same seed is the same run, to the last line of its trace")
    func sameSeedSameTrace() throws {
        let (first, second) = (try Simulator(), try Simulator())
        // So that the second simulator does not begin where the first one does.
        _ = try second.run(seed: 1)
        for seed in UInt64(100)..<140 {
            let trace = try first.run(seed: seed, keepsTrace: true).trace
            #expect(trace.count > 5)
            #expect(try second.run(seed: seed, keepsTrace: true).trace == trace, "seed \(seed)")
        }
    }

    @Test("other seeds are other runs")
    func otherSeeds() throws {
        let simulator = try Simulator()
        let traces = try (UInt64(1)...20).map { try simulator.run(seed: $0, keepsTrace: true).trace }
        #expect(Set(traces).count == 20)
    }

    @Test("no invariant breaks in some hundred seeds")
    func seeds() throws {
        let simulator = try Simulator()
        for seed in UInt64(1)...300 where try simulator.run(seed: seed).hasFailed {
            Issue.record("\(try simulator.report(seed: seed))")
        }
    }

    @Test(
        "a checkout that the network brings long after its client has gone still comes to its end",
        arguments: [UInt64(16_297), 18_031])
    func lateCheckout(_ seed: UInt64) throws {
        #expect(try Simulator().run(seed: seed).violations == [])
    }

    @Test("without a fault, each way through the saga comes to its end")
    func named() throws {
        let simulator = try Simulator()
        for scenario in Scenario.named {
            #expect(try simulator.run(scenario, seed: 1).violations == [], "\(scenario.name)")
        }
    }

    @Test("every crash point of a checkout that succeeds is executed, alone and in pairs")
    func crashPoints() throws {
        let exploration = CrashPoints(try Simulator(), withPairs: true)
        let report = try exploration.explore(scenario: 0)
        #expect(report.single.discovered > 30)
        #expect(report.single.isComplete)
        #expect(report.pairs.isComplete)
        #expect(report.failures == [])
    }

    @Test("a failing run is made shorter and still fails")
    func shortening() throws {
        let simulator = try Simulator()
        let mistake = try #require(PlantedMistakes.all.first { $0.name == "time-out-is-not-sent" })
        let failing = try (UInt64(1)...200).first {
            try simulator.run(.random(seed: $0), seed: $0, mistake: mistake).hasFailed
        }
        let seed = try #require(failing)
        let long = try simulator.run(.random(seed: seed), seed: seed, mistake: mistake)
        let short = try simulator.shorten(.random(seed: seed), seed: seed, mistake: mistake)
        #expect(short.result.violations.first?.invariant == long.violations.first?.invariant)
        #expect(short.faults.count <= long.injected.count)
        #expect(!short.result.trace.isEmpty)
    }

    @Test(
        "planted mistakes are caught",
        arguments: [
            "stock-unchecked", "no-charge-tombstone", "refund-skipped", "time-out-is-refusal", "end-overwritten",
            "driver-lost",
            "payment-unknown-is-nothing", "payment-closed-unasked", "payment-not-released", "payment-of-other-money",
            "payment-refund-unknown-is-refused", "payment-refund-not-counted", "payment-refund-not-set-aside",
            "payment-refund-stays-set-aside",
            "charge-not-posted", "refund-not-posted", "event-not-recorded", "wallet-unchecked", "wallet-of-another",
        ])
    func planted(_ name: String) throws {
        let index = try #require(PlantedMistakes.all.firstIndex { $0.name == name })
        #expect(try PlantedMistakes.find(index, try Simulator()).isCaught)
    }

    @Test("an order whose driver is lost still comes to its end: the net takes it up")
    func lostDriver() throws {
        let (simulator, mistake) = (try Simulator(), PlantedMistakes.lostDriver)
        for scenario in Scenario.named {
            #expect(try simulator.run(scenario, seed: 1, mistake: mistake).violations == [], "\(scenario.name)")
        }
        for seed in UInt64(1)...200 {
            let result = try simulator.run(.random(seed: seed), seed: seed, mistake: mistake)
            #expect(result.violations == [], "seed \(seed)")
        }
        #expect(mistake.wasMade.value)
    }

    @Test("there are at least 40 planted mistakes, each with a name of its own")
    func names() {
        #expect(PlantedMistakes.count >= 40)
        #expect(Set(PlantedMistakes.all.map(\.name)).count == PlantedMistakes.count)
    }
}
