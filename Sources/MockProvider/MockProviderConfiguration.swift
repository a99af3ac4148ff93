import ProviderAPI
import Resilience
import ServiceKit

/// The settings of the mock provider.
struct MockProviderConfiguration: Sendable {
    /// Where a provider's messages go, and what they are signed with.
    struct WebhookTarget: Sendable {
        let url: String
        let secrets: [WebhookSecret]
    }

    /// How callers are treated.
    var behaviour = Behaviour()
    /// How long a request or an answer is held, so that its caller gives up.
    var holdTime = Duration.seconds(5)
    /// The wait that a 429 asks for, in whole seconds.
    var retryAfterSeconds = 1
    /// How long a payment that is pending stays so.
    var settleTime = Duration.seconds(1)
    /// How many references a provider remembers: it forgets none, and takes no more.
    var maximumReferences = 1_000_000
    /// Where messages go; a provider without an entry sends none.
    var targets: [Provider: WebhookTarget] = [:]
    /// The waits between the attempts to deliver a message, and their number.
    var deliveries = BackoffSchedule(base: .seconds(1), cap: .seconds(60), jitter: .zero, maximumAttempts: 8)
    /// For one attempt to deliver a message.
    var deliveryTimeout = Duration.seconds(2)
    /// How many messages may wait; more are dropped.
    var maximumQueued = 10_000

    /// The defaults: a provider that never fails and sends no messages.
    init() {}

    /// Reads the settings that `checkout mock-provider --help` lists.
    init(_ settings: Settings) throws(ConfigurationError) {
        func share(_ name: String) throws(ConfigurationError) -> Double {
            try settings.number(name, default: 0, in: 0...1)
        }
        behaviour.errorRate = try share("MOCK_ERROR_RATE")
        behaviour.throttleRate = try share("MOCK_THROTTLE_RATE")
        behaviour.timeoutRate = try share("MOCK_TIMEOUT_RATE")
        guard behaviour.errorRate + behaviour.throttleRate + behaviour.timeoutRate <= 1 else {
            throw ConfigurationError(
                "MOCK_TIMEOUT_RATE", "is, together with MOCK_ERROR_RATE and MOCK_THROTTLE_RATE, more than 1")
        }
        behaviour.duplicateRate = try share("MOCK_WEBHOOK_DUPLICATE_RATE")
        behaviour.reorderRate = try share("MOCK_WEBHOOK_REORDER_RATE")
        let least = try settings.seconds("MOCK_DELAY_MIN_SECONDS", default: 0, in: 0...60)
        let most = try settings.seconds("MOCK_DELAY_MAX_SECONDS", default: least.inSeconds, in: 0...60)
        guard least <= most else {
            throw ConfigurationError("MOCK_DELAY_MAX_SECONDS", "is below MOCK_DELAY_MIN_SECONDS")
        }
        behaviour.delay = least...most
        let ending = try settings.integer("MOCK_DECLINE_AMOUNT_ENDING", default: -1, in: -1...99)
        behaviour.declinedEnding = ending < 0 ? nil : ending
        behaviour.seed = UInt64(try settings.integer("MOCK_SEED", default: 0, in: 0...Int.max))
        holdTime = try settings.seconds("MOCK_HOLD_SECONDS", default: 5, in: 0...60)
        retryAfterSeconds = try settings.integer("MOCK_RETRY_AFTER_SECONDS", default: 1, in: 1...3600)
        settleTime = try settings.seconds("MOCK_SETTLE_SECONDS", default: 1, in: 0...3600)
        maximumReferences = try settings.integer("MOCK_MAX_REFERENCES", default: 1_000_000, in: 1...1_000_000_000)
        try readWebhooks(settings)
    }

    private mutating func readWebhooks(_ settings: Settings) throws(ConfigurationError) {
        let template = try settings.text("WEBHOOK_URL", default: "http://127.0.0.1:3132/webhooks/{provider}")
        for provider in Provider.allCases {
            let name = "\(provider.rawValue.uppercased())_WEBHOOK_SECRET"
            let text = try settings.text(name, default: Self.noSecret)
            guard text != Self.noSecret else { continue }
            guard let secrets = WebhookSecret.list(text) else {
                // The value is not repeated: it may be a secret with a slip in it.
                throw ConfigurationError(
                    name, "must be whsec_ and 24 to 64 bytes in base64; several are separated by blanks")
            }
            let url = template.replacing("{provider}", with: provider.rawValue)
            guard Settings.isAddress(url, mayHavePath: true) else {
                throw ConfigurationError(
                    "WEBHOOK_URL", isNoAddress: template, suchAs: "http://127.0.0.1:3132/webhooks/{provider}")
            }
            targets[provider] = WebhookTarget(url: url, secrets: secrets)
        }
        deliveries = BackoffSchedule(
            base: try settings.seconds("WEBHOOK_BACKOFF_BASE_SECONDS", default: 1, in: 0...3600),
            cap: try settings.seconds("WEBHOOK_BACKOFF_MAX_SECONDS", default: 60, in: 0...3600),
            maximumAttempts: try settings.integer("WEBHOOK_MAX_ATTEMPTS", default: 8, in: 1...100))
        deliveryTimeout = try settings.seconds("WEBHOOK_TIMEOUT_SECONDS", default: 2, in: 0.01...60)
        maximumQueued = try settings.integer("WEBHOOK_MAX_QUEUED", default: 10_000, in: 1...1_000_000)
    }

    /// Stands for a secret that is not set.
    private static let noSecret = "none"
}
