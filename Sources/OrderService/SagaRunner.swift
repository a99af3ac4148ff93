import Correlation
import Idempotency
import Logging
import PaymentAPI
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import Storage
import Synchronization

/// How a checkout stands when its waiter stops waiting.
enum CheckoutResult: Equatable, Sendable {
    /// Paid and handed over.
    case completed(StoredResponse)
    /// It fails, and nothing is or will be charged for it.
    case failed(Failure)
    /// Not known yet; the saga goes on by itself.
    case unknown
}

/// Drives sagas: makes the calls that a saga asks for, stores what must be stored, and waits where it must wait.
///
/// A saga runs in a task of its own from its first call to its end. Neither a client that leaves, nor a deadline, nor a
/// stop of the server cancels it (hazard 19); what a stop leaves behind is taken up at the next start.
final class SagaRunner: Sendable {
    private let environment: ServiceEnvironment
    private let log: SagaLog
    private let caller: SagaCaller
    private let configuration: OrderConfiguration
    /// The waits between rounds, which go on growing up to their cap.
    private let pause: BackoffSchedule
    private let active = Mutex<Set<String>>([])

    init(
        environment: ServiceEnvironment, stock: any StockClient, payment: any PaymentClient,
        configuration: OrderConfiguration
    ) {
        self.environment = environment
        self.configuration = configuration
        log = SagaLog(environment)
        caller = SagaCaller(
            stock: stock, payment: payment,
            retry: RetryWithBackoff(
                schedule: configuration.backoff, sleeper: environment.sleeper, time: environment.time),
            time: environment.time, logger: environment.logger,
            leastTimeForCharge: configuration.leastTimeForCharge)
        pause = configuration.backoff
    }

    /// Takes an order before it is stored, so that recovery never drives an order that this process is about to.
    ///
    /// - Returns: false when as many are under way as are allowed.
    func admit(_ orderID: String) -> Bool {
        active.withLock { active in
            active.count < configuration.maximumInFlight && active.insert(orderID).inserted
        }
    }

    /// Takes an order that an earlier process left. It was accepted then, so there is always a place for it.
    ///
    /// - Returns: false when this process is at work on it already.
    func adopt(_ orderID: String) -> Bool {
        active.withLock { $0.insert(orderID).inserted }
    }

    /// Gives an admitted or adopted order back.
    func dismiss(_ orderID: String) {
        active.withLock { _ = $0.remove(orderID) }
    }

    /// Drives an admitted order in a task of its own. - Returns: at its end, or when the context's deadline has passed.
    func run(_ order: Order, isResumed: Bool, _ context: CallContext) async -> CheckoutResult {
        await withCheckedContinuation { continuation in
            let waiter = Waiter(continuation)
            environment.detach { [self] in
                var drive = Drive(order: order, isResumed: isResumed, context: context, waiter: waiter)
                await self.drive(&drive)
                dismiss(order.record.plan.orderID)
                waiter.resume(.unknown)
            }
        }
    }

    // MARK: - The loop

    /// One saga under way.
    private struct Drive {
        var saga: Saga
        var history: [HistoryEntry]
        var context: CallContext
        /// How often the present step has been repeated without a definite answer.
        var rounds = 0
        let order: Order
        let waiter: Waiter

        init(order: Order, isResumed: Bool, context: CallContext, waiter: Waiter) {
            saga = Saga(order.record.plan, step: order.record.step, isResumed: isResumed)
            history = order.record.history
            self.order = order
            self.context = context
            self.waiter = waiter
        }
    }

    private func drive(_ drive: inout Drive) async {
        while let call = drive.saga.call {
            let event = await caller.perform(call, of: drive.saga.plan, drive.context)
            let before = drive.saga.step
            guard let next = drive.saga.apply(event) else {
                return record(&drive, .critical, "an event does not belong to its saga's step: \(event)")
            }
            record(&drive, event.isTrouble ? .warning : .debug, event.description)
            let hasMoved = drive.saga.step != before
            if hasMoved { drive.rounds = 0 }
            switch next {
            case .call:
                if drive.saga.mustBeStored { guard await store(&drive) else { return } }
            case .end:
                guard await store(&drive) else { return }
                return finish(drive)
            case .repeatLater:
                drive.rounds += 1
                // Stored once, so that whoever looks at the order sees where it hangs.
                if drive.rounds == 1 { guard await store(&drive) else { return } }
                await waitForNextRound(&drive)
            }
        }
    }

    private func finish(_ drive: Drive) {
        switch drive.saga.step {
        case .completed(let goods): drive.waiter.resume(.completed(response(drive.order, goods)))
        case .failed(let failure): drive.waiter.resume(.failed(failure))
        case .reserving, .charging, .completing, .releasing, .refunding: break
        }
    }

    private func response(_ order: Order, _ goods: ReservedGoods) -> StoredResponse {
        StoredResponse(status: 200, body: Order.receipt(order.record.plan, goods, createdAt: order.createdAt))
    }

    /// Waits before the step is asked about again, and lets the waiter go when its time is over.
    private func waitForNextRound(_ drive: inout Drive) async {
        // Whether the goods are back yet is not the client's concern: the checkout has failed and nothing was charged.
        if case .releasing(let failure, thenRefund: false) = drive.saga.step { drive.waiter.resume(.failed(failure)) }
        let remaining = drive.context.deadline.remaining(on: environment.time)
        let wait = pause.delay(afterAttempt: drive.rounds)
        try? await environment.sleeper.sleep(for: remaining > .zero ? min(wait, remaining) : wait)
        guard drive.context.deadline.hasPassed(on: environment.time) else { return }
        drive.waiter.resume(.unknown)
        drive.context = CallContext(
            requestID: drive.context.requestID, trace: drive.context.trace, user: drive.context.user,
            deadline: Deadline(after: configuration.checkoutTimeout, on: environment.time))
    }

    /// Stores the saga; while the store cannot take it, tries again and does nothing else, because what is not stored may
    /// not be acted upon. - Returns: false when the store is closed, and the next process goes on.
    private func store(_ drive: inout Drive) async -> Bool {
        let now = environment.time.now
        let order = Order(
            record: SagaRecord(plan: drive.saga.plan, step: drive.saga.step, history: drive.history),
            key: drive.order.key, createdAt: drive.order.createdAt, updatedAt: now)
        let answer = drive.saga.step.goods.map { response(drive.order, $0) }
        var attempt = 0
        while true {
            do {
                try await log.save(order, response: answer)
                return true
            } catch StoreError.closed {
                return false
            } catch {
                attempt += 1
                environment.logger.error(
                    "a saga could not be stored; trying again",
                    metadata: logMetadata(
                        drive, ["error": .string("\(error)"), "attempt": .stringConvertible(attempt)]))
                drive.waiter.resume(.unknown)
                try? await environment.sleeper.sleep(for: pause.delay(afterAttempt: attempt))
            }
        }
    }

    // MARK: - History and log

    /// An order's history stays readable and bounded, however long its saga hangs.
    static let maximumHistory = 64

    private func record(_ drive: inout Drive, _ level: Logger.Level, _ event: String) {
        let event = event.cut(to: HistoryEntry.maximumEvent)
        if drive.history.last?.event != event, drive.history.count < Self.maximumHistory {
            drive.history.append(HistoryEntry(at: environment.time.now, event: event))
        }
        guard environment.logger.logLevel <= level else { return }
        environment.logger.log(level: level, "saga", metadata: logMetadata(drive, ["event": .string(event)]))
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

    func resume(_ result: CheckoutResult) {
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(returning: result)
    }
}
