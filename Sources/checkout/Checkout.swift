import ArgumentParser
import OrderService
import ServiceKit
import StockService

/// The one executable: each service is a subcommand.
@main
struct Checkout: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkout",
        abstract: "A checkout that never loses money or stock.",
        discussion: """
            Each service runs in a process of its own. The operator's tools ask services that run. Settings come from flags, then from the environment, then from \
            defaults; a setting that cannot be used stops the service before it starts, with exit code 78.
            """,
        version: checkoutVersion,
        subcommands: [OrderCommand.self, StockCommand.self, PaymentCommand.self, MockProviderCommand.self],
        groupedSubcommands: [
            CommandGroup(
                name: "Operator's tools",
                subcommands: [
                    SagasCommand.self, ReservationsCommand.self, ChargesCommand.self, PaymentsCommand.self,
                    DeadLettersCommand.self, AuditCommand.self, TopCommand.self, LoadCommand.self,
                ]),
            CommandGroup(name: "Where the stores are", subcommands: [BackupCommand.self, RestoreCommand.self]),
        ]
    )

    static func main() async {
        holdStandardDescriptors()
        await main(nil)
    }
}

struct OrderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "order", abstract: "Run the Order service: takes checkouts and sees each through to one outcome.")

    @OptionGroup(title: "Common settings") var common: ServiceOptions

    @Option(help: ArgumentHelp("Address of Stock (STOCK_BASE_URL; default http://127.0.0.1:3133).", valueName: "url"))
    var stockBaseUrl: String?

    @Option(
        help: ArgumentHelp("Address of Payment (PAYMENT_BASE_URL; default http://127.0.0.1:3132).", valueName: "url"))
    var paymentBaseUrl: String?

    @Option(
        help: ArgumentHelp("Time for a whole checkout (CHECKOUT_TIMEOUT_SECONDS; default 30).", valueName: "seconds"))
    var checkoutTimeoutSeconds: String?

    @Option(
        help: ArgumentHelp("Checkouts under way at once (CHECKOUT_MAX_IN_FLIGHT; default 10000).", valueName: "number"))
    var checkoutMaxInFlight: String?

    @Option(
        help: ArgumentHelp("Time for one attempt of a call (GATEWAY_TIMEOUT_SECONDS; default 2).", valueName: "seconds")
    )
    var gatewayTimeoutSeconds: String?

    @Option(help: ArgumentHelp("Attempts of a call (GATEWAY_MAX_ATTEMPTS; default 5).", valueName: "number"))
    var gatewayMaxAttempts: String?

    @Option(
        help: ArgumentHelp(
            "Wait after the first attempt (GATEWAY_BACKOFF_BASE_SECONDS; default 1).", valueName: "seconds"))
    var gatewayBackoffBaseSeconds: String?

    @Option(help: ArgumentHelp("Longest wait (GATEWAY_BACKOFF_MAX_SECONDS; default 30).", valueName: "seconds"))
    var gatewayBackoffMaxSeconds: String?

    @Option(
        help: ArgumentHelp(
            "Largest random addition to a wait (GATEWAY_BACKOFF_JITTER_SECONDS; default 0.1).", valueName: "seconds"))
    var gatewayBackoffJitterSeconds: String?

    @Option(
        help: ArgumentHelp(
            "How long Stock holds the goods; more than a checkout and two attempts take (RESERVATION_TTL_SECONDS; default 900).",
            valueName: "seconds"))
    var reservationTtlSeconds: String?

    @Option(
        help: ArgumentHelp(
            "How long a process may be silent before another drives its checkouts (SAGA_LEASE_SECONDS; default 10).",
            valueName: "seconds"))
    var sagaLeaseSeconds: String?

    @Option(
        help: ArgumentHelp(
            "Rounds without a definite answer before a checkout is parked (SAGA_PARK_AFTER_ROUNDS; default 8).",
            valueName: "number"))
    var sagaParkAfterRounds: String?

    @Option(
        help: ArgumentHelp(
            "How long a parked checkout waits before it is tried again (SAGA_PARKED_RETRY_SECONDS; default 60).",
            valueName: "seconds"))
    var sagaParkedRetrySeconds: String?

    @Option(
        help: ArgumentHelp(
            "Share of failed calls at which a breaker opens, from 0.01 to 1 (BREAKER_FAILURE_RATE; default 0.5).",
            valueName: "share"))
    var breakerFailureRate: String?

    @Option(
        help: ArgumentHelp(
            "Calls in ten seconds below which the share says nothing (BREAKER_MIN_CALLS; default 20).",
            valueName: "number"))
    var breakerMinCalls: String?

    @Option(
        help: ArgumentHelp(
            "Failures in a row at which a breaker opens (BREAKER_CONSECUTIVE_FAILURES; default 10).",
            valueName: "number"))
    var breakerConsecutiveFailures: String?

    @Option(
        help: ArgumentHelp(
            "How long a breaker stays open before it tries again (BREAKER_OPEN_SECONDS; default 1).",
            valueName: "seconds"))
    var breakerOpenSeconds: String?

    func run() async {
        let settings = Settings(
            common,
            [
                "STOCK_BASE_URL": stockBaseUrl, "PAYMENT_BASE_URL": paymentBaseUrl,
                "CHECKOUT_TIMEOUT_SECONDS": checkoutTimeoutSeconds, "CHECKOUT_MAX_IN_FLIGHT": checkoutMaxInFlight,
                "GATEWAY_TIMEOUT_SECONDS": gatewayTimeoutSeconds, "GATEWAY_MAX_ATTEMPTS": gatewayMaxAttempts,
                "GATEWAY_BACKOFF_BASE_SECONDS": gatewayBackoffBaseSeconds,
                "GATEWAY_BACKOFF_MAX_SECONDS": gatewayBackoffMaxSeconds,
                "GATEWAY_BACKOFF_JITTER_SECONDS": gatewayBackoffJitterSeconds,
                "RESERVATION_TTL_SECONDS": reservationTtlSeconds,
                "SAGA_LEASE_SECONDS": sagaLeaseSeconds, "SAGA_PARK_AFTER_ROUNDS": sagaParkAfterRounds,
                "SAGA_PARKED_RETRY_SECONDS": sagaParkedRetrySeconds,
                "BREAKER_FAILURE_RATE": breakerFailureRate, "BREAKER_MIN_CALLS": breakerMinCalls,
                "BREAKER_CONSECUTIVE_FAILURES": breakerConsecutiveFailures,
                "BREAKER_OPEN_SECONDS": breakerOpenSeconds,
            ])
        await ServiceProcess(OrderService.definition, settings: settings).run()
    }
}

struct StockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stock", abstract: "Run the Stock service: items, and the reservations that hold them.")

    @OptionGroup(title: "Common settings") var common: ServiceOptions

    @Option(
        help: ArgumentHelp(
            "Stock of item 1 in a fresh store (STOCK_INITIAL_QUANTITY; default 100).", valueName: "number"))
    var stockInitialQuantity: String?

    @Option(
        help: ArgumentHelp("How long goods stay reserved (RESERVATION_TTL_SECONDS; default 900).", valueName: "seconds")
    )
    var reservationTtlSeconds: String?

    func run() async {
        let settings = Settings(
            common,
            ["STOCK_INITIAL_QUANTITY": stockInitialQuantity, "RESERVATION_TTL_SECONDS": reservationTtlSeconds])
        await ServiceProcess(StockService.definition, settings: settings).run()
    }
}
