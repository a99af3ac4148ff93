import Correlation
import Logging
import PaymentAPI
import Resilience
import ServiceClient
import StockAPI

/// Makes the calls of sagas to Stock and Payment: repeats what may be repeated, and sums the attempts up in one outcome.
struct SagaCaller: Sendable {
    let stock: any StockClient
    let payment: any PaymentClient
    let retry: RetryWithBackoff
    let time: any TimeSource
    let logger: Logger
    /// With less time left than this, no charge may begin.
    let leastTimeForCharge: Duration

    /// Makes one call, in as many attempts as it is allowed, and says what came of it.
    func perform(_ call: Saga.Call, of plan: OrderPlan, _ context: CallContext) async -> Saga.Event {
        switch call {
        case .reserve(let command):
            let outcome = await settle("stock", "reserve", plan, context) { context throws(CallFailure) in
                try await stock.reserve(command, context)
            }
            let remaining = context.deadline.remaining(on: time)
            return .reserved(outcome, mayCharge: remaining >= leastTimeForCharge)
        case .charge(let amount):
            let command = ChargeCommand(
                chargeID: plan.chargeID, orderID: plan.orderID, amount: amount, method: plan.method)
            return .charged(
                await settle("payment", "charge", plan, context) { context throws(CallFailure) in
                    try await payment.charge(command, context)
                    return Done()
                })
        case .complete:
            return .completed(
                await settle("stock", "complete", plan, context) { context throws(CallFailure) in
                    try await stock.complete(reservationID: plan.reservationID, context)
                    return Done()
                })
        case .release:
            return .released(
                await settle("stock", "release", plan, context) { context throws(CallFailure) in
                    try await stock.release(reservationID: plan.reservationID, context)
                    return Done()
                })
        case .refund:
            let command = RefundCommand(refundID: plan.refundID, chargeID: plan.chargeID)
            return .refunded(
                await settle("payment", "refund", plan, context) { context throws(CallFailure) in
                    try await payment.refund(command, context)
                    return Done()
                })
        }
    }

    /// One round of attempts, and what is known after it.
    private func settle<Value: Sendable & Equatable>(
        _ target: String, _ operation: String, _ plan: OrderPlan, _ context: CallContext,
        _ attempt: @escaping @Sendable (CallContext) async throws(CallFailure) -> Value
    ) async -> Outcome<Value> {
        do {
            let value = try await retry(
                until: context.deadline,
                onRetry: { number, error, wait in
                    logger.warning(
                        "a call failed and is tried again",
                        metadata: SagaCaller.logMetadata(
                            plan, context,
                            [
                                "target": .string(target), "operation": .string(operation),
                                "attempt": .stringConvertible(number), "error": .string("\(error)"),
                                "wait_ms": .stringConvertible(wait.inSeconds * 1000),
                            ]))
                },
                { _ in try await attempt(context) }
            )
            return .succeeded(value)
        } catch CallFailure.refused(let refusal) {
            return .refused(refusal)
        } catch let exhausted as RetriesExhausted {
            let trouble = (exhausted.last as? CallFailure)?.trouble ?? .timedOut
            return exhausted.mayHaveRun ? .unknown(trouble) : .notExecuted(trouble)
        } catch {
            return .unknown(.connectionLost)
        }
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
        case .notExecuted(let trouble, _), .unknown(let trouble, _): trouble
        }
    }
}
