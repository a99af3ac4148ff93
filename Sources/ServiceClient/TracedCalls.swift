import Correlation
import Tracing

/// Records each attempt of a command as a client's span, whose identity the command takes to its service; so the service's span is
/// under it. The time that a command waits for its batch is part of it.
public struct TracedCalls: CommandCarrier {
    private let carrier: any CommandCarrier
    private let traces: Traces
    private let service: String
    private let baseURL: String

    /// A carrier around another.
    ///
    /// - Parameters:
    ///   - service: the name of the service that is called.
    ///   - baseURL: its address.
    public init(_ carrier: any CommandCarrier, of service: String, at baseURL: String, traces: Traces) {
        self.carrier = carrier
        self.traces = traces
        self.service = service
        self.baseURL = baseURL
    }

    public func carry(_ command: ServiceCommand) async throws(TransportError) -> ServiceAnswer {
        guard command.context.trace.isSampled else { return try await carrier.carry(command) }
        let trace = command.context.trace.child()
        guard let span = traces.start("POST \(command.path)", as: trace, ofKind: .client) else {
            return try await carrier.carry(command)
        }
        let command = ServiceCommand(
            path: command.path, key: command.key, body: command.body, context: command.context.with(callSpan: trace))
        let attempt = command.context.attempt
        span.updateAttributes { attributes in
            attributes["http.request.method"] = "POST"
            attributes["url.full"] = baseURL + command.path
            attributes["url.template"] = command.path
            attributes["peer.service"] = service
            if attempt > 1 { attributes["http.request.resend_count"] = attempt - 1 }
        }
        do throws(TransportError) {
            let answer = try await carrier.carry(command)
            let companions = command.context.tally?.commands ?? 1
            if companions > 1 { span.updateAttributes { $0["checkout.batch.commands"] = companions } }
            span.end(status: answer.status, problem: answer.problemCode)
            return answer
        } catch {
            span.fail(error.label, "\(error)")
            throw error
        }
    }
}

/// The span of a request that carries a batch. It belongs to many traces and so to none of them: it begins one of its own and links to
/// the span of each command in it. Recorded if one of those is.
struct BatchSpan {
    let trace: TraceContext
    private let span: any Span

    init?(_ traces: Traces, _ commands: some Collection<ServiceCommand>, to baseURL: String) {
        let recorded = commands.compactMap(\.context.callSpan).filter(\.isSampled)
        guard let trace = recorded.first?.newTrace(),
            let span = traces.start("POST \(CommandBatch.path)", as: trace, ofKind: .client)
        else { return nil }
        self.trace = trace
        self.span = span
        for command in recorded { span.link(to: command) }
        span.updateAttributes { attributes in
            attributes["http.request.method"] = "POST"
            attributes["url.full"] = baseURL + CommandBatch.path
            attributes["url.template"] = CommandBatch.path
            attributes["checkout.batch.commands"] = commands.count
        }
    }

    func end(_ response: ServiceResponse) { span.end(status: response.status, problem: nil) }

    func fail(_ error: TransportError) { span.fail(error.label, "\(error)") }
}

extension Span {
    /// Ends the span of a client with what it was answered: for a client every 4xx and 5xx is an error (semantic conventions for HTTP).
    fileprivate func end(status: Int, problem: String?) {
        updateAttributes { attributes in
            attributes["http.response.status_code"] = status
            if let problem { attributes["checkout.problem"] = problem }
        }
        guard status >= 400 else { return end() }
        fail(String(status), problem)
    }
}
