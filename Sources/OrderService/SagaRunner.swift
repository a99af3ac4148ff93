import Correlation
import Logging
import Money
import PaymentAPI
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import Storage
import Synchronization

/// Decides what follows an event; replaced only by tests that plant a mistake.
package typealias SagaDecision = @Sendable (inout Saga, Saga.Event) -> Saga.Next?

/// How a checkout stands when its waiter stops waiting.
enum CheckoutResult: Equatable, Sendable {
    /// Paid and handed over.
    case completed(receipt: [UInt8])
    /// It fails, and nothing is or will be charged for it.
    case failed(Failure)
    /// Not known yet; the saga goes on by itself.
    case unknown
}

/// Drives sagas: makes the calls that a saga asks for, stores what must be stored, and waits where it must wait.
///
/// A saga runs in a task of its own. Neither a client that leaves, nor a deadline, nor a stop of the server cancels it
/// (hazard 19). While a client waits for it, its pauses are waited for here; without one it is put down in the store when it
/// cannot go on, and `Recovery` takes it up again when its pause is over. So what is in memory is bounded by who waits.
final class SagaRunner: Sendable {
    private let environment: ServiceEnvironment
    private let log: SagaLog
    private let caller: SagaCaller
    private let configuration: OrderConfiguration
    private let decide: SagaDecision
    /// The waits between rounds, which go on growing up to their cap. Apart by chance, so that sagas that hung together do
    /// not come back together (hazard 21).
    private let pause: BackoffSchedule
    private let held = Mutex<[String: Held]>([:])
    private let metrics: SagaMetrics

    /// A saga under way.
    private struct Held {
        let lease: Lease
        /// Called when it is not this process's to drive any more, whether or not its driver knows.
        var onLoss: (@Sendable () -> Void)?
    }

    init(
        environment: ServiceEnvironment, log: SagaLog, caller: SagaCaller, configuration: OrderConfiguration,
        decide: @escaping SagaDecision = { $0.apply($1) }
    ) {
        self.environment = environment
        self.log = log
        self.caller = caller
        self.configuration = configuration
        self.decide = decide
        metrics = caller.metrics
        pause = configuration.backoff.withJitter(configuration.backoff.base / 2)
    }

    /// How long a checkout would have to wait for a service that is known to be in trouble; nil when it may begin.
    var closedFor: Duration? { caller.closedFor }

    /// Whether no service is known, or thought, to be in trouble.
    var servicesAreWell: Bool { caller.servicesAreWell }

    /// Makes room for an order that is about to be stored. - Returns: false when as many are under way as are allowed.
    func admit(_ lease: Lease) -> Bool {
        held.withLock { held in
            guard held.count < configuration.maximumInFlight else { return false }
            held[lease.orderID] = Held(lease: lease)
            return true
        }
    }

    /// Gives back the room of an order that was not begun.
    func dismiss(_ lease: Lease) { lose([lease]) }

    /// The leases of every saga under way here.
    var leases: Set<Lease> { held.withLock { Set($0.values.lazy.map(\.lease)) } }

    /// These sagas have ended, or others drive them now.
    func lose(_ leases: [Lease]) {
        for lease in leases {
            let lost = held.withLock { held in
                held[lease.orderID]?.lease == lease ? held.removeValue(forKey: lease.orderID) : nil
            }
            lost?.onLoss?()
        }
    }

    /// Drives an admitted order in a task of its own. - Returns: at its end, or when the context's deadline has passed.
    func run(_ order: Order, _ lease: Lease, _ context: CallContext) async -> CheckoutResult {
        await withCheckedContinuation { continuation in
            let waiter = Waiter(continuation)
            environment.detach { [self] in
                var drive = Drive(order, lease, rounds: 0, held: nil, isResumed: false, context, waiter)
                await self.drive(&drive)
                lose([lease])
                waiter.resume(.unknown)
            }
        }
    }

    /// Drives a saga that was taken over, until it ends, has to be put down again, or is lost. There is always room for it: it
    /// was admitted once, and `Recovery` takes only a few at a time.
    func resume(_ taken: TakenSaga, _ context: CallContext) async {
        let lease = taken.lease
        await withCheckedContinuation { continuation in
            // Also when its driver hangs: else it would keep its place among the few for ever.
            let earlier = held.withLock {
                $0.updateValue(Held(lease: lease, onLoss: { continuation.resume() }), forKey: lease.orderID)
            }
            earlier?.onLoss?()
            environment.detach { [self] in
                var drive = Drive(
                    taken.order, lease, rounds: taken.rounds, held: taken.held, isResumed: true, context, nil)
                await self.drive(&drive)
                lose([lease])
            }
        }
    }

    // MARK: - The loop

    /// One saga under way.
    private struct Drive {
        var saga: Saga
        var history: [HistoryEntry]
        /// How often the present step has been repeated without a definite answer.
        var rounds: Int
        /// What has been in the way of its calls since it was stored.
        var troubles = CallTroubles()
        /// What may have been taken, as far as is known.
        var held: Money?
        /// The step that the metrics show: an end only once it is stored, for until then money may lie with nobody.
        var shown: Saga.Step
        /// Whether some call brought no definite answer.
        var hadTrouble = false
        let context: CallContext
        let order: Order
        /// The rounds with which it was taken up at the order's stored step.
        let earlierRounds: Int
        let lease: Lease
        /// Who waits for the outcome, if anybody does.
        let waiter: Waiter?

        init(
            _ order: Order, _ lease: Lease, rounds: Int, held: Money?, isResumed: Bool, _ context: CallContext,
            _ waiter: Waiter?
        ) {
            let (plan, step) = (order.record.plan, order.record.step)
            saga = isResumed ? Saga(resuming: plan, at: step) : Saga(plan, step: step, isResumed: false)
            history = order.record.history
            self.rounds = rounds
            earlierRounds = rounds
            self.held = saga.step.held(held)
            shown = saga.step
            self.order = order
            self.lease = lease
            self.context = context
            self.waiter = waiter
        }

        /// Whether it is where it was taken up: its pauses go on growing then, and it is parked in the end. One that was completing asks for its
        /// charge again first, and may have hung there the last time.
        var hasGotNoFurther: Bool {
            switch (order.record.step, saga.step) {
            case (.charging, .completing), (.completing, .completing): saga.isResumed
            case (let stored, let now): stored == now
            }
        }

        /// Whether its story is worth reading without being asked for: it does not go the straight way.
        var isEventful: Bool { saga.isResumed || hadTrouble || saga.step.failure != nil }
    }

    private func drive(_ drive: inout Drive) async {
        metrics.count(drive.shown, by: 1)
        metrics.move(held: nil, to: drive.held)
        await advance(&drive)
        metrics.count(drive.shown, by: -1)
        metrics.move(held: drive.held, to: nil)
    }

    private func advance(_ drive: inout Drive) async {
        while let call = drive.saga.call {
            drive.troubles.retryAfter = nil
            let event = await caller.perform(call, of: drive.saga, drive.context, &drive.troubles)
            let before = drive.saga.step
            guard let next = decide(&drive.saga, event) else {
                record(&drive, .critical, "an event does not belong to its saga's step: \(event)")
                return await putDown(&drive, parkedFor: "an event did not belong to its step")
            }
            if event.isTrouble { drive.hadTrouble = true }
            record(
                &drive, event.isTrouble ? .warning : drive.isEventful ? .info : .debug, event.description)
            metrics.compensated(before, event)
            if drive.saga.step != before, next != .end { entered(&drive) }
            switch next {
            case .call:
                if drive.saga.mustBeStored { guard await store(&drive) else { return } }
            case .end:
                guard await store(&drive) else { return }
                entered(&drive)
                return finish(drive)
            case .repeatLater:
                guard await pauseBeforeRepeating(&drive) else { return }
            }
        }
    }

    private func entered(_ drive: inout Drive) {
        drive.rounds = drive.hasGotNoFurther ? drive.earlierRounds : 0
        metrics.move(from: drive.shown, to: drive.saga.step)
        drive.shown = drive.saga.step
        let held = drive.saga.step.held(drive.held)
        metrics.move(held: drive.held, to: held)
        drive.held = held
    }

    private func finish(_ drive: Drive) {
        let duration = environment.time.now.milliseconds - drive.order.createdAt.milliseconds
        metrics.ended(drive.saga.step, after: .milliseconds(duration))
        if drive.isEventful { tell(drive, after: duration) }
        switch drive.saga.step {
        case .completed(let goods): drive.waiter?.resume(.completed(receipt: drive.order.receipt(for: goods)))
        case .failed(let failure): drive.waiter?.resume(.failed(failure))
        case .reserving, .charging, .completing, .releasing, .canceling, .refunding: break
        }
    }

    /// Waits before the step is asked about again, if somebody waits for the outcome and there is time; else puts the saga
    /// down. - Returns: whether to go on.
    private func pauseBeforeRepeating(_ drive: inout Drive) async -> Bool {
        drive.rounds += 1
        // Whether all is undone yet is not the client's concern: the checkout has failed and nothing was charged.
        if let failure = drive.saga.certainFailure { drive.waiter?.resume(.failed(failure)) }
        // No sooner than the service asks for, if that is not out of all proportion.
        let asked = min(drive.troubles.retryAfter ?? .zero, configuration.backoff.cap)
        let wait = max(pause.delay(afterAttempt: drive.rounds), asked)
        let remaining = drive.context.deadline.remaining(on: environment.time)
        guard let waiter = drive.waiter, waiter.isWaiting, remaining > .zero else {
            await putDown(&drive, for: wait)
            return false
        }
        // Stored once, so that whoever looks at the order sees where it hangs.
        if drive.rounds == 1 { guard await store(&drive) else { return false } }
        let slept = min(wait, remaining)
        try? await environment.sleeper.sleep(for: slept)
        guard drive.context.deadline.hasPassed(on: environment.time) else { return true }
        waiter.resume(.unknown)
        await putDown(&drive, for: max(.zero, asked - slept))
        return false
    }

    /// Leaves the saga in the store for `Recovery`. After too many rounds an operator is called, and it is tried again by
    /// itself only now and then (hazard 9).
    private func putDown(_ drive: inout Drive, for wait: Duration = .zero, parkedFor: String? = nil) async {
        var (wait, parkedFor) = (wait, parkedFor)
        if parkedFor == nil, drive.rounds >= configuration.parkAfterRounds {
            parkedFor = "\(drive.saga.step.name): not done in \(drive.rounds) rounds"
        }
        if let reason = parkedFor {
            wait = max(wait, configuration.parkedRetry)
            record(&drive, .error, "parked: \(reason)")
        }
        let (lease, rounds, held, reason, pause) = (drive.lease, drive.rounds, drive.held, parkedFor, wait)
        let (order, attempts) = (order(drive), drive.troubles.attempts)
        _ = await storing(&drive) { log in
            try await log.putDown(
                order, lease, for: pause, rounds: rounds, parkedFor: reason, held: held, attempts: attempts)
        }
    }

    private func order(_ drive: Drive) -> Order {
        Order(
            record: SagaRecord(plan: drive.saga.plan, step: drive.saga.step, history: drive.history),
            key: drive.order.key, createdAt: drive.order.createdAt, updatedAt: environment.time.now)
    }

    private func store(_ drive: inout Drive) async -> Bool {
        let order = order(drive)
        let (lease, attempts) = (drive.lease, drive.troubles.attempts)
        let isStored = await storing(&drive) { log in
            try await log.save(order, lease, attempts: attempts)
        }
        if isStored { drive.troubles.attempts.removeAll() }
        return isStored
    }

    /// Writes to the log; while the store cannot take it, tries again and does nothing else, because what is not stored may
    /// not be acted upon.
    ///
    /// - Returns: false when the saga is not this process's to drive any more: the store is closed and the next process goes
    ///   on, or another owner has taken over.
    private func storing(_ drive: inout Drive, _ write: (SagaLog) async throws -> Bool) async -> Bool {
        var attempt = 0
        while true {
            do {
                if try await write(log) { return true }
                environment.logger.warning(
                    "another process has taken this saga over", metadata: logMetadata(drive, [:]))
                try await tellStoredEnd(drive)
                return false
            } catch StoreError.closed {
                return false
            } catch {
                attempt += 1
                environment.logger.error(
                    "a saga could not be stored; trying again",
                    metadata: logMetadata(
                        drive, ["error": .string("\(error)"), "attempt": .stringConvertible(attempt)]))
                drive.waiter?.resume(.unknown)
                try? await environment.sleeper.sleep(for: pause.delay(afterAttempt: attempt))
            }
        }
    }

    /// Whoever has taken the saga over may have ended it: then its client need not ask again.
    private func tellStoredEnd(_ drive: Drive) async throws {
        guard let waiter = drive.waiter, waiter.isWaiting,
            let stored = try await log.order(drive.saga.plan.orderID, user: drive.saga.plan.user)
        else { return }
        switch stored.record.step {
        case .completed(let goods): waiter.resume(.completed(receipt: stored.receipt(for: goods)))
        case .failed(let failure): waiter.resume(.failed(failure))
        case .reserving, .charging, .completing, .releasing, .canceling, .refunding: break
        }
    }

    // MARK: - History and log

    /// An order's history stays readable and bounded, however long its saga hangs: its beginning and its end are kept.
    static let maximumHistory = 64

    private func record(_ drive: inout Drive, _ level: Logger.Level, _ event: String) {
        let event = event.cut(to: HistoryEntry.maximumEvent)
        if drive.history.last?.event != event {
            if drive.history.count >= Self.maximumHistory { drive.history.remove(at: Self.maximumHistory / 2) }
            drive.history.append(HistoryEntry(at: environment.time.now, event: event))
        }
        guard environment.logger.logLevel <= level else { return }
        environment.logger.log(level: level, "saga", metadata: logMetadata(drive, ["event": .string(event)]))
    }

    /// The whole story of a checkout that did not go the straight way, in one line.
    private func tell(_ drive: Drive, after milliseconds: Int64) {
        var members: Logger.Metadata = [
            "status": .string(drive.saga.step.status.rawValue), "duration_ms": .stringConvertible(Double(milliseconds)),
            "history": .string(drive.history.map { "\($0.at) \($0.event)" }.joined(separator: "; ")),
        ]
        if let failure = drive.saga.step.failure { members["failure"] = .string(failure.code) }
        environment.logger.info("checkout ended", metadata: logMetadata(drive, members))
    }

    private func logMetadata(_ drive: Drive, _ more: Logger.Metadata) -> Logger.Metadata {
        SagaCaller.logMetadata(
            drive.saga.plan, drive.context, more.merging(["saga_step": .string(drive.saga.step.name)]) { $1 })
    }
}

/// Resumes whoever waits for a checkout, once.
private final class Waiter: Sendable {
    private let continuation: Mutex<CheckedContinuation<CheckoutResult, Never>?>

    init(_ continuation: CheckedContinuation<CheckoutResult, Never>) {
        self.continuation = Mutex(continuation)
    }

    /// Whether it has not been resumed yet.
    var isWaiting: Bool { continuation.withLock { $0 != nil } }

    func resume(_ result: CheckoutResult) {
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(returning: result)
    }
}
