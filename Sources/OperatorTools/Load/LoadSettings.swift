import Resilience

/// What `checkout load` is to do.
package struct LoadSettings: Sendable, Equatable {
    /// Bounds of what may be asked for.
    package static let clients = 1...256
    package static let longest = Duration.seconds(86_400)
    package static let most = 100_000_000

    /// The address of `POST /checkout`.
    package var url: String
    /// How many send at once; with a rate, how many checkouts may be under way.
    package var clients: Int
    /// Checkouts that begin in a second; nil when each client begins its next when its last has ended.
    package var rate: Double?
    /// How many checkouts, if there is a number.
    package var count: Int?
    /// How long checkouts are begun, if there is a time.
    package var duration: Duration?
    package var item: Int64
    package var quantity: Int64
    package var method: String?
    /// Shares of the checkouts, from 0 to 1: sent twice at once under one key; asked for again after the end; left by an
    /// impatient client, who comes back.
    package var duplicates: Double
    package var replays: Double
    package var abandoned: Double
    /// Names the run in its keys, so that no two runs share one.
    package var name: String
    /// Begins the random numbers: which checkout is sent twice, and so on.
    package var seed: UInt64

    package init(
        url: String, clients: Int, rate: Double? = nil, count: Int? = nil, duration: Duration? = nil, item: Int64 = 1,
        quantity: Int64 = 1, method: String? = nil, duplicates: Double = 0, replays: Double = 0, abandoned: Double = 0,
        name: String, seed: UInt64
    ) {
        self.url = url
        self.clients = clients
        self.rate = rate
        self.count = count
        self.duration = duration
        self.item = item
        self.quantity = quantity
        self.method = method
        self.duplicates = duplicates
        self.replays = replays
        self.abandoned = abandoned
        self.name = name
        self.seed = seed
    }

    /// When a checkout is to begin, from the beginning of the run; nil for as soon as a client is free.
    func start(of index: Int) -> Duration? { rate.map { .seconds(Double(index) / $0) } }

    /// Whether a checkout belongs to the run. - Parameter elapsed: since the beginning of the run.
    func includes(_ index: Int, elapsed: Duration) -> Bool {
        guard index < min(count ?? Self.most, Self.most) else { return false }
        guard let duration else { return true }
        return (start(of: index) ?? elapsed) < duration
    }

    /// How a checkout is made difficult.
    func habits(of index: Int) -> Habits {
        var random = SplitMix64(state: seed &+ UInt64(index) &* 0x9E37_79B9_7F4A_7C15)
        return Habits(
            isDuplicated: random.unit() < duplicates, isReplayed: random.unit() < replays,
            patience: random.unit() < abandoned ? .milliseconds(1 + Int64(random.unit() * 30)) : nil)
    }

    struct Habits: Equatable, Sendable {
        let isDuplicated: Bool
        let isReplayed: Bool
        /// How long an impatient client waits for its first answer.
        let patience: Duration?
    }
}

/// Steele, Lea and Flood's generator: the same numbers from the same seed on every machine.
private struct SplitMix64 {
    var state: UInt64

    /// From 0 to 1.
    mutating func unit() -> Double {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return Double(mixed >> 11) / Double(1 << 53)
    }
}
