import Money
import ProviderAPI
import Resilience
import ServiceKit

/// What Payment reads from its settings for payments through providers.
package struct PaymentsConfiguration: Sendable {
    /// The addresses (`STRIPE_BASE_URL`, `PAYPAL_BASE_URL`).
    let baseURLs: [Provider: String]
    /// What their messages are signed with (`STRIPE_WEBHOOK_SECRET`, `PAYPAL_WEBHOOK_SECRET`); without one none is taken.
    let webhookSecrets: [Provider: [WebhookSecret]]
    /// Our share of deposits and withdrawals (`TRANSACTION_FEE`).
    let fee: Rate
    /// How long one call to a provider may take (`PROVIDER_TIMEOUT_SECONDS`).
    let providerTimeout: Duration
    /// Attempts, and the waits between them (`GATEWAY_MAX_ATTEMPTS`, `GATEWAY_BACKOFF_*`).
    let backoff: BackoffSchedule
    /// No payment is given up for want of an answer that is younger (`GATEWAY_GIVE_UP_SECONDS`): an outage uses up all attempts within
    /// seconds, and most outages are over within the hour.
    let giveUpAfter: Duration
    /// How often due payments are looked for (`WORKER_POLL_INTERVAL_SECONDS`).
    let pollInterval: Duration
    /// After how long without a sign of life a payment is taken from its worker (`WORKER_PROCESSING_TIMEOUT_SECONDS`).
    let lease: Duration
    /// How many payments of one provider are asked about at once (`WORKER_MAX_IN_FLIGHT`).
    let maximumInFlight: Int
    /// When a provider that fails is left alone for a while (`BREAKER_*`).
    let breaker: CircuitBreaker.Settings

    /// A configuration; the defaults are the contract's.
    package init(
        baseURLs: [Provider: String] = [:], webhookSecrets: [Provider: [WebhookSecret]] = [:],
        fee: Rate = .defaultFee, providerTimeout: Duration = .seconds(1),
        backoff: BackoffSchedule = BackoffSchedule(jitter: .milliseconds(500)), giveUpAfter: Duration = .seconds(3600),
        pollInterval: Duration = .milliseconds(500), lease: Duration = .seconds(30), maximumInFlight: Int = 64,
        breaker: CircuitBreaker.Settings = .ofProviders()
    ) {
        self.baseURLs = baseURLs
        self.webhookSecrets = webhookSecrets
        self.fee = fee
        self.providerTimeout = providerTimeout
        self.backoff = backoff
        self.giveUpAfter = giveUpAfter
        self.pollInterval = pollInterval
        self.lease = lease
        self.maximumInFlight = maximumInFlight
        self.breaker = breaker
    }

    /// Reads the settings. - Throws: `ConfigurationError`.
    init(_ settings: Settings) throws(ConfigurationError) {
        var baseURLs: [Provider: String] = [:]
        var secrets: [Provider: [WebhookSecret]] = [:]
        for provider in Provider.allCases {
            let name = provider.rawValue.uppercased()
            baseURLs[provider] = try settings.baseURL(
                "\(name)_BASE_URL", default: "http://127.0.0.1:3134/\(provider.rawValue)", mayHavePath: true)
            let secret = try settings.text("\(name)_WEBHOOK_SECRET", default: Self.noSecret)
            guard secret != Self.noSecret else { continue }
            guard let list = WebhookSecret.list(secret) else {
                // The value is a secret and so is not repeated.
                throw ConfigurationError(
                    "\(name)_WEBHOOK_SECRET",
                    "must be whsec_ and 24 to 64 bytes in base64; several are separated by blanks")
            }
            secrets[provider] = list
        }
        self.init(
            baseURLs: baseURLs, webhookSecrets: secrets, fee: try Self.fee(settings),
            providerTimeout: try settings.seconds("PROVIDER_TIMEOUT_SECONDS", default: 1, in: 0.01...600),
            backoff: BackoffSchedule(
                base: try settings.seconds("GATEWAY_BACKOFF_BASE_SECONDS", default: 1, in: 0.001...600),
                cap: try settings.seconds("GATEWAY_BACKOFF_MAX_SECONDS", default: 30, in: 0.001...3600),
                jitter: try settings.seconds("GATEWAY_BACKOFF_JITTER_SECONDS", default: 0.5, in: 0...600),
                maximumAttempts: try settings.integer("GATEWAY_MAX_ATTEMPTS", default: 5, in: 1...100)),
            giveUpAfter: try settings.seconds("GATEWAY_GIVE_UP_SECONDS", default: 3600, in: 0...604_800),
            pollInterval: try settings.seconds("WORKER_POLL_INTERVAL_SECONDS", default: 0.5, in: 0.01...600),
            lease: try settings.seconds("WORKER_PROCESSING_TIMEOUT_SECONDS", default: 30, in: 0.1...3600),
            maximumInFlight: try settings.integer("WORKER_MAX_IN_FLIGHT", default: 64, in: 1...10_000),
            breaker: .ofProviders(
                failureRate: try settings.number("BREAKER_FAILURE_RATE", default: 0.6, in: 0.01...1),
                minimumCalls: try settings.integer("BREAKER_MIN_CALLS", default: 10, in: 1...100_000),
                consecutiveFailures: try settings.integer("BREAKER_CONSECUTIVE_FAILURES", default: 10, in: 1...100_000),
                openFor: try settings.seconds("BREAKER_OPEN_SECONDS", default: 30, in: 0.01...3600)))
    }

    /// Stands for a secret that is not set: an empty setting would be refused.
    private static let noSecret = "none"

    private static func fee(_ settings: Settings) throws(ConfigurationError) -> Rate {
        let text = try settings.text("TRANSACTION_FEE", default: "0.02")
        do {
            return try Rate(decimal: text)
        } catch {
            throw ConfigurationError(
                "TRANSACTION_FEE",
                "is '\(text)', but must be a share from 0 to 1 with at most nine digits, such as 0.02")
        }
    }

    /// Longer than any payment waits.
    var longestWait: Duration {
        max(lease, ProviderTask.longestRetryAfter, backoff.cap + backoff.jitter) * 2
    }
}

extension Rate {
    /// 2 %.
    package static let defaultFee = Rate(billionths: 20_000_000)
}

extension CircuitBreaker.Settings {
    /// A provider is asked far less often than our own services are, so what it did is remembered for longer.
    package static func ofProviders(
        failureRate: Double = 0.6, minimumCalls: Int = 10, consecutiveFailures: Int = 10,
        openFor: Duration = .seconds(30)
    ) -> CircuitBreaker.Settings {
        CircuitBreaker.Settings(
            failureRate: failureRate, minimumCalls: minimumCalls, window: .seconds(60),
            consecutiveFailures: consecutiveFailures, openFor: openFor)
    }
}
