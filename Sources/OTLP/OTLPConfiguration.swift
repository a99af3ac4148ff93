import Correlation
import Resilience
import ServiceClient

/// Where spans go, which, and how many at a time. The defaults are OpenTelemetry's.
public struct OTLPConfiguration: Sendable, Equatable {
    /// What is true of every span of a process, for example `service.name`.
    public struct Attribute: Sendable, Equatable {
        /// Its name.
        public let name: String
        /// Its value.
        public let value: String

        /// An attribute.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The whole address that batches are posted to.
    public var endpoint: String
    /// Sent with each batch; may be secret.
    public var headers: [ServiceRequest.Header]
    /// How long one attempt to export may take.
    public var timeout: Duration
    /// Who makes the spans.
    public var resource: [Attribute]
    /// Which traces are recorded.
    public var sampler: Sampler
    /// The longest time that a span waits for company.
    public var scheduleDelay: Duration
    /// How long a batch may be tried, with all its attempts and the waits between them.
    public var exportTimeout: Duration
    /// How many spans may wait.
    public var maximumQueue: Int
    /// How many go together, at most `maximumQueue`.
    public var maximumBatch: Int

    /// A configuration.
    public init(
        endpoint: String, headers: [ServiceRequest.Header] = [], timeout: Duration = .seconds(10),
        resource: [Attribute] = [], sampler: Sampler = .parentBasedAlwaysOn, scheduleDelay: Duration = .seconds(5),
        exportTimeout: Duration = .seconds(30), maximumQueue: Int = 2048, maximumBatch: Int = 512
    ) {
        self.endpoint = endpoint
        self.headers = headers
        self.timeout = timeout
        self.resource = resource
        self.sampler = sampler
        self.scheduleDelay = scheduleDelay
        self.exportTimeout = exportTimeout
        self.maximumQueue = maximumQueue
        self.maximumBatch = min(maximumBatch, maximumQueue)
    }
}
