import Correlation
import Resilience
import StrictJSON
import Synchronization

/// Sends commands together when there are several: while as many requests as are allowed are under way, further commands
/// wait, and those that wait go as one when a place is free. There is no timer, and a command that is alone waits for nothing
/// but the end of the turn in which it came (decision 10).
///
/// A request that fails fails for every command in it, and each is settled by its own id. A command that the service would
/// rather not answer in a batch, because that would keep the others waiting, is sent in a request of its own.
public final class BatchedCalls: CommandCarrier {
    /// So many commands go together, unless far more wait. With all that wait in one request, all checkouts would go through the
    /// services in step, and one service would wait for the other (docs/decisions/0005).
    public static let usualBatch = 32
    /// Commands waiting beyond this are refused as not sent.
    public static let maximumWaiting = 16_384

    private let single: SingleCalls
    private let maximumInFlight: Int
    private let executor: (any TaskExecutor)?
    private let state = Mutex(State())

    private struct State {
        var waiting: [Waiting] = []
        var inFlight = 0
        var sendingIsScheduled = false
    }

    private struct Waiting: Sendable {
        let command: ServiceCommand
        let since: Duration
        let finish: @Sendable (Outcome) -> Void
    }

    private enum Outcome: Sendable {
        case answered(ServiceAnswer)
        case failed(TransportError)
        case alone
    }

    /// A carrier.
    ///
    /// - Parameters:
    ///   - single: knows the service, and carries what cannot go in a batch.
    ///   - maximumInFlight: how many requests are under way at once, at least one.
    ///   - executor: where the requests are put together; nil is Swift's default.
    public init(single: SingleCalls, maximumInFlight: Int = 4, executor: (any TaskExecutor)? = nil) {
        precondition(maximumInFlight > 0, "nothing would ever be sent")
        self.single = single
        self.maximumInFlight = maximumInFlight
        self.executor = executor
    }

    public func carry(_ command: ServiceCommand) async throws(TransportError) -> ServiceAnswer {
        // A place is free within one time-out, and an answer there within a second one. Who has less time than that cannot
        // share a request, since a request has one time-out for all.
        guard command.context.deadline.remaining(on: single.time) >= single.attemptTimeout * 2 else {
            return try await single.carry(command)
        }
        let outcome = await withCheckedContinuation { continuation in
            enqueue(command) { continuation.resume(returning: $0) }
        }
        switch outcome {
        case .answered(let answer): return answer
        case .failed(let error): throw error
        case .alone: return try await single.carry(command)
        }
    }

    private func enqueue(_ command: ServiceCommand, _ finish: @escaping @Sendable (Outcome) -> Void) {
        let (isAccepted, mustSchedule) = state.withLock { state in
            guard state.waiting.count < Self.maximumWaiting else { return (false, false) }
            state.waiting.append(Waiting(command: command, since: single.time.uptime, finish: finish))
            defer { state.sendingIsScheduled = true }
            return (true, !state.sendingIsScheduled)
        }
        guard isAccepted else { return finish(.failed(.queueFull)) }
        // In a turn of its own, so that everything that asks in this turn goes together.
        if mustSchedule { Task(executorPreference: executor) { self.sendWaiting() } }
    }

    private func sendWaiting() {
        state.withLock { $0.sendingIsScheduled = false }
        while let batch = nextBatch() {
            Task(executorPreference: executor) {
                await self.send(batch)
                self.state.withLock { $0.inFlight -= 1 }
                self.sendWaiting()
            }
        }
    }

    /// Takes a place and the commands that go with it; nil when there is no place or no command.
    private func nextBatch() -> [Waiting]? {
        let now = single.time.uptime
        let (batch, late) = state.withLock { state in
            var late: [Waiting] = []
            // The oldest are in front.
            let firstInTime = state.waiting.firstIndex { now - $0.since < single.attemptTimeout }
            if firstInTime != 0 {
                late = Array(state.waiting[..<(firstInTime ?? state.waiting.endIndex)])
                state.waiting.removeFirst(late.count)
            }
            guard state.inFlight < maximumInFlight, !state.waiting.isEmpty else { return ([Waiting](), late) }
            let most = min(CommandBatch.maximumCommands, max(Self.usualBatch, state.waiting.count / maximumInFlight))
            let count = Self.countThatFits(state.waiting.prefix(most))
            let batch = Array(state.waiting[..<count])
            state.waiting.removeFirst(count)
            state.inFlight += 1
            return (batch, late)
        }
        for command in late { command.finish(.failed(.notSentInTime)) }
        return batch.isEmpty ? nil : batch
    }

    /// How many commands from the front fit in one request; at least one.
    private static func countThatFits(_ waiting: ArraySlice<Waiting>) -> Int {
        var bytes = 0
        var count = 0
        for waiting in waiting {
            bytes += CommandBatch.maximumSize(of: waiting.command)
            guard count == 0 || bytes <= CommandBatch.maximumBytes else { break }
            count += 1
        }
        return count
    }

    private func send(_ batch: [Waiting]) async {
        for waiting in batch { waiting.command.context.tally?.note(batch.count) }
        var headers = [
            ServiceRequest.Header("Content-Type", "application/json"),
            ServiceRequest.Header(
                ServiceRequest.timeoutHeader, String(max(1, single.attemptTimeout.wholeMilliseconds))),
        ]
        let span = single.traces.flatMap { BatchSpan($0, batch.lazy.map(\.command), to: single.baseURL) }
        if let span { headers.append(.init("traceparent", span.trace.header)) }
        let request = ServiceRequest(
            method: "POST", url: single.baseURL + CommandBatch.path, headers: headers,
            body: CommandBatch.write(batch.lazy.map(\.command)), timeout: single.attemptTimeout)
        let response: ServiceResponse
        do throws(TransportError) {
            response = try await single.transport.send(request)
            span?.end(response)
        } catch {
            span?.fail(error)
            for waiting in batch { waiting.finish(.failed(error)) }
            return
        }
        let whole = ServiceAnswer(response)
        // The service takes no batches: it is older than this one. Only its own word is taken for that; any other 404 may stand
        // in place of the answer to commands that were executed.
        if whole.status == 404, whole.problemCode == "not-found" {
            for waiting in batch { waiting.finish(.alone) }
            return
        }
        // Turned away as a whole, because the service is stopping or has too much to do: that is true of each.
        if whole.status == 503 {
            for waiting in batch { waiting.finish(.answered(whole)) }
            return
        }
        guard whole.status == 200, let json = whole.json,
            let answers = try? CommandBatch.answers(json: json, count: batch.count)
        else {
            // No answer to any command, whatever it says of the batch.
            for waiting in batch { waiting.finish(.failed(.notHTTP)) }
            return
        }
        for (waiting, answer) in zip(batch, answers) { waiting.finish(answer.map { .answered($0) } ?? .alone) }
    }
}
