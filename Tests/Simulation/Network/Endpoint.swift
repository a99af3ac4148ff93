import Correlation
import HTTPTypes
import Idempotency
import Logging
import PaymentService
import Resilience
import ServiceClient
import ServiceKit
import StrictJSON

/// A service's commands as they are reached over the network: the same handlers, the same problems and the same bytes as
/// behind the HTTP server, without the server.
struct Endpoint: Sendable {
    private let commands: [String: CommandRoute]
    private let batches: BatchRoute
    private let time: any TimeSource
    private let logs: RequestLogs
    /// Payment's, whose commands about one payment name it in their paths.
    private let payments: PaymentService.Parts?

    init(_ routes: RouteCatalogue, _ environment: ServiceEnvironment, payments: PaymentService.Parts?) {
        self.payments = payments
        commands = routes.commands
        time = environment.time
        logs = RequestLogs(environment.logger)
        batches = BatchRoute(commands: routes.commands, time: environment.time, logs: logs)
    }

    func answer(_ request: ServiceRequest) async -> ServiceResponse {
        let requestID = request.header("X-Request-ID").flatMap { Correlation.RequestID($0) } ?? Correlation.RequestID()
        let trace = TraceContext(continuing: request.header("traceparent"))
        do {
            let json = try parse(request.body)
            if request.path == CommandBatch.path {
                let answers = await batches.answer(
                    try CommandBatch.commands(json: json), until: deadline(request))
                return ServiceResponse(status: 200, body: answers)
            }
            let route = commands[request.path]
            let isKeyed = route?.isKeyed ?? true
            let command = Command(
                key: isKeyed ? try request.header("Idempotency-Key").map { try IdempotencyKey(line: $0) } : nil,
                body: json,
                isBatched: false, requestID: requestID, trace: trace, user: request.header("X-User-ID") ?? "",
                deadline: deadline(request))
            let reply =
                if let route {
                    try await route.handle(command)
                } else {
                    try await aboutOnePayment(request.path, command)
                }
            return ServiceResponse(status: reply.status, body: reply.body)
        } catch {
            let problem = Problem(error, RequestLog(logs, requestID: requestID, trace: trace))
            return ServiceResponse(
                status: problem.kind.status.code,
                body: problem.json(instance: request.path, requestID: requestID.value),
                retryAfter: problem.retryAfterSeconds.map { .seconds($0) })
        }
    }

    private func aboutOnePayment(_ path: String, _ command: Command) async throws -> CommandReply {
        let parts = path.split(separator: "/").map(String.init)
        if let payments, parts.count == 3, parts[0] == "payments" {
            if parts[2] == "cancel" { return try await payments.cancel(payment: parts[1], command) }
            if parts[2] == "refund", let key = command.key {
                return try await payments.refund(payment: parts[1], command, key: key)
            }
        }
        throw Problem(.notFound, "There is nothing here.")
    }

    private func parse(_ body: [UInt8]) throws -> JSONNode {
        do {
            return try JSONParser.parse(body)
        } catch {
            throw Problem(.invalidJSON, "The body is not JSON.")
        }
    }

    private func deadline(_ request: ServiceRequest) -> Deadline? {
        request.header("X-Request-Timeout-Ms").flatMap { Int64($0) }.map {
            Deadline(after: .milliseconds($0), on: time)
        }
    }
}
