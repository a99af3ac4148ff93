import Logging
import Resilience
import ServiceKit
import Synchronization

/// A net under the drivers of sagas: finds those that the store says are this process's and that nobody here drives, and puts
/// them down, to be taken up like any other. `Recovery` would only do that at the next start, and while this process renews
/// its leases nobody else does.
///
/// What is caught is a fault: of this program, or of a store that has done what it could not acknowledge. It costs one search
/// in each lease. A driver that lives after all is fenced, like an owner that was thought dead (hazard 18).
final class OrphanNet: Sendable {
    /// How many ids a line in the log names.
    private static let maximumNamed = 8

    private let environment: ServiceEnvironment
    private let log: SagaLog
    private let runner: SagaRunner
    private let configuration: OrderConfiguration
    private let undriven = LeaseWatch()
    /// Since when each lease has been held, as the turns of the net have seen it.
    private let heldSince = Mutex<[Lease: Duration]>([:])

    init(_ environment: ServiceEnvironment, log: SagaLog, runner: SagaRunner, configuration: OrderConfiguration) {
        self.environment = environment
        self.log = log
        self.runner = runner
        self.configuration = configuration
    }

    /// One turn. - Throws: what the store throws; the next turn finds the same.
    func takeUp() async throws {
        try await takeUpUndriven()
        try await takeUpStuck()
    }

    /// Sagas of this process that no driver here holds, and that have shown no sign of life for a lease since their lease ran
    /// out: a task was lost, or an error came between taking a saga and driving it.
    private func takeUpUndriven() async throws {
        let found = try await log.overdue(limit: Recovery.pageSize, longestWait: configuration.longestWait)
        // Read after the store: who begins or resumes a saga holds it within the lease that it was stored with.
        let leases = found.isEmpty ? [] : runner.leases
        let orphans = undriven.silent(
            found.filter { !leases.contains(Lease(orderID: $0.orderID, epoch: $0.epoch)) },
            for: configuration.leaseDuration, now: environment.time.uptime)
        guard !orphans.isEmpty else { return }
        warn("unfinished orders of this process had no driver and are taken up again", orphans.map(\.orderID))
        try await log.disown(orphans)
    }

    /// Sagas whose driver is at work for longer than any may be: it hangs in a call that never ends, or the store has refused
    /// to be written for long and its turn has not come yet.
    private func takeUpStuck() async throws {
        let (now, leases) = (environment.time.uptime, runner.leases)
        let stuck = heldSince.withLock { heldSince in
            let before = heldSince
            heldSince = [:]
            for lease in leases { heldSince[lease] = before[lease] ?? now }
            return leases.filter { lease in before[lease].map { now - $0 >= configuration.longestDrive } ?? false }
        }
        guard !stuck.isEmpty else { return }
        warn("unfinished orders made no headway and are taken up again", stuck.map(\.orderID).sorted())
        try await log.disown(stuck)
        runner.lose(Array(stuck))
    }

    private func warn(_ message: Logger.Message, _ orderIDs: [String]) {
        environment.logger.warning(
            message,
            metadata: [
                "count": .stringConvertible(orderIDs.count),
                "order_ids": .string(orderIDs.prefix(Self.maximumNamed).joined(separator: " ")),
            ])
    }
}
