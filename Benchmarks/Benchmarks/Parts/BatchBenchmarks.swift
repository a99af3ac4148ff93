import Benchmark
import Correlation
import Hummingbird
import Idempotency
import Logging
import NIOPosix
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import StockService
import Storage

/// What a round trip from Order to Stock costs, with everything on it: batches, libcurl, sockets, the router, the inventory, a
/// durable commit. Stock has a loop of its own here, as in its process; the processor time is of both ends.
func batchBenchmarks() {
    for count in [1, 20, 64] {
        Benchmark("Batch: \(count) reserves that begin together, to Stock and back") { benchmark in
            let stock = try await RunningStock.shared.value
            benchmark.startMeasurement()
            try await withTaskExecutorPreference(stock.callers) {
                for _ in benchmark.scaledIterations {
                    try await withThrowingTaskGroup { tasks in
                        for _ in 0..<count { tasks.addTask { try await stock.reserve() } }
                        try await tasks.waitForAll()
                    }
                }
            }
            benchmark.stopMeasurement()
        }
    }
}

/// A Stock service on a port of the loopback interface, and Order's client for it.
private struct RunningStock: Sendable {
    /// Started by the first who needs it.
    static let shared = Task { try await RunningStock() }

    let callers: EventLoopTaskExecutor
    private let client: HTTPStockClient
    private let identifiers = IdentifierSource(time: SystemTime())

    private init() async throws {
        let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
        let executor = EventLoopTaskExecutor(loop)
        let definition = StockService.definition
        let keys = SQLIdempotencyStore(timeToLive: .seconds(86_400))
        let store = try SQLiteStore(
            path: TemporaryDirectory().path + "/stock.sqlite",
            migrations: SQLIdempotencyStore.migrations + [HealthCheck.migration] + definition.migrations, loop: loop)
        let environment = ServiceEnvironment(
            store: store, keys: keys, logger: Logger(label: "parts") { _ in SwiftLogNoOpLogHandler() },
            executor: executor)
        let settings = Settings(flags: ["STOCK_INITIAL_QUANTITY": "1000000000"], environment: [:])
        let port = try await withTaskExecutorPreference(executor) {
            let stock = try await definition.build(settings, environment)
            let (ports, port) = AsyncStream<Int>.makeStream()
            let application = Application(
                router: stock.router(environment: environment),
                configuration: .init(address: .hostname("127.0.0.1", port: 0)),
                onServerRunning: { port.yield($0.localAddress?.port ?? 0) },
                eventLoopGroupProvider: .shared(loop))
            Task(executorPreference: executor) { try await application.run() }
            return await ports.first { _ in true }
        }
        callers = EventLoopTaskExecutor(MultiThreadedEventLoopGroup(numberOfThreads: 1).next())
        let single = SingleCalls(
            baseURL: "http://127.0.0.1:\(port ?? 0)", transport: CurlTransport(userAgent: "parts"),
            attemptTimeout: .seconds(2), time: SystemTime())
        client = HTTPStockClient(
            caller: ServiceCaller(
                carrier: BatchedCalls(single: single, executor: callers), refusalCodes: HTTPStockClient.refusalCodes))
    }

    func reserve() async throws {
        let context = CallContext(
            requestID: RequestID(), trace: TraceContext(continuing: nil), user: "",
            deadline: Deadline(after: .seconds(30), on: SystemTime()))
        let command = ReserveCommand(
            reservationID: identifiers.next(), lines: [LineRequest(itemID: 1, quantity: 1)], holdSeconds: 900)
        _ = try await client.reserve(command, context)
    }
}
