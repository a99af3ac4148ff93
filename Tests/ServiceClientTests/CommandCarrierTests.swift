import Correlation
import Resilience
import ServiceClient
import StrictJSON
import TestSupport
import Testing

/// What every carrier of commands does, whether it sends them one by one or together.
@Suite("Command carriers", .timeLimit(.minutes(5)))
struct CommandCarrierTests {
    /// The carriers there are.
    enum Form: CaseIterable {
        case single, batched
    }

    private let time = ManualTime()

    private func carrier(_ form: Form, _ service: CommandService) -> any CommandCarrier {
        let single = SingleCalls(
            baseURL: "http://service", transport: service, attemptTimeout: .seconds(2), time: time)
        return switch form {
        case .single: single
        case .batched: BatchedCalls(single: single, maximumInFlight: 2)
        }
    }

    private func command(
        _ path: String = "/reserve", key: String? = nil, body: String = "{}", user: String = "",
        requestID: String = "request-1", trace: TraceContext = TraceContext(continuing: nil),
        remaining: Duration = .seconds(30)
    ) throws -> ServiceCommand {
        ServiceCommand(
            path: path, key: key, body: Array(body.utf8),
            context: CallContext(
                requestID: try #require(RequestID(requestID)), trace: trace, user: user,
                deadline: Deadline(after: remaining, on: time)))
    }

    /// What becomes of many commands at once, in their order.
    private func outcomes(
        _ form: Form, _ service: CommandService, _ commands: [ServiceCommand]
    ) async -> [Result<ServiceAnswer, TransportError>] {
        let carrier = carrier(form, service)
        return await withTaskGroup { group in
            for (index, command) in commands.enumerated() {
                group.addTask { (index, await carrier.outcome(of: command)) }
            }
            var outcomes: [Int: Result<ServiceAnswer, TransportError>] = [:]
            for await (index, outcome) in group { outcomes[index] = outcome }
            return commands.indices.compactMap { outcomes[$0] }
        }
    }

    @Test("a command arrives once, with its key, its user, its request and its body", arguments: Form.allCases)
    func arrives(_ form: Form) async throws {
        let service = CommandService()
        let key = #""a\"b\\c""#
        let body = #"{"lines":[{"itemId":1,"quantity":2}],"note":"\u0000\n\"é😀"}"#
        let answer = try await carrier(form, service).carry(
            command("/reserve", key: key, body: body, user: "ada@x.org", requestID: "request-7"))
        #expect(answer == ServiceAnswer(status: 200, json: .object([])))
        let arrived = try #require(service.arrived.first)
        #expect(service.arrived.count == 1)
        #expect(arrived.path == "/reserve")
        #expect(arrived.key == key)
        #expect(arrived.user == "ada@x.org")
        #expect(arrived.requestID == "request-7")
        #expect(arrived.body == (try JSONParser.parse(body.utf8)))
    }

    @Test("a command without key or user arrives without", arguments: Form.allCases)
    func withoutKeyAndUser(_ form: Form) async throws {
        let service = CommandService()
        _ = try await carrier(form, service).carry(command("/release"))
        #expect(service.arrived.map(\.key) == [nil])
        #expect(service.arrived.map(\.user) == [""])
    }

    @Test("each command is a span of its own in the trace of its request (OP-04)", arguments: Form.allCases)
    func trace(_ form: Form) async throws {
        let service = CommandService()
        let trace = TraceContext(continuing: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        let commands = try (0..<3).map { _ in try command(trace: trace) }
        _ = await outcomes(form, service, commands)
        let parts = service.arrived.compactMap { $0.traceparent?.split(separator: "-").map(String.init) }
        #expect(parts.count == 3)
        #expect(parts.allSatisfy { $0.count == 4 && $0[1] == trace.traceID && $0[3] == "01" })
        #expect(Set(parts.map { $0[2] } + [trace.spanID]).count == 4)
    }

    @Test("the request says how long its answer is waited for (OP-06)", arguments: Form.allCases)
    func timeout(_ form: Form) async throws {
        let service = CommandService()
        _ = try await carrier(form, service).carry(command())
        let request = try #require(service.requests.first)
        #expect(request.method == "POST")
        #expect(request.timeout == .seconds(2))
        #expect(request.values("X-Request-Timeout-Ms") == ["2000"])
        #expect(request.values("Content-Type") == ["application/json"])
    }

    @Test("each answer goes to the command that it is for", arguments: Form.allCases)
    func ownAnswers(_ form: Form) async throws {
        let service = CommandService { arrived in
            CommandService.Answer(status: 200, body: #"{"of":"\#(arrived.key ?? "")"}"#)
        }
        let outcomes = await outcomes(form, service, try (0..<500).map { try command(key: "k\($0)") })
        #expect(
            outcomes
                == (0..<500).map { number in
                    .success(ServiceAnswer(status: 200, json: .object([.init("of", .string("k\(number)"))])))
                })
        #expect(Set(service.arrived.map(\.key)).count == 500)
        #expect(service.arrived.count == 500)
    }

    @Test("what a service refuses arrives with its status, its document and its wait", arguments: Form.allCases)
    func refusals(_ form: Form) async throws {
        let service = CommandService { arrived in
            switch arrived.key {
            case "refused": CommandService.Answer(status: 409, body: #"{"code":"insufficient-stock"}"#)
            case "later": CommandService.Answer(status: 503, body: #"{"code":"store-unavailable"}"#, retryAfter: 7)
            default: CommandService.Answer()
            }
        }
        let commands = try ["refused", "fine", "later"].map { try command(key: $0) }
        let outcomes = await outcomes(form, service, commands)
        #expect(
            outcomes == [
                .success(
                    ServiceAnswer(status: 409, json: .object([.init("code", .string("insufficient-stock"))]))),
                .success(ServiceAnswer(status: 200, json: .object([]))),
                .success(
                    ServiceAnswer(
                        status: 503, json: .object([.init("code", .string("store-unavailable"))]),
                        retryAfter: .seconds(7))),
            ])
        #expect(service.arrived.count == 3, "no carrier repeats anything")
    }

    @Test(
        "what becomes of a request becomes of each command in it, and nothing is repeated",
        arguments: Form.allCases,
        [
            .notSent("refused"), .notSentInTime, .timedOut, .connectionLost("reset"), .notHTTP, .responseTooLarge,
        ] as [TransportError])
    func transportErrors(_ form: Form, error: TransportError) async throws {
        let service = CommandService { _ throws(TransportError) in throw error }
        let outcomes = await outcomes(form, service, try (0..<3).map { try command(key: "k\($0)") })
        #expect(outcomes == Array(repeating: .failure(error), count: 3))
        #expect(service.arrived.count == 3)
    }

    @Test("without time left nothing is sent, and the command is known not to have run", arguments: Form.allCases)
    func noTimeLeft(_ form: Form) async throws {
        let service = CommandService()
        let late = try command(remaining: .seconds(1))
        time.advance(by: .seconds(1))
        #expect(await carrier(form, service).outcome(of: late) == .failure(.notSentInTime))
        #expect(service.requests.isEmpty)
    }
}

extension CommandCarrier {
    /// What becomes of a command.
    func outcome(of command: ServiceCommand) async -> Result<ServiceAnswer, TransportError> {
        do {
            return .success(try await carry(command))
        } catch {
            return .failure(error)
        }
    }
}
