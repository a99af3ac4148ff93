import Correlation
import HTTPTypes
import Idempotency
import Logging
import Resilience
import ServiceClient

/// Answers the commands of a batch, each by the handler of its own route and each in a transaction of its own, so that what
/// one refuses does not touch another. Arriving together, they share commits.
package struct BatchRoute: Sendable {
    let commands: [String: CommandRoute]
    let time: any TimeSource
    let logs: RequestLogs
    let traces: Traces?

    package init(
        commands: [String: CommandRoute], time: any TimeSource, logs: RequestLogs, traces: Traces? = nil
    ) {
        self.commands = commands
        self.time = time
        self.logs = logs
        self.traces = traces
    }

    /// - Parameter deadline: when the sender stops waiting for the batch, and so for each command in it.
    package func answer(_ batch: [CommandBatch.Received], until deadline: Deadline?) async -> [UInt8] {
        guard batch.count > 1 else { return CommandBatch.write([await answer(batch[0], deadline)]) }
        let answers = await withTaskGroup { group in
            for (index, received) in batch.enumerated() {
                group.addImmediateTask { (index, await answer(received, deadline)) }
            }
            var answers = [CommandBatch.Answer](repeating: .alone, count: batch.count)
            for await (index, answer) in group { answers[index] = answer }
            return answers
        }
        return CommandBatch.write(answers)
    }

    private func answer(_ received: CommandBatch.Received, _ deadline: Deadline?) async -> CommandBatch.Answer {
        let start = time.uptime
        let requestID = received.requestID.flatMap { Correlation.RequestID($0) } ?? Correlation.RequestID()
        let trace = TraceContext(continuing: received.traceparent, sampler: traces?.sampler)
        let handler = commands[received.path]
        let route = handler == nil ? "none" : received.path
        let span = traces.flatMap { ServerSpan($0, commandTo: route, as: trace) }
        let notes = RequestNotes()
        let line = RequestLog(logs, requestID: requestID, trace: trace)
        let answer: CommandBatch.Answer
        let status: Int
        do {
            let reply: CommandReply
            if let span {
                reply = try await span.within {
                    try await self.reply(to: received, by: handler, requestID, trace, deadline, notes)
                }
            } else {
                reply = try await self.reply(to: received, by: handler, requestID, trace, deadline, notes)
            }
            status = reply.status
            answer = .answered(status: status, body: reply.body, retryAfter: nil)
        } catch is NotInBatch {
            span?.endAlone()
            return .alone
        } catch {
            let problem = Problem(error, line)
            status = problem.kind.status.code
            answer = .answered(
                status: status, body: problem.json(instance: received.path, requestID: requestID.value),
                retryAfter: problem.retryAfterSeconds)
        }
        line.write(
            .info, method: "POST", route: route, status: status, duration: time.uptime - start, orderID: notes.orderID)
        span?.end(route: route, status: status, requestID: requestID, orderID: notes.orderID)
        return answer
    }

    private func reply(
        to received: CommandBatch.Received, by route: CommandRoute?, _ requestID: Correlation.RequestID,
        _ trace: TraceContext, _ deadline: Deadline?, _ notes: RequestNotes
    ) async throws -> CommandReply {
        guard let route else {
            throw Problem(.notFound, "There is no command at this address.")
        }
        guard received.user.isEmpty || UserID.isValid(received.user) else { throw Problem.userIDInvalid }
        let key = route.isKeyed ? try received.key.map { try IdempotencyKey(line: $0) } : nil
        let command = Command(
            key: key, body: received.body, isBatched: true, requestID: requestID, trace: trace, user: received.user,
            deadline: deadline, notes: notes)
        return try await route.handle(command)
    }
}
