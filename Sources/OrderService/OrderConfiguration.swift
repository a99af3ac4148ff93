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
    /// How long Stock holds the goods (`RESERVATION_TTL_SECONDS`).
    public let reservationTimeToLive: Duration
    /// How long an owner of sagas may be silent before another takes them over (`SAGA_LEASE_SECONDS`).
    public let leaseDuration: Duration
    /// After how many rounds without a definite answer a saga is parked (`SAGA_PARK_AFTER_ROUNDS`).
    public let parkAfterRounds: Int
    /// How long a parked saga waits before it is tried again by itself (`SAGA_PARKED_RETRY_SECONDS`).
    public let parkedRetry: Duration
    /// When a service that fails is not asked any more for a while (`BREAKER_*`).
    public let breaker: CircuitBreaker.Settings

    /// A configuration; the defaults are the contract's.
    public init(
        stockBaseURL: String = "http://127.0.0.1:3133",
        paymentBaseURL: String = "http://127.0.0.1:3132",
        checkoutTimeout: Duration = .seconds(30),
        gatewayTimeout: Duration = .seconds(2),
        backoff: BackoffSchedule = BackoffSchedule(jitter: .milliseconds(100)),
        maximumInFlight: Int = 10_000,
        reservationTimeToLive: Duration = .seconds(900),
        leaseDuration: Duration = .seconds(10),
        parkAfterRounds: Int = 8,
        parkedRetry: Duration = .seconds(60),
        breaker: CircuitBreaker.Settings = CircuitBreaker.Settings()
    ) {
        self.stockBaseURL = stockBaseURL
        self.paymentBaseURL = paymentBaseURL
        self.checkoutTimeout = checkoutTimeout
        self.gatewayTimeout = gatewayTimeout
        self.backoff = backoff
        self.maximumInFlight = maximumInFlight
        self.reservationTimeToLive = reservationTimeToLive
        self.leaseDuration = leaseDuration
        self.parkAfterRounds = parkAfterRounds
        self.parkedRetry = parkedRetry
        self.breaker = breaker
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
            maximumInFlight: try settings.integer("CHECKOUT_MAX_IN_FLIGHT", default: 10_000, in: 1...1_000_000),
            reservationTimeToLive: try settings.seconds("RESERVATION_TTL_SECONDS", default: 900, in: 1...86_400),
            leaseDuration: try settings.seconds("SAGA_LEASE_SECONDS", default: 10, in: 0.1...3600),
            parkAfterRounds: try settings.integer("SAGA_PARK_AFTER_ROUNDS", default: 8, in: 1...1_000_000),
            parkedRetry: try settings.seconds("SAGA_PARKED_RETRY_SECONDS", default: 60, in: 0.1...86_400),
            breaker: CircuitBreaker.Settings(
                failureRate: try settings.number("BREAKER_FAILURE_RATE", default: 0.5, in: 0.01...1),
                minimumCalls: try settings.integer("BREAKER_MIN_CALLS", default: 20, in: 1...100_000),
                consecutiveFailures: try settings.integer("BREAKER_CONSECUTIVE_FAILURES", default: 10, in: 1...100_000),
                openFor: try settings.seconds("BREAKER_OPEN_SECONDS", default: 1, in: 0.01...3600))
        )
        // Else Stock would sell goods again while their first buyer's charge is still under way (hazard 36).
        let least = checkoutTimeout + gatewayTimeout * 2
        guard reservationTimeToLive > least else {
            throw ConfigurationError(
                "RESERVATION_TTL_SECONDS",
                "must be more than CHECKOUT_TIMEOUT_SECONDS and twice GATEWAY_TIMEOUT_SECONDS, which make \(least.inSeconds)"
            )
        }
    }

    /// Longer than any saga is put down for, and than a lease lasts.
    var longestWait: Duration { max(parkedRetry, backoff.cap + backoff.base) * 2 + leaseDuration }

    /// Longer than a driver is at work on a saga: it ends, or puts it down, soon after the deadline that it was given. What
    /// takes four times as long has come to a stop.
    var longestDrive: Duration { (checkoutTimeout + gatewayTimeout * 2) * 4 }

    /// With less than this left, no charge is begun: the client would be gone before its outcome is known.
    var leastTimeForCharge: Duration { min(gatewayTimeout, checkoutTimeout / 4) }
}
