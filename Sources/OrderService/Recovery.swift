import Correlation
import Logging
import Resilience
import ServiceClient
import ServiceKit
import Storage
import Synchronization
import Tracing

/// Takes up the sagas that nobody drives: those of an earlier process (hazards 13 to 17 and 20), those that were put down
/// because they could not go on, and those of another owner that has fallen silent (hazard 18).
///
/// The last find nothing today: a store, in a file or in memory, has one process (decision 11), and at its start that
/// has put down whatever others owned (`disownAll`). They are for a store that several processes share. The simulation
/// runs two on one.
package final class Recovery: Sendable {
    /// How many are driven at once (hazard 21).
    static let maximumConcurrent = 64
    /// How many rows one statement touches when it touches many.
    static let pageSize = 200

    private let environment: ServiceEnvironment
    private let log: SagaLog
    private let runner: SagaRunner
    private let configuration: OrderConfiguration
    private let watch = LeaseWatch()
    private let memory = Mutex(Memory())

    /// What earlier turns have seen.
    private struct Memory {
        /// How many sagas all turns together drive, or are looking for.
        var driven = 0
        /// The leases that were held a turn ago.
        var leases: Set<Lease> = []
        /// Whether a service was in trouble and the parked sagas have not been made due since.
        var sawTrouble = false
    }

    init(_ environment: ServiceEnvironment, log: SagaLog, runner: SagaRunner, configuration: OrderConfiguration) {
        self.environment = environment
        self.log = log
        self.runner = runner
        self.configuration = configuration
    }

    /// At the start of the only process that has the store open: whoever drove anything before is dead.
    package func disownAll() async throws {
        var disowned = 0
        var page = Self.pageSize
        while page == Self.pageSize {
            page = try await log.disown(limit: Self.pageSize)
            disowned += page
        }
        if disowned > 0 {
            environment.logger.info(
                "orders of an earlier process are taken up", metadata: ["count": .stringConvertible(disowned)])
        }
    }

    /// Drives every saga whose time has come, a few at a time, until none is left.
    ///
    /// Turns may overlap: one whose sagas take long keeps those of the next from nothing but their places.
    func takeUpDue() async {
        await withTaskGroup { group in
            var running = 0
            while !Task.isCancelled {
                for taken in await takeIntoFreePlaces() {
                    group.addTask {
                        await self.resume(taken)
                        self.memory.withLock { $0.driven -= 1 }
                    }
                    running += 1
                }
                guard running > 0 else { break }
                await group.next()
                running -= 1
            }
        }
    }

    /// Makes sagas due that need not wait any longer: those of another owner that is dead, where several processes
    /// share a store, and the parked ones when the services that were in trouble are well again. Apart from
    /// `takeUpDue`, which may be at work for long when there is much to do.
    func makeWaitingDue() async throws {
        let expired = try await log.expired(limit: Self.pageSize, longestWait: configuration.longestWait)
        let silent = watch.silent(expired, for: configuration.leaseDuration, now: environment.time.uptime)
        if !silent.isEmpty { try await log.disown(silent) }
        try await unparkIfFaultIsGone()
    }

    /// Tells the store that this process lives, for the sagas that have been under way for a while.
    func renewLeases() async throws {
        let held = runner.leases
        let before = memory.withLock { memory in
            defer { memory.leases = held }
            return memory.leases
        }
        // Those that were under way a turn ago: most end before they are ever renewed.
        var rest = Array(held.intersection(before))[...]
        while !rest.isEmpty {
            let page = Array(rest.prefix(Self.pageSize))
            rest = rest.dropFirst(page.count)
            runner.lose(try await log.renew(page))
        }
    }

    /// At the end of the process: what it still holds is put down, so that its successor need not wait for leases to run out.
    func handOver() async throws {
        var rest = Array(runner.leases)[...]
        while !rest.isEmpty {
            let page = Array(rest.prefix(Self.pageSize))
            rest = rest.dropFirst(page.count)
            try await log.disown(page)
            runner.lose(page)
        }
    }

    // MARK: - Steps

    /// Takes over as many sagas as there are places; in halves, so that not every end of one is a search for the next.
    private func takeIntoFreePlaces() async -> [TakenSaga] {
        let places = memory.withLock { memory in
            guard memory.driven <= Self.maximumConcurrent / 2 else { return 0 }
            defer { memory.driven = Self.maximumConcurrent }
            return Self.maximumConcurrent - memory.driven
        }
        guard places > 0 else { return [] }
        let taken = await take(places)
        memory.withLock { $0.driven -= places - taken.count }
        return taken
    }

    /// Takes over up to `limit` sagas. What cannot be read now is found again in the next turn; what was taken before that is
    /// this process's to drive, and nobody else's.
    private func take(_ limit: Int) async -> [TakenSaga] {
        var taken: [TakenSaga] = []
        do {
            for saga in try await log.due(limit: limit, longestWait: configuration.longestWait) {
                do {
                    if let saga = try await log.take(saga) { taken.append(saga) }
                } catch let error as SagaLog.Unreadable {
                    try await setAside(saga, error)
                }
            }
        } catch {
            environment.logger.error("unfinished orders cannot be read", metadata: ["error": .string("\(error)")])
        }
        return taken
    }

    /// One order that cannot be read does not keep the others from being taken up.
    private func setAside(_ saga: WaitingSaga, _ error: SagaLog.Unreadable) async throws {
        environment.logger.critical(
            "an unfinished order cannot be read by this version and is left as it is",
            metadata: ["order_id": .string(saga.orderID), "error": .string("\(error)")])
        try await log.setAside(saga, for: configuration.parkedRetry, reason: "cannot be read by this version")
    }

    private func unparkIfFaultIsGone() async throws {
        // A half-open breaker knows no more than that some time has passed.
        guard runner.servicesAreWell else { return memory.withLock { $0.sawTrouble = true } }
        guard memory.withLock({ $0.sawTrouble }) else { return }
        try await environment.stepByStep { try await log.unpark(limit: Self.pageSize) == Self.pageSize }
        memory.withLock { $0.sawTrouble = false }
    }

    /// Drives a saga on, in a trace of its own that points to the one in which it began, and under the name of its first request.
    private func resume(_ taken: TakenSaga) async {
        let context = context(of: taken)
        environment.logger.info(
            "an unfinished order is taken up",
            metadata: SagaCaller.logMetadata(
                taken.order.record.plan, context,
                [
                    "saga_step": .string(taken.order.record.step.name), "rounds": .stringConvertible(taken.rounds),
                ]))
        guard let span = environment.traces?.start("resume checkout", as: context.trace) else {
            return await runner.resume(taken, context)
        }
        if let origin = taken.origin?.trace { span.link(to: origin) }
        span.updateAttributes { attributes in
            attributes["checkout.order_id"] = taken.order.record.plan.orderID
            attributes["checkout.request_id"] = context.requestID.value
            attributes["checkout.saga.step"] = taken.order.record.step.name
            attributes["checkout.saga.rounds"] = taken.rounds
        }
        await InstrumentationContext.withValue(span.context) { await runner.resume(taken, context) }
        span.end()
    }

    private func context(of taken: TakenSaga) -> CallContext {
        let trace = taken.origin?.trace?.newTrace()
        return CallContext(
            requestID: taken.origin?.requestID ?? Correlation.RequestID(),
            trace: trace ?? TraceContext(continuing: nil, sampler: environment.traces?.sampler),
            user: taken.order.record.plan.user,
            deadline: Deadline(after: configuration.checkoutTimeout, on: environment.time))
    }
}
