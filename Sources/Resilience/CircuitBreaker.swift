import Synchronization

/// Keeps callers from a service that is in trouble, so that they fail at once instead of waiting for it, and it can recover.
///
/// Closed, every call goes through and its result is counted. When too many fail, it opens and refuses calls for a while.
/// After that it is half open: a few calls go through as probes, and the first result decides whether it closes or opens again.
public final class CircuitBreaker: Sendable {
    /// When a breaker opens, and for how long.
    public struct Settings: Sendable {
        /// Opens at this share of failed calls in the window, from 0 to 1.
        public let failureRate: Double
        /// With fewer calls in the window than this, the share says nothing.
        public let minimumCalls: Int
        /// How far back calls are counted.
        public let window: Duration
        /// Opens after so many failures in a row, whatever the share.
        public let consecutiveFailures: Int
        /// How long it stays open.
        public let openFor: Duration
        /// How many probes are under way at once when it is half open.
        public let probes: Int

        /// Settings.
        public init(
            failureRate: Double = 0.5, minimumCalls: Int = 20, window: Duration = .seconds(10),
            consecutiveFailures: Int = 10, openFor: Duration = .seconds(1), probes: Int = 1
        ) {
            precondition(
                minimumCalls > 0 && consecutiveFailures > 0 && probes > 0 && window > .zero,
                "a breaker counts something")
            self.failureRate = failureRate
            self.minimumCalls = minimumCalls
            self.window = window
            self.consecutiveFailures = consecutiveFailures
            self.openFor = openFor
            self.probes = probes
        }
    }

    /// What a breaker does with calls.
    public enum State: String, Sendable {
        case closed
        case open
        case halfOpen = "half_open"
    }

    /// One call's way through the breaker; `record` takes it back with the result.
    public struct Passage: Sendable {
        fileprivate let period: Int
        fileprivate let isProbe: Bool
    }

    /// What a call says about the service.
    public enum Result: Sendable {
        /// It answered, whatever the answer.
        case success
        /// It did not.
        case failure
        /// Nothing, for example because the caller had no time left to ask.
        case nothing
    }

    private let settings: Settings
    private let time: any TimeSource
    private let state: Mutex<Machine>

    /// A closed breaker.
    public init(_ settings: Settings = Settings(), time: any TimeSource) {
        self.settings = settings
        self.time = time
        state = Mutex(Machine(settings))
    }

    /// What it does with calls now.
    public var current: State { state.withLock { $0.state(at: time.uptime) } }

    /// How long it stays open; nil when calls, or at least probes, may pass.
    public var openFor: Duration? { state.withLock { $0.remaining(at: time.uptime) } }

    /// How long it lets nothing pass that may as well not be made: while it is open, and then while its probes are under way. Nil when
    /// `admit` would let a call pass.
    public var refusesFor: Duration? { state.withLock { $0.refusing(at: time.uptime) } }

    /// Lets a call pass that may as well not be made. - Returns: nil when it may not pass.
    public func admit() -> Passage? { state.withLock { $0.admit(at: time.uptime) } }

    /// Lets a call pass that has to be made whatever the state; its result counts like any other.
    public func pass() -> Passage { state.withLock { Passage(period: $0.period(at: time.uptime), isProbe: false) } }

    /// Takes a call's result.
    ///
    /// - Parameter commands: how many commands the call carried whose results are recorded each: together they count as the
    ///   one call that it was.
    public func record(_ result: Result, of passage: Passage, sharedBy commands: Int = 1) {
        state.withLock { $0.record(result, of: passage, sharedBy: commands, at: time.uptime) }
    }

    /// The breaker without clock and lock.
    private struct Machine {
        private enum Mode {
            case closed
            case open(since: Duration)
            case halfOpen(probes: Int)
        }

        private let settings: Settings
        private var mode = Mode.closed
        /// Counts the changes of mode: a result from before the last one says nothing about now.
        private var period = 0
        /// In parts of calls, as everything that is counted.
        private var failuresInARow = 0
        /// The parts of one call. A share of a call is rounded up, so that all its shares are never less than a call.
        private static let partsOfCall = 1 << 20
        /// The window in slices; the oldest is emptied when its time comes round again.
        private var slices = [Slice](repeating: Slice(), count: sliceCount)
        private static let sliceCount = 10

        private struct Slice {
            var number: Int64 = -1
            var calls = 0
            var failures = 0
        }

        init(_ settings: Settings) { self.settings = settings }

        mutating func period(at now: Duration) -> Int {
            turn(at: now)
            return period
        }

        mutating func state(at now: Duration) -> State {
            turn(at: now)
            return switch mode {
            case .closed: .closed
            case .open: .open
            case .halfOpen: .halfOpen
            }
        }

        mutating func remaining(at now: Duration) -> Duration? {
            turn(at: now)
            guard case .open(let since) = mode else { return nil }
            return since + settings.openFor - now
        }

        mutating func refusing(at now: Duration) -> Duration? {
            if let remaining = remaining(at: now) { return remaining }
            guard case .halfOpen(let probes) = mode, probes >= settings.probes else { return nil }
            return settings.openFor
        }

        mutating func admit(at now: Duration) -> Passage? {
            turn(at: now)
            switch mode {
            case .closed: return Passage(period: period, isProbe: false)
            case .open: return nil
            case .halfOpen(let probes):
                guard probes < settings.probes else { return nil }
                mode = .halfOpen(probes: probes + 1)
                return Passage(period: period, isProbe: true)
            }
        }

        mutating func record(_ result: Result, of passage: Passage, sharedBy commands: Int, at now: Duration) {
            turn(at: now)
            guard passage.period == period else { return }
            let share = (Self.partsOfCall - 1) / max(1, commands) + 1
            switch (mode, result) {
            case (.open, _), (.closed, .nothing): break
            case (.halfOpen(let probes), .nothing):
                if passage.isProbe { mode = .halfOpen(probes: probes - 1) }
            case (.halfOpen, .success): change(to: .closed)
            case (.halfOpen, .failure): change(to: .open(since: now))
            case (.closed, .success):
                failuresInARow = 0
                count(share, failed: false, at: now)
            case (.closed, .failure):
                failuresInARow += share
                count(share, failed: true, at: now)
                if mustOpen(at: now) { change(to: .open(since: now)) }
            }
        }

        /// An open breaker becomes half open by itself.
        private mutating func turn(at now: Duration) {
            if case .open(let since) = mode, now - since >= settings.openFor { change(to: .halfOpen(probes: 0)) }
        }

        private mutating func change(to next: Mode) {
            mode = next
            period += 1
            failuresInARow = 0
            slices = [Slice](repeating: Slice(), count: Self.sliceCount)
        }

        private mutating func count(_ share: Int, failed: Bool, at now: Duration) {
            let number = sliceNumber(at: now)
            let index = Int(number % Int64(Self.sliceCount))
            if slices[index].number != number { slices[index] = Slice(number: number) }
            slices[index].calls += share
            if failed { slices[index].failures += share }
        }

        private func mustOpen(at now: Duration) -> Bool {
            if failuresInARow / Self.partsOfCall >= settings.consecutiveFailures { return true }
            let oldest = sliceNumber(at: now) - Int64(Self.sliceCount)
            let counted = slices.filter { $0.number > oldest }
            let calls = counted.reduce(0) { $0 + $1.calls }
            let failures = counted.reduce(0) { $0 + $1.failures }
            return calls / Self.partsOfCall >= settings.minimumCalls
                && Double(failures) >= settings.failureRate * Double(calls)
        }

        private func sliceNumber(at now: Duration) -> Int64 {
            Int64(now / (settings.window / Self.sliceCount))
        }
    }
}
