import Correlation
import Logging
import Resilience
import ServiceClient
import ServiceKit
import ServiceLifecycle
import Storage

/// Takes up, once at the start, every order that an earlier process left unfinished (hazards 13 to 17 and 20).
struct Recovery: Service {
    /// How many orders are taken up at once (hazard 21).
    static let maximumConcurrent = 64
    /// How many are read in one transaction.
    static let pageSize = 200

    let environment: ServiceEnvironment
    let log: SagaLog
    let runner: SagaRunner
    let checkoutTimeout: Duration

    func run() async throws {
        try? await cancelWhenGracefulShutdown { try await resumeAll() }
        // A service that returns stops its group; recovery being done is no reason to stop.
        try? await gracefulShutdown()
    }

    /// Resumes every unfinished order, page by page. - Throws: `CancellationError`.
    func resumeAll() async throws {
        var resumed = 0
        var after = ""
        while true {
            let position = after
            let page = try await reading { try await log.unfinished(after: position, limit: Self.pageSize) }
            guard let last = page.last else { break }
            after = last
            resumed += try await resume(page)
        }
        if resumed > 0 {
            environment.logger.info("unfinished orders taken up", metadata: ["count": .stringConvertible(resumed)])
        }
    }

    private func resume(_ orderIDs: [String]) async throws -> Int {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            var resumed = 0
            for (index, orderID) in orderIDs.enumerated() {
                if index >= Self.maximumConcurrent, try await group.next() == true { resumed += 1 }
                group.addTask { try await resume(orderID) }
            }
            for try await wasResumed in group where wasResumed { resumed += 1 }
            return resumed
        }
    }

    /// Resumes one order, unless this process is at work on it already, or it has ended since its id was read.
    private func resume(_ orderID: String) async throws -> Bool {
        try Task.checkCancellation()
        guard runner.adopt(orderID) else { return false }
        do {
            guard let order = try await reading({ try await log.unfinished(orderID) }) else {
                runner.dismiss(orderID)
                return false
            }
            _ = await runner.run(order, isResumed: true, context(of: order))
            return true
        } catch {
            runner.dismiss(orderID)
            if error is CancellationError { throw error }
            // One order that cannot be read does not keep the others from being taken up.
            environment.logger.critical(
                "an unfinished order cannot be read by this version and is left as it is",
                metadata: ["order_id": .string(orderID), "error": .string("\(error)")])
            return false
        }
    }

    /// Reads from the store, again and again while it does not answer: at a start it may be busy or full for a while.
    private func reading<T>(_ read: () async throws -> T) async throws -> T {
        while true {
            do {
                return try await read()
            } catch let error as StoreError {
                environment.logger.error("unfinished orders cannot be read", metadata: ["error": .string("\(error)")])
                try await environment.sleeper.sleep(for: .seconds(1))
            }
        }
    }

    private func context(of order: Order) -> CallContext {
        CallContext(
            requestID: Correlation.RequestID(), trace: TraceContext(continuing: nil), user: order.record.plan.user,
            deadline: Deadline(after: checkoutTimeout, on: environment.time))
    }
}
