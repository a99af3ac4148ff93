import Correlation
import HTTPTypes
import Hummingbird
import Resilience
import ServiceClient
import Storage
import StrictJSON
import TestSupport
import Testing
import Tracing

@testable import ServiceKit

@Suite("Spans of a service", .timeLimit(.minutes(5)))
struct ServerSpanTests {
    private static let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
    private let test: TestEnvironment
    private let tracer = RecordingTracer()

    init() throws { test = try TestEnvironment(migrations: []) }

    /// A service whose routes write to the store, or fail in one way each.
    private func run(
        sampler: Sampler = .parentBasedAlwaysOn, _ body: @Sendable (RouteClient) async throws -> Void
    ) async throws {
        let traces = Traces(tracer, sampler: sampler)
        let recording = test.environment(recording: tracer, sampler: sampler)
        let environment = ServiceEnvironment(
            store: TracedStore(test.store, traces: traces), keys: recording.keys, time: test.time,
            sleeper: test.sleeper, identifiers: recording.identifiers, logger: recording.logger, traces: traces)
        let store = environment.store
        var routes = RouteCatalogue()
        routes.get("/items/:id") { _, context in
            context.notes.orderID = "order-1"
            return .json(try await store.transaction { _ in Array("{}".utf8) })
        }
        routes.command("/reserve") { _ in .made(try await store.transaction { _ in Array("{}".utf8) }) }
        routes.command("/refused") { _ in
            try await store.transaction { _ in throw Problem(.insufficientStock, "Only 1 is left.") }
        }
        routes.command("/alone") { command in
            if command.isBatched { throw NotInBatch() }
            return .made(Array("{}".utf8))
        }
        routes.command("/full") { _ in throw StoreError.full }
        routes.acceptBatches(in: environment)
        try await BuiltService(routes: routes).test(in: environment, body)
    }

    // MARK: - Requests

    @Test("a request is a server's span under the caller's, with its route, its status and its ids")
    func request() async throws {
        try await run { client in _ = try await client.get("/items/7?limit=1") }
        let span = try #require(tracer.spans.first { $0.kind == .server })
        #expect(span.name == "GET /items/{id}")
        #expect(span.attributes.get("http.route") == .string("/items/{id}"))
        #expect(span.kind == .server)
        #expect(span.trace.numbers.parent == 0)
        #expect(span.attributes.get("http.request.method") == .string("GET"))
        #expect(span.attributes.get("url.path") == .string("/items/7"))
        #expect(span.attributes.get("http.response.status_code") == .int64(200))
        #expect(span.attributes.get("checkout.order_id") == .string("order-1"))
        #expect(span.attributes.get("checkout.request_id") != nil)
        #expect(span.status == nil)
        let line = try #require(try test.log.events("request").first)
        #expect(line["trace_id"] == .string(span.trace.traceID))
        #expect(line["span_id"] == .string(span.trace.spanID))
        #expect(line["order_id"] == .string("order-1"))
    }

    @Test("a request continues its caller's trace")
    func continued() async throws {
        try await run { client in
            _ = try await client.post("/reserve", "{}", headers: ["traceparent": "\(Self.header)-01"])
        }
        let caller = try #require(TraceContext(of: "\(Self.header)-01"))
        #expect(try #require(tracer.spans("POST /reserve").first).isUnder(caller))
    }

    @Test(
        "only a 5xx is an error of the server",
        arguments: [("/refused", 409, false), ("/full", 503, true), ("/nowhere", 404, false)])
    func errors(path: String, status: Int, isError: Bool) async throws {
        try await run { client in
            let answer = try await client.post(path, "{}")
            #expect(answer.status == status)
        }
        let span = try #require(tracer.spans.first { $0.kind == .server })
        #expect(span.attributes.get("http.response.status_code") == .int64(Int64(status)))
        #expect((span.status?.code == .error) == isError)
        #expect((span.attributes.get("error.type") == .string("\(status)")) == isError)
    }

    @Test("health is asked for all the time, and is not recorded")
    func health() async throws {
        try await run { client in
            _ = try await client.get("/health/live")
            _ = try await client.get("/health/ready")
        }
        #expect(tracer.spans.isEmpty)
    }

    @Test("what is sampled out is not recorded, and says so to whoever is called next")
    func sampledOut() async throws {
        try await run(sampler: Sampler(share: 0, followsParent: true)) { client in
            _ = try await client.get("/items/7")
            _ = try await client.post("/reserve", "{}", headers: ["traceparent": "\(Self.header)-00"])
            _ = try await client.batch([BatchedCommand("/reserve", "{}", traceparent: "\(Self.header)-00")])
        }
        #expect(tracer.spans.isEmpty)
    }

    // MARK: - The store

    @Test("a transaction is a span under the request that makes it")
    func transaction() async throws {
        try await run { client in _ = try await client.post("/reserve", "{}") }
        let request = try #require(tracer.spans("POST /reserve").first)
        let transaction = try #require(tracer.spans("transaction").first)
        #expect(tracer.spans("transaction").count == 1)
        #expect(transaction.isUnder(request))
        #expect(transaction.attributes.get("db.system.name") == .string("sqlite"))
        #expect(transaction.status == nil)
    }

    @Test("a transaction that its body undoes is no error; one that the store refuses is")
    func undone() async throws {
        try await run { client in _ = try await client.post("/refused", "{}") }
        let undone = try #require(tracer.spans("transaction").first)
        #expect(undone.status == nil)
        #expect(undone.attributes.get("checkout.rolled_back") == .bool(true))

        let gated = GatedStore(test.store)
        gated.failNext()
        let traces = Traces(tracer, sampler: .parentBasedAlwaysOn)
        let store = TracedStore(gated, traces: traces)
        let trace = TraceContext(continuing: nil)
        await #expect(throws: StoreError.self) {
            try await InstrumentationContext.withValue(InstrumentationContext(in: trace)) {
                try await store.transaction { _ in }
            }
        }
        let refused = try #require(tracer.spans("transaction").last)
        #expect(refused.isUnder(trace))
        #expect(refused.attributes.get("error.type") == .string("full"))
        #expect(refused.status?.code == .error)
    }

    @Test("what a service does by itself is not recorded")
    func background() async throws {
        let store = TracedStore(test.store, traces: Traces(tracer, sampler: .parentBasedAlwaysOn))
        _ = try await store.transaction { _ in 1 }
        #expect(tracer.spans.isEmpty)
    }

    // MARK: - Batches

    @Test("each command of a batch is a span under its sender's, links to the batch, and has its own transaction")
    func batch() async throws {
        let senders = (0..<2).map { _ in TraceContext(continuing: nil) }
        try await run { client in
            _ = try await client.batch([
                BatchedCommand("/reserve", "{}", requestID: "request-0", traceparent: senders[0].header),
                BatchedCommand("/refused", "{}", requestID: "request-1", traceparent: senders[1].header),
            ])
        }
        let batch = try #require(tracer.spans("POST \(CommandBatch.path)").first)
        let reserve = try #require(tracer.spans("POST /reserve").first)
        let refused = try #require(tracer.spans("POST /refused").first)
        #expect(reserve.isUnder(senders[0]))
        #expect(refused.isUnder(senders[1]))
        for command in [reserve, refused] {
            #expect(command.kind == .server)
            #expect(command.links == [batch.trace])
            #expect(tracer.spans("transaction").contains { $0.isUnder(command) })
        }
        #expect(refused.attributes.get("http.response.status_code") == .int64(409))
        #expect(reserve.attributes.get("checkout.request_id") == .string("request-0"))
        let line = try #require(
            try test.log.events("request").first { $0["request_id"] == .string("request-0") })
        #expect(line["span_id"] == .string(reserve.trace.spanID))
    }

    @Test("a command that must go alone ends its span without a status")
    func alone() async throws {
        try await run { client in
            _ = try await client.batch([BatchedCommand("/alone", "{}"), BatchedCommand("/nowhere-1", "{}")])
        }
        let alone = try #require(tracer.spans("POST /alone").first)
        #expect(alone.attributes.get("checkout.batch.alone") == .bool(true))
        #expect(alone.attributes.get("http.response.status_code") == nil)
        // A path without a route names no span: a client may send any.
        #expect(tracer.spans("POST none").count == 1)
    }
}
