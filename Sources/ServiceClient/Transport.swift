/// Sends one request and brings back one response. The seam behind which libcurl stands, and in tests a script.
public protocol Transport: Sendable {
    /// One attempt, no retry. - Throws: `TransportError`.
    func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse
}

/// One request to another service.
public struct ServiceRequest: Sendable, Equatable {
    /// `GET` or `POST`.
    public let method: String
    /// An absolute `http` or `https` address.
    public let url: String
    /// Header lines in order; names and values without CR or LF.
    public let headers: [Header]
    /// The body; empty for `GET`.
    public let body: [UInt8]
    /// How long connecting, sending and receiving may take together, waiting for a connection included.
    public let timeout: Duration
    /// Whether the other side gets one copy of it at the most. A request on a kept connection is sent once more when that turns out to have
    /// been closed; what is answered then is the second copy, and a refusal of that says nothing of the first.
    public let isSentOnce: Bool
    /// The header that says for how long the caller waits, in milliseconds (OP-06). The transport writes what is left of it when it sends the
    /// request.
    public static let timeoutHeader = "X-Request-Timeout-Ms"

    /// One line of the head.
    public struct Header: Sendable, Equatable {
        /// The name.
        public let name: String
        /// The value.
        public let value: String

        /// A header line.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// A request.
    public init(
        method: String, url: String, headers: [Header], body: [UInt8], timeout: Duration, isSentOnce: Bool = false
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.isSentOnce = isSentOnce
    }
}

/// What came back, whatever its status.
public struct ServiceResponse: Sendable, Equatable {
    /// The HTTP status.
    public let status: Int
    /// The body, within the transport's limit.
    public let body: [UInt8]
    /// The wait that a `Retry-After` header asks for.
    public let retryAfter: Duration?
    /// Whether `Idempotent-Replayed: true` was there, if the transport looks for it.
    public let isReplay: Bool

    /// A response.
    public init(status: Int, body: [UInt8], retryAfter: Duration? = nil, isReplay: Bool = false) {
        self.status = status
        self.body = body
        self.retryAfter = retryAfter
        self.isReplay = isReplay
    }
}

/// Why there is no response.
public enum TransportError: Error, Equatable, Sendable {
    /// No connection was made, so the request was never sent. With the next two the only one that is known not to have
    /// run (hazard 12).
    case notSent(String)
    /// As many commands wait to be sent as may.
    case queueFull
    /// The time was over before the request could be sent.
    case notSentInTime
    /// The time ran out after the request may have been sent.
    case timedOut
    /// The connection broke before the response was complete.
    case connectionLost(String)
    /// What came back is no HTTP, or holds no answer to the command.
    case notHTTP
    /// The response is larger than the transport takes.
    case responseTooLarge
}

extension TransportError {
    /// Which error it is, in one word, for metrics and traces.
    package var label: String {
        switch self {
        case .notSent: "not_sent"
        case .queueFull: "queue_full"
        case .notSentInTime: "not_sent_in_time"
        case .timedOut: "timed_out"
        case .connectionLost: "connection_lost"
        case .notHTTP: "not_http"
        case .responseTooLarge: "response_too_large"
        }
    }
}
