import ArgumentParser
import PaymentService
import ServiceKit

struct PaymentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payment",
        abstract: "Run the Payment service: charges and refunds, accounts, and payments through providers.")

    @OptionGroup(title: "Common settings") var common: ServiceOptions

    @Option(
        help: help(
            "Accept the simulated provider's test methods, true or false", "PAYMENT_TEST_METHODS",
            "false", "flag"))
    var paymentTestMethods: String?

    @Option(help: help("Our share of deposits and withdrawals through providers", "TRANSACTION_FEE", "0.02", "share"))
    var transactionFee: String?

    @Option(help: help("Where stripe is", "STRIPE_BASE_URL", "http://127.0.0.1:3134/stripe", "url"))
    var stripeBaseUrl: String?

    @Option(help: help("Where paypal is", "PAYPAL_BASE_URL", "http://127.0.0.1:3134/paypal", "url"))
    var paypalBaseUrl: String?

    @Option(help: help("Time for one call to a provider", "PROVIDER_TIMEOUT_SECONDS", "1", "seconds"))
    var providerTimeoutSeconds: String?

    @Option(help: help("Attempts of a payment before it is closed", "GATEWAY_MAX_ATTEMPTS", "5", "number"))
    var gatewayMaxAttempts: String?

    @Option(
        help: help(
            "No payment is given up for want of an answer before this age", "GATEWAY_GIVE_UP_SECONDS", "3600", "seconds"
        ))
    var gatewayGiveUpSeconds: String?

    @Option(help: help("Wait after the first attempt; doubles", "GATEWAY_BACKOFF_BASE_SECONDS", "1", "seconds"))
    var gatewayBackoffBaseSeconds: String?

    @Option(help: help("Longest wait", "GATEWAY_BACKOFF_MAX_SECONDS", "30", "seconds"))
    var gatewayBackoffMaxSeconds: String?

    @Option(help: help("Largest random addition to a wait", "GATEWAY_BACKOFF_JITTER_SECONDS", "0.5", "seconds"))
    var gatewayBackoffJitterSeconds: String?

    @Option(help: help("How often due payments are looked for", "WORKER_POLL_INTERVAL_SECONDS", "0.5", "seconds"))
    var workerPollIntervalSeconds: String?

    @Option(
        help: help(
            "After how long without a sign of life a payment is taken from its worker",
            "WORKER_PROCESSING_TIMEOUT_SECONDS",
            "30", "seconds"))
    var workerProcessingTimeoutSeconds: String?

    @Option(help: help("Payments of one provider asked about at once", "WORKER_MAX_IN_FLIGHT", "64", "number"))
    var workerMaxInFlight: String?

    @Option(
        help: help(
            "Share of failed calls at which a provider is left alone", "BREAKER_FAILURE_RATE",
            "0.6", "share"))
    var breakerFailureRate: String?

    @Option(help: help("Of at least so many calls within a minute", "BREAKER_MIN_CALLS", "10", "number"))
    var breakerMinCalls: String?

    @Option(help: help("Or after so many failures in a row", "BREAKER_CONSECUTIVE_FAILURES", "10", "number"))
    var breakerConsecutiveFailures: String?

    @Option(help: help("For how long", "BREAKER_OPEN_SECONDS", "30", "seconds"))
    var breakerOpenSeconds: String?

    // The secrets STRIPE_WEBHOOK_SECRET and PAYPAL_WEBHOOK_SECRET have no flags: every user of a machine sees those.

    func run() async {
        let settings = Settings(
            common,
            [
                "PAYMENT_TEST_METHODS": paymentTestMethods,
                "TRANSACTION_FEE": transactionFee,
                "STRIPE_BASE_URL": stripeBaseUrl,
                "PAYPAL_BASE_URL": paypalBaseUrl,
                "PROVIDER_TIMEOUT_SECONDS": providerTimeoutSeconds,
                "GATEWAY_MAX_ATTEMPTS": gatewayMaxAttempts,
                "GATEWAY_GIVE_UP_SECONDS": gatewayGiveUpSeconds,
                "GATEWAY_BACKOFF_BASE_SECONDS": gatewayBackoffBaseSeconds,
                "GATEWAY_BACKOFF_MAX_SECONDS": gatewayBackoffMaxSeconds,
                "GATEWAY_BACKOFF_JITTER_SECONDS": gatewayBackoffJitterSeconds,
                "WORKER_POLL_INTERVAL_SECONDS": workerPollIntervalSeconds,
                "WORKER_PROCESSING_TIMEOUT_SECONDS": workerProcessingTimeoutSeconds,
                "WORKER_MAX_IN_FLIGHT": workerMaxInFlight,
                "BREAKER_FAILURE_RATE": breakerFailureRate,
                "BREAKER_MIN_CALLS": breakerMinCalls,
                "BREAKER_CONSECUTIVE_FAILURES": breakerConsecutiveFailures,
                "BREAKER_OPEN_SECONDS": breakerOpenSeconds,
            ])
        await ServiceProcess(PaymentService.definition, settings: settings).run()
    }
}

/// The help of a setting.
private func help(_ text: String, _ name: String, _ defaultValue: String, _ valueName: String) -> ArgumentHelp {
    ArgumentHelp("\(text) (\(name); default \(defaultValue)).", valueName: valueName)
}
