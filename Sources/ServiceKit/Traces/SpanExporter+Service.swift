import CoreMetrics
import Correlation
import Logging
import OTLP
import Resilience
import ServiceClient
import Tracing

extension SpanExporter {
    /// The exporter of a service's process, which also takes what libraries record by swift-distributed-tracing. It has connections
    /// and a thread of its own.
    convenience init(
        _ configuration: OTLPConfiguration, of service: String, metrics: any MetricsFactory, logger: Logger
    ) {
        let transport = CurlTransport(userAgent: "checkout-\(service)/\(checkoutVersion)")
        self.init(
            configuration, scope: ("checkout", checkoutVersion),
            transport: MeasuredTransport(
                transport, to: "otlp", at: configuration.endpoint, metrics: metrics, time: SystemTime()),
            metrics: metrics, logger: logger)
        InstrumentationSystem.bootstrap(tracer)
        logger.info("spans are exported", metadata: ["endpoint": .string(configuration.endpoint)])
    }
}
