import Correlation
import Logging
import Money
import PaymentAPI
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import Storage

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
    private let underWay: SagasUnderWay
    private let metrics: SagaMetrics

    init(
        environment: ServiceEnvironment, log: SagaLog, caller: SagaCaller, configuration: OrderConfiguration,
        decide: @escaping SagaDecision = { $0.apply($1) }
    ) {
        self.environment = environment
        self.log = log
        self.caller = caller
        self.configuration = configuration
        self.decide = decide
        underWay = SagasUnderWay(maximum: configuration.maximumInFlight)
        metrics = caller.metrics
        pause = configuration.backoff.withJitter(configuration.backoff.base / 2)
    }

    /// How long a checkout would have to wait for a service that is known to be in trouble; nil when it may begin.
    var refusesFor: Duration? { caller.refusesFor }

    /// Whether no service is known, or thought, to be in trouble.
    var servicesAreWell: Bool { caller.servicesAreWell }

    /// Makes room for an order that is about to be stored. - Returns: false when as many are under way as are allowed.
    func admit(_ lease: Lease) -> Bool { underWay.admit(lease) }

    /// The leases of every saga under way here.
    var leases: Set<Lease> { underWay.leases }

    /// These sagas have ended, were not begun after all, or others drive them now.
    func lose(_ leases: [Lease]) { underWay.lose(leases) }

    /// Drives an admitted order in a task of its own. - Returns: at its end, or when the context's deadline has passed.
    func run(_ order: Order, _ lease: Lease, _ context: CallContext) async -> CheckoutResult {
        await withCheckedContinuation { continuation in
            let waiter = CheckoutWaiter(continuation)
            environment.detach { [self] in
                var drive = SagaDrive(order, lease, rounds: 0, atStake: nil, isResumed: false, context, waiter)
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
            underWay.take(lease, onLoss: { continuation.resume() })
            environment.detach { [self] in
                var drive = SagaDrive(
                    taken.order, lease, rounds: taken.rounds, atStake: taken.atStake, isResumed: true, context, nil)
                await self.drive(&drive)
                lose([lease])
            }
        }
    }

    // MARK: - The loop

    private func drive(_ drive: inout SagaDrive) async {
        metrics.count(drive.shown, by: 1)
        metrics.move(atStake: nil, to: drive.atStake)
        await advance(&drive)
        metrics.count(drive.shown, by: -1)
        metrics.move(atStake: drive.atStake, to: nil)
    }

    private func advance(_ drive: inout SagaDrive) async {
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

    private func entered(_ drive: inout SagaDrive) {
        drive.rounds = drive.hasGotNoFurther ? drive.earlierRounds : 0
        metrics.move(from: drive.shown, to: drive.saga.step)
        drive.shown = drive.saga.step
        let atStake = drive.saga.step.atStake(drive.atStake)
        metrics.move(atStake: drive.atStake, to: atStake)
        drive.atStake = atStake
    }

    private func finish(_ drive: SagaDrive) {
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
    private func pauseBeforeRepeating(_ drive: inout SagaDrive) async -> Bool {
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
    private func putDown(_ drive: inout SagaDrive, for wait: Duration = .zero, parkedFor: String? = nil) async {
        var (wait, parkedFor) = (wait, parkedFor)
        if parkedFor == nil, drive.rounds >= configuration.parkAfterRounds {
            parkedFor = "\(drive.saga.step.name): not done in \(drive.rounds) rounds"
        }
        if let reason = parkedFor {
            wait = max(wait, configuration.parkedRetry)
            record(&drive, .error, "parked: \(reason)")
        }
        let (lease, rounds, atStake, reason) = (drive.lease, drive.rounds, drive.atStake, parkedFor)
        let pause = wait
        let (order, attempts) = (drive.order(at: environment.time.now), drive.troubles.attempts)
        _ = await storing(&drive) { log in
            try await log.putDown(
                order, lease, for: pause, rounds: rounds, parkedFor: reason, atStake: atStake, attempts: attempts)
        }
    }

    private func store(_ drive: inout SagaDrive) async -> Bool {
        let order = drive.order(at: environment.time.now)
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
    private func storing(_ drive: inout SagaDrive, _ write: (SagaLog) async throws -> Bool) async -> Bool {
        var attempt = 0
        while true {
            do {
                if try await write(log) { return true }
                environment.logger.warning(
                    "somebody else has taken this saga over, or has ended it", metadata: logMetadata(drive, [:]))
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
    private func tellStoredEnd(_ drive: SagaDrive) async throws {
        guard let waiter = drive.waiter, waiter.isWaiting,
            let stored = try await log.order(drive.saga.plan.orderID, user: drive.saga.plan.user)
        else { return }
        switch stored.record.step {
        case .completed(let goods): waiter.resume(.completed(receipt: stored.receipt(for: goods)))
        case .failed(let failure): waiter.resume(.failed(failure))
        case .reserving, .charging, .completing, .releasing, .canceling, .refunding: break
        }
    }

    // MARK: - Log

    private func record(_ drive: inout SagaDrive, _ level: Logger.Level, _ event: String) {
        let event = event.cut(to: HistoryEntry.maximumEvent)
        drive.note(event, at: environment.time.now)
        guard environment.logger.logLevel <= level else { return }
        environment.logger.log(level: level, "saga", metadata: logMetadata(drive, ["event": .string(event)]))
    }

    /// The whole story of a checkout that did not go the straight way, in one line.
    private func tell(_ drive: SagaDrive, after milliseconds: Int64) {
        var members: Logger.Metadata = [
            "status": .string(drive.saga.step.status.rawValue), "duration_ms": .stringConvertible(Double(milliseconds)),
            "history": .string(drive.history.map { "\($0.at) \($0.event)" }.joined(separator: "; ")),
        ]
        if let failure = drive.saga.step.failure { members["failure"] = .string(failure.code) }
        environment.logger.info("checkout ended", metadata: logMetadata(drive, members))
    }

    private func logMetadata(_ drive: SagaDrive, _ more: Logger.Metadata) -> Logger.Metadata {
        SagaCaller.logMetadata(
            drive.saga.plan, drive.context, more.merging(["saga_step": .string(drive.saga.step.name)]) { $1 })
    }
}
