import ArgumentParser
import MockProvider
import ServiceKit

struct MockProviderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mock-provider",
        abstract: "Run a mock of the payment providers stripe and paypal, which fails on demand. For trials and tests.",
        discussion: """
            It takes and gives no money. What happens to a payment is chosen by its token (docs/mock-provider.md lists them), and what happens to \
            requests at large by the rates below: the same seed makes the same choices.
            """)

    @OptionGroup(title: "Common settings") var common: ServiceOptions

    @Option(help: help("Share of requests answered 500, with nothing done", "MOCK_ERROR_RATE", "0", "share"))
    var mockErrorRate: String?

    @Option(help: help("Share of requests answered 429, with nothing done", "MOCK_THROTTLE_RATE", "0", "share"))
    var mockThrottleRate: String?

    @Option(help: help("The wait that a 429 asks for", "MOCK_RETRY_AFTER_SECONDS", "1", "seconds"))
    var mockRetryAfterSeconds: String?

    @Option(
        help: help("Share of payments and refunds done, with the answer held back", "MOCK_TIMEOUT_RATE", "0", "share"))
    var mockTimeoutRate: String?

    @Option(help: help("How long an answer is held back", "MOCK_HOLD_SECONDS", "5", "seconds"))
    var mockHoldSeconds: String?

    @Option(help: help("Least time to answer", "MOCK_DELAY_MIN_SECONDS", "0", "seconds"))
    var mockDelayMinSeconds: String?

    @Option(help: help("Most time to answer", "MOCK_DELAY_MAX_SECONDS", "the least", "seconds"))
    var mockDelayMaxSeconds: String?

    @Option(
        help: help(
            "Decline amounts that end in these two digits of minor units; -1 for none", "MOCK_DECLINE_AMOUNT_ENDING",
            "-1", "number"))
    var mockDeclineAmountEnding: String?

    @Option(help: help("How long a pending payment stays so", "MOCK_SETTLE_SECONDS", "1", "seconds"))
    var mockSettleSeconds: String?

    @Option(help: help("How many references a provider remembers", "MOCK_MAX_REFERENCES", "1000000", "number"))
    var mockMaxReferences: String?

    @Option(help: help("Decides what the rates leave open", "MOCK_SEED", "0", "number"))
    var mockSeed: String?

    @Option(
        help: help(
            "Where webhooks go; {provider} is stripe or paypal", "WEBHOOK_URL",
            "http://127.0.0.1:3132/webhooks/{provider}", "url"))
    var webhookUrl: String?

    @Option(help: help("Attempts to deliver a webhook", "WEBHOOK_MAX_ATTEMPTS", "8", "number"))
    var webhookMaxAttempts: String?

    @Option(help: help("Wait after the first attempt; doubles", "WEBHOOK_BACKOFF_BASE_SECONDS", "1", "seconds"))
    var webhookBackoffBaseSeconds: String?

    @Option(help: help("Longest wait", "WEBHOOK_BACKOFF_MAX_SECONDS", "60", "seconds"))
    var webhookBackoffMaxSeconds: String?

    @Option(help: help("Time for one attempt", "WEBHOOK_TIMEOUT_SECONDS", "2", "seconds"))
    var webhookTimeoutSeconds: String?

    @Option(help: help("How many webhooks may wait; more are dropped", "WEBHOOK_MAX_QUEUED", "10000", "number"))
    var webhookMaxQueued: String?

    @Option(help: help("Share of webhooks sent twice", "MOCK_WEBHOOK_DUPLICATE_RATE", "0", "share"))
    var mockWebhookDuplicateRate: String?

    @Option(help: help("Share of webhooks that later ones overtake", "MOCK_WEBHOOK_REORDER_RATE", "0", "share"))
    var mockWebhookReorderRate: String?

    // The secrets STRIPE_WEBHOOK_SECRET and PAYPAL_WEBHOOK_SECRET have no flags: every user of a machine sees those.

    func run() async {
        let settings = Settings(
            common,
            [
                "MOCK_ERROR_RATE": mockErrorRate, "MOCK_THROTTLE_RATE": mockThrottleRate,
                "MOCK_RETRY_AFTER_SECONDS": mockRetryAfterSeconds, "MOCK_TIMEOUT_RATE": mockTimeoutRate,
                "MOCK_HOLD_SECONDS": mockHoldSeconds, "MOCK_DELAY_MIN_SECONDS": mockDelayMinSeconds,
                "MOCK_DELAY_MAX_SECONDS": mockDelayMaxSeconds,
                "MOCK_DECLINE_AMOUNT_ENDING": mockDeclineAmountEnding, "MOCK_SETTLE_SECONDS": mockSettleSeconds,
                "MOCK_MAX_REFERENCES": mockMaxReferences, "MOCK_SEED": mockSeed, "WEBHOOK_URL": webhookUrl,
                "WEBHOOK_MAX_ATTEMPTS": webhookMaxAttempts,
                "WEBHOOK_BACKOFF_BASE_SECONDS": webhookBackoffBaseSeconds,
                "WEBHOOK_BACKOFF_MAX_SECONDS": webhookBackoffMaxSeconds,
                "WEBHOOK_TIMEOUT_SECONDS": webhookTimeoutSeconds, "WEBHOOK_MAX_QUEUED": webhookMaxQueued,
                "MOCK_WEBHOOK_DUPLICATE_RATE": mockWebhookDuplicateRate,
                "MOCK_WEBHOOK_REORDER_RATE": mockWebhookReorderRate,
            ])
        await ServiceProcess(MockProvider.definition, settings: settings).run()
    }
}

/// The help of a setting.
private func help(_ text: String, _ name: String, _ defaultValue: String, _ valueName: String) -> ArgumentHelp {
    ArgumentHelp("\(text) (\(name); default \(defaultValue)).", valueName: valueName)
}
