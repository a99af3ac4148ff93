import Resilience
import ServiceClient
import StrictJSON
import Synchronization
import TestSupport

/// A service in memory that takes commands in both forms and answers each at once.
final class CommandService: Transport {
    /// A command as it arrived, in whichever form.
    struct Arrived: Equatable, Sendable {
        let path: String
        let key: String?
        let user: String
        let requestID: String?
        let traceparent: String?
        let body: JSONNode
    }

    /// The answer to one command.
    struct Answer: Sendable {
        var status = 200
        var body = "{}"
        var retryAfter: Int?
    }

    private let answer: @Sendable (Arrived) throws(TransportError) -> Answer
    private let state = Mutex<(arrived: [Arrived], requests: [ServiceRequest])>(([], []))

    /// - Parameter answer: answers a command; what it throws becomes of the whole request.
    init(_ answer: @escaping @Sendable (Arrived) throws(TransportError) -> Answer = { _ in Answer() }) {
        self.answer = answer
    }

    /// The commands, in the order they came.
    var arrived: [Arrived] { state.withLock { $0.arrived } }
    /// The requests that they came in.
    var requests: [ServiceRequest] { state.withLock { $0.requests } }

    func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let isBatch = request.url.hasSuffix(CommandBatch.path)
        guard let json = try? JSONParser.parse(request.body),
            let commands = isBatch ? try? batch(json) : [single(request, json)]
        else { return ServiceResponse(status: 400, body: []) }
        state.withLock { state in
            state.arrived += commands
            state.requests.append(request)
        }
        var answers: [Answer] = []
        for command in commands { answers.append(try answer(command)) }
        guard isBatch else {
            return ServiceResponse(
                status: answers[0].status, body: Array(answers[0].body.utf8),
                retryAfter: answers[0].retryAfter.map { .seconds($0) })
        }
        let body = CommandBatch.write(
            answers.map { .answered(status: $0.status, body: Array($0.body.utf8), retryAfter: $0.retryAfter) })
        return ServiceResponse(status: 200, body: body)
    }

    private func batch(_ json: JSONNode) throws -> [Arrived] {
        try CommandBatch.commands(json: json).map { received in
            Arrived(
                path: received.path, key: received.key, user: received.user, requestID: received.requestID,
                traceparent: received.traceparent, body: received.body)
        }
    }

    private func single(_ request: ServiceRequest, _ json: JSONNode) -> Arrived {
        Arrived(
            path: String(request.url.dropFirst("http://service".count)), key: request.values("Idempotency-Key").first,
            user: request.values("X-User-ID").first ?? "", requestID: request.values("X-Request-ID").first,
            traceparent: request.values("traceparent").first, body: json)
    }
}
