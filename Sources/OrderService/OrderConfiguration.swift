import Resilience
import ServiceKit

/// What Order reads from its settings besides what every service reads.
public struct OrderConfiguration: Sendable {
    /// Stock's address (`STOCK_BASE_URL`).
    public let stockBaseURL: String
    /// Payment's address (`PAYMENT_BASE_URL`).
    public let paymentBaseURL: String
    /// When the answer to a checkout is due (`CHECKOUT_TIMEOUT_SECONDS`).
    public let checkoutTimeout: Duration
    /// How long one attempt of a call may take (`GATEWAY_TIMEOUT_SECONDS`).
    public let gatewayTimeout: Duration
    /// The attempts of a call and the waits between them (`GATEWAY_MAX_ATTEMPTS`, `GATEWAY_BACKOFF_*`).
    public let backoff: BackoffSchedule
    /// How many checkouts may be under way (`CHECKOUT_MAX_IN_FLIGHT`).
    public let maximumInFlight: Int

    /// A configuration; the defaults are the contract's.
    public init(
        stockBaseURL: String = "http://127.0.0.1:3133",
        paymentBaseURL: String = "http://127.0.0.1:3132",
        checkoutTimeout: Duration = .seconds(30),
        gatewayTimeout: Duration = .seconds(2),
        backoff: BackoffSchedule = BackoffSchedule(jitter: .milliseconds(100)),
        maximumInFlight: Int = 10_000
    ) {
        self.stockBaseURL = stockBaseURL
        self.paymentBaseURL = paymentBaseURL
        self.checkoutTimeout = checkoutTimeout
        self.gatewayTimeout = gatewayTimeout
        self.backoff = backoff
        self.maximumInFlight = maximumInFlight
    }

    /// Reads the settings. - Throws: `ConfigurationError`.
    public init(_ settings: Settings) throws(ConfigurationError) {
        self.init(
            stockBaseURL: try settings.baseURL("STOCK_BASE_URL", default: "http://127.0.0.1:3133"),
            paymentBaseURL: try settings.baseURL("PAYMENT_BASE_URL", default: "http://127.0.0.1:3132"),
            checkoutTimeout: try settings.seconds("CHECKOUT_TIMEOUT_SECONDS", default: 30, in: 0.1...600),
            gatewayTimeout: try settings.seconds("GATEWAY_TIMEOUT_SECONDS", default: 2, in: 0.01...600),
            backoff: BackoffSchedule(
                base: try settings.seconds("GATEWAY_BACKOFF_BASE_SECONDS", default: 1, in: 0.001...600),
                cap: try settings.seconds("GATEWAY_BACKOFF_MAX_SECONDS", default: 30, in: 0.001...3600),
                jitter: try settings.seconds("GATEWAY_BACKOFF_JITTER_SECONDS", default: 0.1, in: 0...600),
                maximumAttempts: try settings.integer("GATEWAY_MAX_ATTEMPTS", default: 5, in: 1...100)
            ),
            maximumInFlight: try settings.integer("CHECKOUT_MAX_IN_FLIGHT", default: 10_000, in: 1...1_000_000)
        )
    }

    /// With less than this left, no charge is begun: the client would be gone before its outcome is known.
    var leastTimeForCharge: Duration { min(gatewayTimeout, checkoutTimeout / 4) }
}
