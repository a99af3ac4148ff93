import Correlation
import Logging
import PaymentAPI
import Resilience
import ServiceClient
import StockAPI

/// Makes the calls of sagas to Stock and Payment: repeats what may be repeated, and sums the attempts up in one outcome.
final class SagaCaller: Sendable {
    let stock: any StockClient
    let payment: any PaymentClient
    let stockBreaker: CircuitBreaker
    let paymentBreaker: CircuitBreaker
    /// For a saga whose client waits.
    let retry: RetryWithBackoff
    /// For one that was taken up again: the waits between its attempts are in the store.
    let once: RetryWithBackoff
    let time: any TimeSource
    let logger: Logger
    /// With less time left than this, no charge may begin.
    let leastTimeForCharge: Duration
    let metrics: SagaMetrics
    let traces: Traces?

    init(
        stock: any StockClient, payment: any PaymentClient, stockBreaker: CircuitBreaker,
        paymentBreaker: CircuitBreaker,
        retry: RetryWithBackoff, once: RetryWithBackoff, time: any TimeSource, logger: Logger,
        leastTimeForCharge: Duration, metrics: SagaMetrics, traces: Traces? = nil
    ) {
        self.stock = stock
        self.payment = payment
        self.stockBreaker = stockBreaker
        self.paymentBreaker = paymentBreaker
        self.retry = retry
        self.once = once
        self.time = time
        self.logger = logger
        self.leastTimeForCharge = leastTimeForCharge
        self.metrics = metrics
        self.traces = traces
    }

    /// How long a checkout would have to wait for a service that is known to be in trouble; nil when it may begin.
    var refusesFor: Duration? {
        [stockBreaker.refusesFor, paymentBreaker.refusesFor].compactMap { $0 }.max()
    }

    /// Whether no service is known, or thought, to be in trouble.
    var servicesAreWell: Bool { stockBreaker.current == .closed && paymentBreaker.current == .closed }

    /// Makes one call, in as many attempts as it is allowed, and says what came of it.
    ///
    /// - Parameter troubles: takes what was in the way.
    func perform(
        _ call: Saga.Call, of saga: Saga, _ context: CallContext, _ troubles: inout FailedAttempts
    ) async -> Saga.Event {
        guard let span = traces.flatMap({ RoundSpan($0, call, of: saga, context) }) else {
            return await attempt(call, of: saga, context, &troubles)
        }
        let event = await attempt(call, of: saga, span.context, &troubles)
        span.end(event)
        return event
    }

    private func attempt(
        _ call: Saga.Call, of saga: Saga, _ context: CallContext, _ troubles: inout FailedAttempts
    ) async -> Saga.Event {
        let plan = saga.plan
        switch call {
        case .reserve(let command):
            let round = Round("stock", "reserve", saga, stockBreaker, context)
            let outcome = await ask(round, &troubles) { [self] context throws(CallFailure) in
                try await stock.reserve(command, context)
            }
            return .reserved(outcome, mayCharge: context.deadline.remaining(on: time) >= leastTimeForCharge)
        case .charge(let amount):
            let command = ChargeCommand(
                chargeID: plan.chargeID, orderID: plan.orderID, amount: amount, method: plan.method)
            let round = Round(
                "payment", "charge", saga, paymentBreaker, context,
                leastTimeToBegin: saga.mayFailFast ? leastTimeForCharge : .zero)
            return .charged(
                await ask(round, &troubles) { [self] context throws(CallFailure) in
                    try await payment.charge(command, context)
                    return Done()
                })
        case .complete:
            let round = Round("stock", "complete", saga, stockBreaker, context)
            return .completed(
                await ask(round, &troubles) { [self] context throws(CallFailure) in
                    try await stock.complete(reservationID: plan.reservationID, context)
                    return Done()
                })
        case .release:
            let round = Round("stock", "release", saga, stockBreaker, context)
            return .released(
                await ask(round, &troubles) { [self] context throws(CallFailure) in
                    try await stock.release(reservationID: plan.reservationID, context)
                    return Done()
                })
        case .refund:
            let command = RefundCommand(refundID: plan.refundID, chargeID: plan.chargeID)
            let round = Round("payment", "refund", saga, paymentBreaker, context)
            return .refunded(
                await ask(round, &troubles) { [self] context throws(CallFailure) in
                    try await payment.refund(command, context)
                    return Done()
                })
        }
    }

    /// What the attempts of one round have in common. A class, because each of them is handed it.
    private final class Round: Sendable {
        let target: String
        let operation: String
        let saga: Saga
        let breaker: CircuitBreaker
        let context: CallContext
        /// With less time left than this, the first attempt is not made.
        let leastTimeToBegin: Duration

        init(
            _ target: String, _ operation: String, _ saga: Saga, _ breaker: CircuitBreaker, _ context: CallContext,
            leastTimeToBegin: Duration = .zero
        ) {
            self.target = target
            self.operation = operation
            self.saga = saga
            self.breaker = breaker
            self.context = context.with(tally: RequestTally())
            self.leastTimeToBegin = leastTimeToBegin
        }

        /// Takes what an attempt says of its service.
        func record(_ result: CircuitBreaker.Result, _ passage: CircuitBreaker.Passage) {
            breaker.record(result, of: passage, sharedBy: context.tally?.commands ?? 1)
        }
    }

    /// Ends the attempts of a call that would better not be made now.
    private struct NotNow: Error {
        let trouble: CallTrouble
    }

    /// What is known of all attempts together, from the least to the most that they may have done.
    fileprivate enum Reach: Comparable {
        case notSent, notExecuted, unknown
    }

    /// One round of attempts, and what is known after it.
    private func ask<Value: Sendable & Equatable>(
        _ round: Round, _ troubles: inout FailedAttempts,
        _ attempt: @escaping @Sendable (CallContext) async throws(CallFailure) -> Value
    ) async -> Outcome<Value> {
        var reach = Reach.notSent
        var trouble = CallTrouble.timedOut
        do {
            let value = try await (round.saga.isResumed ? once : retry)(
                until: round.context.deadline,
                onRetry: { number, error, wait in log(round, number, error, wait) },
                { number in
                    let passage = try passage(round, reach)
                    do throws(CallFailure) {
                        let value = try await attempt(number == 1 ? round.context : round.context.with(attempt: number))
                        round.record(.success, passage)
                        if number > 1 { log(round, succeededAt: number) }
                        return value
                    } catch {
                        round.record(error.saysOfService, passage)
                        troubles.add(error, round.operation, number, at: time.now)
                        reach = error.trouble == .providerUnavailable ? .notExecuted : max(reach, error.reach)
                        trouble = error.trouble ?? trouble
                        throw error
                    }
                }
            )
            return .succeeded(value)
        } catch CallFailure.refused(let refusal) {
            return .refused(refusal)
        } catch let notNow as NotNow {
            trouble = notNow.trouble
        } catch {
            // The attempts are over, or the process is: what they have reached is known either way.
        }
        switch reach {
        case .notSent: return .notSent(trouble)
        case .notExecuted: return .notExecuted(trouble)
        case .unknown: return .unknown(trouble)
        }
    }

    private func passage(_ round: Round, _ reach: Reach) throws -> CircuitBreaker.Passage {
        guard mayFailFast(round, reach) else { return round.breaker.pass() }
        if reach == .notSent, round.context.deadline.remaining(on: time) < round.leastTimeToBegin {
            throw NotNow(trouble: .timedOut)
        }
        guard let passage = round.breaker.admit() else { throw NotNow(trouble: .unavailable) }
        return passage
    }

    /// Whether the next attempt may be left undone. A charge that may have run is asked about whatever the breaker says: only
    /// that tells whether there is anything to undo.
    private func mayFailFast(_ round: Round, _ reach: Reach) -> Bool {
        switch round.saga.step {
        case .charging: round.saga.mayFailFast && reach != .unknown
        default: round.saga.mayFailFast
        }
    }

    private func log(_ round: Round, _ number: Int, _ error: any Error, _ wait: Duration) {
        metrics.retried(round.target, round.operation)
        logger.warning(
            "a call failed and is tried again",
            metadata: Self.logMetadata(
                round.saga.plan, round.context,
                [
                    "target": .string(round.target), "operation": .string(round.operation),
                    "attempt": .stringConvertible(number), "error": .string("\(error)"),
                    "wait_ms": .stringConvertible(wait.inSeconds * 1000),
                ]))
    }

    private func log(_ round: Round, succeededAt number: Int) {
        logger.info(
            "a call that had failed has succeeded",
            metadata: Self.logMetadata(
                round.saga.plan, round.context,
                [
                    "target": .string(round.target), "operation": .string(round.operation),
                    "attempt": .stringConvertible(number),
                ]))
    }

    /// What every log line about a saga carries (OP-03), with further members.
    static func logMetadata(
        _ plan: OrderPlan, _ context: CallContext, _ more: Logger.Metadata
    ) -> Logger.Metadata {
        more.merging([
            "order_id": .string(plan.orderID), "request_id": .string(context.requestID.value),
            "trace_id": .string(context.trace.traceID), "span_id": .string(context.trace.spanID),
        ]) { $1 }
    }
}

extension CallFailure {
    fileprivate var trouble: CallTrouble? {
        switch self {
        case .refused: nil
        case .notSent(let trouble), .notExecuted(let trouble, _), .unknown(let trouble, _): trouble
        }
    }

    fileprivate var reach: SagaCaller.Reach {
        switch self {
        case .refused, .notSent: .notSent
        case .notExecuted: .notExecuted
        case .unknown: .unknown
        }
    }

    /// What the failure says about the service as a whole.
    fileprivate var saysOfService: CircuitBreaker.Result {
        switch self {
        // It is there and works. That the provider behind Payment does not is no reason to refuse who pays from an account.
        case .refused, .unknown(.inProgress, _), .notExecuted(.providerUnavailable, _): .success
        // There was no time to ask, or no room here.
        case .notSent(.timedOut), .notSent(.queueFull): .nothing
        case .notSent, .notExecuted, .unknown: .failure
        }
    }
}
