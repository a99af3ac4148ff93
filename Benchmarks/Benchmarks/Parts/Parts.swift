import Benchmark

/// How long each part of a checkout takes, apart from the others; `scripts/bench` measures them together.
let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = Benchmark.Configuration(
        metrics: [.wallClock], timeUnits: .microseconds, warmupIterations: 3, maxDuration: .seconds(3),
        maxIterations: 10_000)
    sagaBenchmarks()
    messageBenchmarks()
    storeBenchmarks()
    batchBenchmarks()
}
