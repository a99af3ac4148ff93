import Correlation
import Resilience
import TestSupport
import Testing
import Tracing

@testable import ServiceClient

@Suite("Traced calls", .timeLimit(.minutes(5)))
struct TracedCallsTests {
    private let tracer = RecordingTracer()
    private var traces: Traces { Traces(tracer, sampler: .parentBasedAlwaysOn) }
    private let time = ManualTime()

    private func carrier(_ service: CommandService, isBatched: Bool) -> TracedCalls {
        let single = SingleCalls(
            baseURL: "http://service", transport: service, attemptTimeout: .seconds(2), time: time, traces: traces)
        let carrier: any CommandCarrier = isBatched ? BatchedCalls(single: single, maximumInFlight: 1) : single
        return TracedCalls(carrier, of: "stock", at: "http://service", traces: traces)
    }

    private func command(_ trace: TraceContext, key: String = "k", attempt: Int = 1) throws -> ServiceCommand {
        let context = CallContext(
            requestID: try #require(RequestID("request-1")), trace: trace, user: "",
            deadline: Deadline(after: .seconds(30), on: time), attempt: attempt, tally: RequestTally())
        return ServiceCommand(path: "/reserve", key: key, body: Array("{}".utf8), context: context)
    }

    @Test(
        "an attempt is a client's span under its step, and takes its identity to the service", arguments: [false, true])
    func span(isBatched: Bool) async throws {
        let service = CommandService()
        let trace = TraceContext(continuing: nil)
        _ = try await carrier(service, isBatched: isBatched).carry(command(trace))
        let span = try #require(tracer.spans("POST /reserve").first)
        #expect(span.kind == .client)
        #expect(span.isUnder(trace))
        #expect(service.arrived.map(\.traceparent) == [span.trace.header])
        #expect(span.attributes.get("http.request.method") == .string("POST"))
        #expect(span.attributes.get("url.full") == .string("http://service/reserve"))
        #expect(span.attributes.get("url.template") == .string("/reserve"))
        #expect(span.attributes.get("peer.service") == .string("stock"))
        #expect(span.attributes.get("http.response.status_code") == .int64(200))
        #expect(span.attributes.get("http.request.resend_count") == nil)
        #expect(span.status == nil)
    }

    @Test("a further attempt says the how manieth it is")
    func resent() async throws {
        _ = try await carrier(CommandService(), isBatched: false).carry(
            command(TraceContext(continuing: nil), attempt: 3))
        #expect(tracer.spans.first?.attributes.get("http.request.resend_count") == .int64(2))
    }

    @Test("a refusal is an error of the client's span, with the problem's code", arguments: [false, true])
    func refused(isBatched: Bool) async throws {
        let service = CommandService { _ in
            CommandService.Answer(status: 409, body: #"{"status":409,"code":"insufficient-stock"}"#)
        }
        _ = try await carrier(service, isBatched: isBatched).carry(command(TraceContext(continuing: nil)))
        let span = try #require(tracer.spans("POST /reserve").first)
        #expect(span.attributes.get("http.response.status_code") == .int64(409))
        #expect(span.attributes.get("error.type") == .string("409"))
        #expect(span.attributes.get("checkout.problem") == .string("insufficient-stock"))
        #expect(span.status?.code == .error)
    }

    @Test("so is the lack of an answer, with its cause", arguments: [false, true])
    func failed(isBatched: Bool) async throws {
        let service = CommandService { _ throws(TransportError) in throw .timedOut }
        await #expect(throws: TransportError.timedOut) {
            try await carrier(service, isBatched: isBatched).carry(command(TraceContext(continuing: nil)))
        }
        let span = try #require(tracer.spans("POST /reserve").first)
        #expect(span.attributes.get("error.type") == .string("timed_out"))
        #expect(span.attributes.get("http.response.status_code") == nil)
        #expect(span.status?.code == .error)
    }

    @Test("a batch is a span of a trace of its own, which links to the recorded commands and travels with the request")
    func batch() async throws {
        let service = CommandService()
        let carrier = carrier(service, isBatched: true)
        let recorded = [TraceContext(continuing: nil), TraceContext(continuing: nil)]
        let unrecorded = TraceContext(continuing: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
        try await withThrowingTaskGroup { group in
            for trace in recorded + [unrecorded] {
                let command = try command(trace)
                group.addTask { _ = try await carrier.carry(command) }
            }
            try await group.waitForAll()
        }
        // Whether they went together is up to the carrier; whatever went together is linked.
        let links = tracer.spans("POST /internal/batch").flatMap(\.links)
        let commands = tracer.spans("POST /reserve")
        #expect(Set(links) == Set(commands.map(\.trace)))
        #expect(commands.count == 2)
        let batches = tracer.spans("POST /internal/batch")
        #expect(!batches.isEmpty)
        for batch in batches {
            #expect(batch.trace.numbers.parent == 0)
            #expect(!commands.contains { $0.trace.traceID == batch.trace.traceID })
            #expect(service.requests.contains { $0.values("traceparent") == [batch.trace.header] })
        }
    }

    @Test("what is not recorded makes no span, and still travels with its trace", arguments: [false, true])
    func unsampled(isBatched: Bool) async throws {
        let service = CommandService()
        let trace = TraceContext(continuing: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
        _ = try await carrier(service, isBatched: isBatched).carry(command(trace))
        #expect(tracer.spans.isEmpty)
        #expect(service.arrived.first?.traceparent?.hasPrefix("00-\(trace.traceID)-") == true)
        #expect(service.requests.allSatisfy { $0.url.hasSuffix("/reserve") || $0.values("traceparent").isEmpty })
    }
}
