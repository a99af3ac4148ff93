import CoreMetrics
import Hummingbird
import Logging
import Prometheus

/// `GET /metrics`, for Prometheus (OP-02). Not reachable through nginx (NX-06).
struct MetricsRoute: Sendable {
    private let registry: PrometheusRegistry
    private let process: ProcessMetrics
    private let files: StoreFileMetrics?
    private let measure: @Sendable () async throws -> Void
    private let logger: Logger

    /// - Parameter storePath: the database's file; nil if it has none.
    init(
        registry: PrometheusRegistry, storePath: String?, measure: @escaping @Sendable () async throws -> Void,
        logger: Logger
    ) {
        self.registry = registry
        self.measure = measure
        self.logger = logger
        process = ProcessMetrics(registry)
        files = storePath.map { StoreFileMetrics(of: $0, registry) }
    }

    func add(to routes: inout RouteCatalogue) {
        routes.get("/metrics", as: .metrics) { _, _ in
            process.read()
            await orWarn { try files?.read() }
            await orWarn(measure)
            return Response(
                status: .ok, headers: [.contentType: PrometheusRegistry.mediaType, .cacheControl: "no-store"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: registry.text)))
        }
    }

    /// What was measured before is worth more than nothing: a scrape goes on without what cannot be read.
    private func orWarn(_ read: () async throws -> Void) async {
        do {
            try await read()
        } catch {
            logger.warning("some metrics cannot be read", metadata: ["error": .string("\(error)")])
        }
    }
}
