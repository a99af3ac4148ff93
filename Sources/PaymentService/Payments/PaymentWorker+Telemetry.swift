import Logging
import ProviderAPI
import Resilience
import ServiceKit
import Storage

/// What the worker tells of its work.
extension PaymentWorker {
    func count(_ payment: Payment, _ decision: ProviderTask.Decision) {
        switch decision {
        case .succeed: metrics.count(payment, .succeeded)
        case .fail, .giveUp: metrics.count(payment, .failed)
        case .wait: break
        }
    }

    func log(
        _ payment: Payment, _ reply: ProviderReply, _ decision: ProviderTask.Decision, _ settled: PaymentRecords.Settled
    ) {
        var metadata: Logger.Metadata = [
            "payment_id": .string(payment.id), "provider": .string(payment.provider.rawValue),
            "attempt": .stringConvertible(payment.task.attempts),
        ]
        metadata["request_id"] = payment.origin.map { .string($0.requestID) }
        if let detail = reply.detail { metadata["detail"] = .string(detail) }
        if settled == .lost {
            return environment.logger.warning(
                "a payment was taken over by another worker; this one's answer is dropped", metadata: metadata)
        }
        if settled == .contradicted {
            environment.logger.error(
                "a payment has failed whose provider has said in a message that its money has moved: compare its books",
                metadata: metadata)
        }
        switch decision {
        case .succeed: environment.logger.info("a payment has succeeded", metadata: metadata)
        case .fail(_, let reason):
            metadata["reason"] = .string(reason)
            environment.logger.info("a payment has failed", metadata: metadata)
        case .giveUp(let reason):
            metadata["reason"] = .string(reason)
            environment.logger.error("a payment was given up", metadata: metadata)
        case .wait(_, let reason):
            metadata["reason"] = .string(reason)
            if case .contradicted = reply {
                environment.logger.error(
                    "a provider answers about other money; the payment stays open until it does not", metadata: metadata
                )
            } else {
                environment.logger.warning("a payment is asked about again", metadata: metadata)
            }
        }
    }

    /// Sets the metrics that are read only when somebody asks for them. - Throws: `StoreError`.
    func measure() async throws {
        for (provider, breaker) in breakers { metrics.set(provider, breaker: breaker.current) }
        let (letters, backlogs) = try await environment.store.transaction { [environment] transaction in
            let records = PaymentRecords(transaction: transaction)
            let now = environment.time.now
            return (
                try records.countDeadLetters(),
                try Provider.allCases.map { ($0, try records.backlog(of: $0, at: now)) }
            )
        }
        metrics.set(deadLetters: letters)
        for (provider, backlog) in backlogs { metrics.set(provider, backlog) }
    }

    /// When a payment that waits is asked about at the earliest, whatever stands with it: while the breaker of its provider is open,
    /// its time comes and goes.
    func earliestAsking(_ provider: Provider) -> Timestamp {
        environment.time.now.advanced(by: breakers[provider]?.openFor ?? .zero)
    }
}
