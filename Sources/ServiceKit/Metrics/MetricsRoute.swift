import CoreMetrics
import Hummingbird
import Logging
import Prometheus

/// `GET /metrics`, for Prometheus (OP-02). Not reachable through nginx (NX-06).
struct MetricsRoute: Sendable {
    private let registry: PrometheusRegistry
    private let process: ProcessMetrics
    private let measure: @Sendable () async throws -> Void
    private let logger: Logger

    init(registry: PrometheusRegistry, measure: @escaping @Sendable () async throws -> Void, logger: Logger) {
        self.registry = registry
        self.measure = measure
        self.logger = logger
        process = ProcessMetrics(registry)
    }

    func add(to routes: inout RouteCatalogue) {
        routes.get("/metrics", as: .metrics) { _, _ in
            process.read()
            do {
                try await measure()
            } catch {
                // What was measured before is worth more than nothing: the scrape goes on.
                logger.warning("some metrics cannot be read", metadata: ["error": .string("\(error)")])
            }
            return Response(
                status: .ok, headers: [.contentType: PrometheusRegistry.mediaType, .cacheControl: "no-store"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: registry.text)))
        }
    }
}
