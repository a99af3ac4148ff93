import ProviderAPI
import Resilience
import ServiceClient

extension ProviderReply {
    /// What the provider says in its own words: for the log and for operators, and not for customers, to whom the code is told.
    var detail: String? {
        switch self {
        case .refused(_, let detail): detail
        case .contradicted(let how): how
        case .succeeded, .pending, .declined, .canceled, .notFound, .throttled, .notSent, .unknown: nil
        }
    }

    /// How long the provider wants to be left alone, as far as that is heeded.
    var pause: Duration {
        switch self {
        case .throttled(let after), .unknown(_, let after):
            min(max(after ?? .zero, .zero), ProviderTask.longestRetryAfter)
        case .succeeded, .pending, .declined, .canceled, .notFound, .refused, .notSent, .contradicted: .zero
        }
    }

    /// Whether the pause is about the provider, and not about this one payment.
    var pausesProvider: Bool {
        switch self {
        case .throttled: pause > .zero
        case .unknown(let trouble, _): trouble == .unavailable && pause > .zero
        case .succeeded, .pending, .declined, .canceled, .notFound, .refused, .notSent, .contradicted: false
        }
    }
}

/// How far a payment has got with its provider: a value that takes what the provider says and tells what follows.
///
/// Unknown is not failed. As long as an asking may have been taken, the payment neither fails nor gives money back: after the
/// last attempt it is closed at the provider, which answers either that nothing was taken and nothing ever will be, or how
/// it stands. A refund cannot be closed and is asked for until its outcome is known; that is safe as it is idempotent.
struct ProviderTask: Hashable, Sendable {
    /// What is asked; the raw value is stored.
    enum Phase: String, Sendable {
        /// The command itself, which is idempotent: a repetition brings the outcome of what was taken.
        case send
        /// Where it stands.
        case ask
        /// That nothing be taken if nothing was.
        case close
    }

    var phase = Phase.send
    /// How often the command was sent.
    var attempts: Int64 = 0
    /// How often was asked in this phase, or since the command was sent last.
    var rounds: Int64 = 0
    /// Whether an asking before the present one may have been taken.
    var mayBeTaken = false
    let isRefund: Bool
    /// Whether the last answer has brought it into its phase.
    private(set) var hasChanged = false

    /// What follows from an answer.
    enum Decision: Hashable, Sendable {
        case succeed
        /// - declineCode: the provider's, if it declined.
        case fail(declineCode: String?, because: String)
        /// It fails, and an operator may want to make it anew.
        case giveUp(because: String)
        /// Asked again after a while.
        case wait(Duration, because: String)
    }

    /// The longest wait that a provider may ask for.
    static let longestRetryAfter = Duration.seconds(600)
    /// The refusal of a refund that holds for its reference whatever happened to earlier askings: what was taken is replayed and
    /// never refused. Only the route of refunds says it; that there is nothing of the name, any address says that lacks the route.
    private static let definiteRefundRefusal = "refund-exceeds-payment"

    init(isRefund: Bool) { self.isRefund = isRefund }

    init(phase: Phase, attempts: Int64, rounds: Int64, mayBeTaken: Bool, isRefund: Bool) {
        self.phase = phase
        self.attempts = attempts
        self.rounds = rounds
        self.mayBeTaken = mayBeTaken
        self.isRefund = isRefund
    }

    /// Somebody begins an asking.
    ///
    /// - Parameters:
    ///   - isAbandoned: whether an earlier asking was begun and never settled: its process has died, or is frozen.
    ///   - mayEnd: whether it is old enough to be given up.
    mutating func begin(isAbandoned: Bool, maximumAttempts: Int, mayEnd: Bool) {
        if isAbandoned, phase == .send {
            mayBeTaken = true
            if attempts >= maximumAttempts, mayEnd, !isRefund { change(to: .close) }
        }
        if phase == .send { attempts += 1 }
        rounds += 1
        hasChanged = false
    }

    /// The asking that was begun was not made after all.
    mutating func takeBack() {
        if phase == .send { attempts -= 1 }
        rounds -= 1
    }

    /// What follows from the answer to the asking that was begun last.
    ///
    /// - Parameter mayEnd: whether it is old enough to be given up, or closed, for want of an answer: an outage uses up all attempts within
    ///   seconds, and is over in minutes.
    mutating func next(after reply: ProviderReply, _ schedule: BackoffSchedule, mayEnd: Bool) -> Decision {
        switch reply {
        case .succeeded: return .succeed
        case .declined(let code): return .fail(declineCode: code, because: "declined: \(code)")
        case .pending:
            mayBeTaken = true
            if phase != .ask { change(to: .ask) }
            return wait(schedule, .zero, "the provider has not decided yet")
        case .canceled: return .giveUp(because: "the provider has taken nothing, and will take nothing any more")
        case .refused(let code, _): return refused(code, schedule)
        case .notFound:
            // It was there before, or so it seemed: only closing it brings a definite answer.
            if !isRefund { change(to: .close) }
            return wait(schedule, .zero, "the provider does not know it")
        case .throttled:
            return notTaken(schedule, reply.pause, "the provider asks to be left alone for a while", mayEnd)
        case .notSent(let trouble):
            return notTaken(schedule, .zero, "the provider cannot be reached: \(trouble.rawValue)", mayEnd)
        case .unknown(let trouble, _):
            if phase == .send { mayBeTaken = true }
            return notTaken(schedule, reply.pause, "the provider's answer is not known: \(trouble.rawValue)", mayEnd)
        case .contradicted:
            // Whatever it has taken under our reference, it is not what we have asked for: nothing is entered, and nothing given
            // back, before it answers about our payment.
            mayBeTaken = true
            return notTaken(schedule, .zero, "the provider answers about other money", mayEnd)
        }
    }

    private mutating func refused(_ code: String, _ schedule: BackoffSchedule) -> Decision {
        let reason = "refused: \(code)"
        switch (phase, isRefund) {
        case (.send, false) where !mayBeTaken: return .fail(declineCode: nil, because: reason)
        // What was asked before may have been taken all the same; and who does not tell where it stands is asked to close it.
        case (.send, false), (.ask, false): change(to: .close)
        case (.send, true) where !mayBeTaken || code == Self.definiteRefundRefusal:
            return .giveUp(because: reason)
        case (.send, true), (.ask, true), (.close, _): break
        }
        return wait(schedule, .zero, reason)
    }

    /// This asking has taken nothing, or it is not known; how it goes on depends on all of them.
    private mutating func notTaken(
        _ schedule: BackoffSchedule, _ after: Duration, _ reason: String, _ mayEnd: Bool
    ) -> Decision {
        guard phase == .send, mayEnd, attempts >= schedule.maximumAttempts else { return wait(schedule, after, reason) }
        if !mayBeTaken { return .giveUp(because: "\(reason); after \(attempts) attempts, none of which was taken") }
        if !isRefund { change(to: .close) }
        return wait(schedule, after, reason)
    }

    private mutating func change(to phase: Phase) {
        // What the provider now knows and now does not goes on at the pace that it has come to.
        if self.phase == .send { rounds = 0 }
        self.phase = phase
        hasChanged = true
    }

    private func wait(_ schedule: BackoffSchedule, _ after: Duration, _ reason: String) -> Decision {
        // The first asking after the command follows soon.
        let backoff = schedule.delay(afterAttempt: Int(clamping: max(1, rounds)))
        return .wait(max(backoff, after), because: reason)
    }
}
