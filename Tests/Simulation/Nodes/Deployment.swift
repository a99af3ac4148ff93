import Resilience

/// How the services of a run are set up, and what they have to sell.
struct Deployment: Sendable {
    struct Item: Sendable {
        let id: Int64
        let price: Int64
        let quantity: Int64
    }

    /// What a customer has in an account of its own.
    struct Wallet: Sendable {
        let user: String
        let balance: Int64
    }

    var items = [Item(id: 1, price: 1000, quantity: 10)]
    var wallets: [Wallet] = []
    var orchestrators = 1
    var isBatched = true
    var checkoutTimeout = Duration.seconds(12)
    var gatewayTimeout = Duration.seconds(2)
    var backoffBase = Duration.milliseconds(500)
    var backoffCap = Duration.seconds(4)
    var maximumAttempts = 3
    /// No payment through a provider is given up that is younger.
    var giveUpAfter = Duration.zero
    var reservationTimeToLive = Duration.seconds(60)
    var keyTimeToLive = Duration.seconds(86_400)
    /// How long Stock and Payment remember a key; ids are remembered for longer (hazard 30).
    var participantKeyTimeToLive = Duration.seconds(86_400)
    /// How long a message travels, in milliseconds.
    var latency: ClosedRange<Int64> = 1...20
    /// How long a process is down after a crash, in milliseconds.
    var timeDown: ClosedRange<Int64> = 50...6000
    var leaseDuration = Duration.seconds(5)
    var parkAfterRounds = 8
    var parkedRetry = Duration.seconds(20)
    var breaker = CircuitBreaker.Settings()
    /// How often the services do by themselves what they do from time to time, by name: less often than in production where
    /// that makes no difference but to the time that a run takes.
    var housekeeping: [String: Duration] = [
        "recovery": .seconds(1), "reservation sweep": .seconds(4), "settle open charges": .seconds(4),
        "payment worker": .seconds(2), "payment lease renewal": .seconds(2), "forget webhooks": .seconds(600),
    ]
    /// How many payments that were given up an operator makes anew; every 15 seconds one.
    var retriedDeadLetters = 0
    /// What they do not do at all.
    var without: Set<String> = []

    /// Sets the pace of what Stock does by itself.
    mutating func sweep(every interval: Duration) { housekeeping["reservation sweep"] = interval }
}
