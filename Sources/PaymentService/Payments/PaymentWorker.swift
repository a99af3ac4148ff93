import Correlation
import Logging
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import Synchronization

/// Asks the providers about payments whose time has come, and stores what they say.
///
/// A payment is taken up in one transaction and settled in another; between them stands one call to its provider. Nothing waits
/// in memory: when a payment is to be asked about again stands in its row. Any number of workers may run on one store: a
/// payment is one worker's for as long as its lease lasts, and who has lost it changes nothing any more.
package final class PaymentWorker: Sendable {
    /// How many payments of one provider are taken up in one transaction.
    static let maximumTaken = 16
    /// How long a payment waits that an open breaker has kept from its provider.
    static let waitForProbe = Duration.seconds(1)

    let environment: ServiceEnvironment
    private let gateway: any ProviderGateway
    private let configuration: PaymentsConfiguration
    let metrics: PaymentMetrics
    private let terms: PaymentRecords.Terms
    let breakers: [Provider: CircuitBreaker]
    private let state = Mutex(State())

    init(
        _ environment: ServiceEnvironment, _ gateway: any ProviderGateway, _ configuration: PaymentsConfiguration,
        _ metrics: PaymentMetrics
    ) {
        self.environment = environment
        self.gateway = gateway
        self.configuration = configuration
        self.metrics = metrics
        terms = PaymentRecords.Terms(
            owner: environment.identifiers.next(), lease: configuration.lease,
            maximumAttempts: configuration.backoff.maximumAttempts, giveUpAfter: configuration.giveUpAfter,
            longestWait: configuration.longestWait)
        breakers = Dictionary(
            uniqueKeysWithValues: Provider.allCases.map {
                ($0, CircuitBreaker(configuration.breaker, time: environment.time))
            })
    }

    // MARK: - Taking up

    /// Looks for work now, and not only when the next look is due.
    package func wake() {
        environment.detach { [self] in
            do {
                try await fill()
            } catch {
                environment.logger.warning("no payments could be taken up", metadata: ["error": .string("\(error)")])
            }
        }
    }

    /// Takes up what is due, for as long as there is any and room for it. - Throws: `StoreError`.
    package func fill() async throws {
        let begins = state.withLock { state in
            if state.isFilling { state.mustLookAgain = true }
            defer { state.isFilling = true }
            return !state.isFilling
        }
        guard begins else { return }
        while true {
            let underWay: [Provider: Int]? = state.withLock { state in
                state.mustLookAgain = false
                guard !state.isStopped else { return nil }
                return Dictionary(uniqueKeysWithValues: Provider.allCases.map { ($0, state.count(at: $0)) })
            }
            var taken = Taken()
            if let underWay {
                do {
                    taken = try await take(beside: underWay)
                } catch {
                    let idlers = state.withLock { state in
                        state.isFilling = false
                        return state.takeIdlers()
                    }
                    idlers.forEach { $0.resume() }
                    throw error
                }
            }
            let (isDone, idlers) = state.withLock { [taken] state in
                for payment in taken.payments {
                    state.inFlight[payment.id] = Asking(provider: payment.provider, epoch: payment.epoch)
                }
                state.isHungry = taken.isFull
                state.isFilling = taken.mayBeMore || state.mustLookAgain
                return (!state.isFilling, state.takeIdlers())
            }
            for payment in taken.payments { environment.detach { [self] in await work(on: payment) } }
            idlers.forEach { $0.resume() }
            if isDone { return }
        }
    }

    /// Each provider has room of its own: one with many payments, or slow answers, takes none of another's.
    ///
    /// - Parameter underWay: how many of each provider are being asked about.
    private func take(beside underWay: [Provider: Int]) async throws -> Taken {
        let limits = Provider.allCases.map { provider in
            let count = underWay[provider] ?? 0
            return (provider, wanted: wanted(provider, beside: count), room: configuration.maximumInFlight - count)
        }
        let taken = try await environment.store.transaction { [environment, terms] transaction in
            let records = PaymentRecords(transaction: transaction)
            var taken = Taken()
            for (provider, wanted, room) in limits where wanted > 0 {
                let now = environment.time.now
                guard try records.pauseEnd(of: provider, at: now) == nil else { continue }
                let limit = min(wanted, room)
                let due =
                    limit > 0
                    ? try records.take(from: provider, limit: limit, at: now, on: terms) : PaymentRecords.Due()
                taken.payments += due.payments
                taken.unreadable += due.unreadable
                guard due.count >= limit else { continue }
                if limit == room { taken.isFull = true } else if limit == Self.maximumTaken { taken.mayBeMore = true }
            }
            return taken
        }
        for reason in taken.unreadable {
            environment.logger.error(
                "a payment cannot be read, and waits; the others go on", metadata: ["error": .string(reason)])
        }
        return taken
    }

    /// How many payments of a provider are taken up: none while its breaker is open, and one to see whether it is well again.
    private func wanted(_ provider: Provider, beside underWay: Int) -> Int {
        switch breakers[provider]?.current {
        case .closed: Self.maximumTaken
        case .halfOpen: underWay == 0 ? 1 : 0
        case .open, nil: 0
        }
    }

    // MARK: - One payment

    private func work(on payment: Payment) async {
        defer { end(payment) }
        guard let breaker = breakers[payment.provider], let passage = breaker.admit() else {
            return await handBack(payment)
        }
        let call = payment.call
        let trace =
            payment.origin?.trace?.newTrace() ?? TraceContext(continuing: nil, sampler: environment.traces?.sampler)
        let span = environment.traces.flatMap { ProviderSpan($0, call, payment, as: trace) }
        let requestID = payment.origin.flatMap { RequestID($0.requestID) } ?? RequestID()
        let reply = await gateway.perform(call, at: payment.provider, as: requestID, in: trace)
        span?.end(reply)
        breaker.record(reply.health, of: passage)
        metrics.asked(payment.provider, call, reply)
        do {
            let (outcome, decision, settled) = try await environment.store.transaction {
                [environment, configuration] transaction in
                let records = PaymentRecords(transaction: transaction)
                let now = environment.time.now
                // Whoever's payment it is by now: it is the provider's word.
                if reply.pausesProvider { try records.pause(payment.provider, for: reply.pause, at: now) }
                var outcome = payment
                outcome.lastDetail = reply.detail
                if try records.isSaidToHaveMoved(payment.id) { outcome.task.mayBeTaken = true }
                let decision = outcome.task.next(
                    after: reply, configuration.backoff,
                    mayEnd: payment.mayEnd(at: now, after: configuration.giveUpAfter))
                let settled = try records.settle(outcome, decision, pause: reply.pause, at: now)
                return (outcome, decision, settled)
            }
            log(outcome, reply, decision, settled)
            if settled != .lost { count(outcome, decision) }
            if settled == .contradicted { metrics.received(outcome.provider, .contradicted) }
        } catch {
            environment.logger.error(
                "a provider's answer could not be stored; it is asked again when its time is over",
                metadata: [
                    "payment_id": .string(payment.id), "request_id": .string(payment.origin?.requestID ?? ""),
                    "error": .string("\(error)"),
                ])
        }
    }

    private func handBack(_ payment: Payment) async {
        do {
            try await environment.store.transaction { [environment] transaction in
                let now = environment.time.now
                _ = try PaymentRecords(transaction: transaction).handBack(
                    payment, until: now.advanced(by: Self.waitForProbe), at: now)
            }
        } catch {
            environment.logger.warning(
                "a payment could not be handed back; it is taken up when its time is over",
                metadata: [
                    "payment_id": .string(payment.id), "request_id": .string(payment.origin?.requestID ?? ""),
                    "error": .string("\(error)"),
                ])
        }
    }

    private func end(_ payment: Payment) {
        let (isHungry, idlers) = state.withLock { state in
            if state.inFlight[payment.id]?.epoch == payment.epoch { state.inFlight[payment.id] = nil }
            return (state.isHungry, state.takeIdlers())
        }
        if isHungry { wake() }
        idlers.forEach { $0.resume() }
    }

    // MARK: - Leases

    /// Extends the time for what is being asked about. - Throws: `StoreError`.
    package func renewLeases() async throws {
        let held = state.withLock { $0.inFlight }
        guard !held.isEmpty else { return }
        try await environment.store.transaction { [environment, terms] transaction in
            let records = PaymentRecords(transaction: transaction)
            for (id, asking) in held {
                _ = try records.renew(id, epoch: asking.epoch, at: environment.time.now, on: terms)
            }
        }
    }

    /// At the start of the only process on the store: takes over what an earlier one was at work on. - Throws: `StoreError`.
    package func disownAll() async throws {
        let count = try await environment.store.transaction { [environment] transaction in
            try PaymentRecords(transaction: transaction).disownAll(at: environment.time.now)
        }
        guard count > 0 else { return }
        environment.logger.info(
            "payments of an earlier process are taken up", metadata: ["count": .stringConvertible(count)])
    }

    /// Takes up nothing more, and waits for the answers to what was asked: each comes within `PROVIDER_TIMEOUT_SECONDS`.
    package func stop() async {
        close()
        await idle()
    }

    /// Takes up nothing more.
    package func close() {
        state.withLock { $0.isStopped = true }
    }

    /// Waits until nothing is being asked about, nor taken up to be asked about.
    package func idle() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if !state.isIdle { state.idlers.append(continuation) }
                return state.isIdle
            }
            if isIdle { continuation.resume() }
        }
    }
}
