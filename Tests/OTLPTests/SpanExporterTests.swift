import Correlation
import Logging
import Prometheus
import Resilience
import ServiceClient
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing
import Tracing

@testable import OTLP

@Suite("Span exporter", .timeLimit(.minutes(5)))
struct SpanExporterTests {
    private let registry = PrometheusRegistry([SpanCounters.family])
    private let time = ManualTime()
    private let log = LogRecorder()

    /// A collector that answers what a test says.
    private final class Collector: Transport {
        private let state: Mutex<(requests: [ServiceRequest], answers: [Result<ServiceResponse, TransportError>])>
        let gate: Gate?

        init(_ answers: [Result<ServiceResponse, TransportError>] = [], gate: Gate? = nil) {
            state = Mutex(([], answers))
            self.gate = gate
        }

        var requests: [ServiceRequest] { state.withLock { $0.requests } }

        /// The next answer; when there are none left, that all went well.
        func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
            let answer = state.withLock { state in
                state.requests.append(request)
                return state.answers.isEmpty
                    ? .success(ServiceResponse(status: 200, body: [])) : state.answers.removeFirst()
            }
            await gate?.pass()
            return try answer.get()
        }
    }

    /// Sleeps for ever where an exporter waits for company or for its bound, and not at all between attempts.
    private struct Sleep: Sleeper {
        let long: [Duration]
        let recorder: RecordingSleeper

        func sleep(for duration: Duration) async throws {
            guard long.contains(duration) else { return try await recorder.sleep(for: duration) }
            try await Task.sleep(for: .seconds(3600))
        }
    }

    private func exporter(
        _ collector: Collector, queue: Int = 100, batch: Int = 2, delay: Duration = .seconds(5),
        isPatient: Bool = true, waits: RecordingSleeper? = nil
    ) -> SpanExporter {
        let recorder = waits ?? RecordingSleeper(advancing: time)
        let long = [delay] + (isPatient ? [SpanExporter.flushTimeout] : [])
        return SpanExporter(
            OTLPConfiguration(
                endpoint: "http://collector:4318/v1/traces", headers: [.init("api-key", "secret-of-ours")],
                resource: [.init("service.name", "order")], scheduleDelay: delay, maximumQueue: queue,
                maximumBatch: batch),
            scope: ("checkout", "1"), transport: collector, metrics: registry,
            sleeper: Sleep(long: long, recorder: recorder), time: time,
            logger: Logger(label: "test") { [log, time] _ in
                TestLogHandler(time: time, log: log)
            })
    }

    private func end(_ count: Int, in exporter: SpanExporter) {
        for number in 0..<count { exporter.tracer.startSpan("span \(number)", context: .topLevel).end() }
    }

    private func counted(_ result: String) -> Int {
        registry.text.split(separator: "\n").first { $0.hasPrefix(#"otlp_spans_total{result="\#(result)"} "#) }
            .flatMap { $0.split(separator: " ").last.flatMap { Int($0) } } ?? -1
    }

    /// Runs an exporter for as long as `body` takes, then stops it as a service is stopped.
    private func run(_ exporter: SpanExporter, _ body: @Sendable () async throws -> Void) async throws {
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        let group = ServiceGroup(
            configuration: .init(
                services: [exporter, StartSignal(continuation: start)],
                logger: Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }))
        try await withThrowingTaskGroup { tasks in
            tasks.addTask { try await group.run() }
            // A group that is stopped before it has started would never start.
            for await _ in started { break }
            try await body()
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private struct StartSignal: Service {
        let continuation: AsyncStream<Void>.Continuation

        func run() async throws {
            continuation.yield()
            try? await gracefulShutdown()
        }
    }

    @Test("a full batch goes at once, as protocol buffers, with the headers that were set")
    func batch() async throws {
        let collector = Collector()
        let exporter = exporter(collector)
        try await run(exporter) {
            end(2, in: exporter)
            try await eventually { counted("exported") == 2 }
        }
        let request = try #require(collector.requests.first)
        #expect(collector.requests.count == 1)
        #expect(request.method == "POST")
        #expect(request.url == "http://collector:4318/v1/traces")
        #expect(request.headers.contains(.init("Content-Type", "application/x-protobuf")))
        #expect(request.headers.contains(.init("api-key", "secret-of-ours")))
        #expect(request.timeout == .seconds(10))
        #expect(String(decoding: request.body, as: UTF8.self).contains("span 1"))
    }

    @Test("less than a batch goes when it has waited long enough")
    func delay() async throws {
        let collector = Collector()
        let exporter = SpanExporter(
            OTLPConfiguration(endpoint: "http://collector/v1/traces"), scope: ("checkout", "1"), transport: collector,
            metrics: registry,
            sleeper: Sleep(long: [SpanExporter.flushTimeout], recorder: RecordingSleeper(maximum: .max)), time: time,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        end(1, in: exporter)
        try await run(exporter) { try await eventually { counted("exported") == 1 } }
        #expect(collector.requests.count == 1)
    }

    @Test("what is left at a stop is sent before the process ends")
    func stop() async throws {
        let collector = Collector()
        let exporter = exporter(collector, batch: 3)
        try await run(exporter) { end(8, in: exporter) }
        #expect(counted("exported") == 8)
        #expect(counted("unsent") == 0)
    }

    @Test("a stop does not wait for a collector that hangs, and what it has not taken is counted")
    func hangingAtStop() async throws {
        let gate = Gate()
        let collector = Collector(gate: gate)
        let exporter = exporter(collector, isPatient: false)
        end(1, in: exporter)
        try await run(exporter) {
            end(1, in: exporter)
            await gate.arrival()
            end(3, in: exporter)
        }
        #expect(counted("exported") == 0)
        #expect(counted("unsent") == 3)
        gate.open()
    }

    @Test("a stop tries each batch once: a collector that is gone does not hold it up")
    func goneAtStop() async throws {
        let collector = Collector(Array(repeating: .failure(.notSent("refused")), count: 100))
        let exporter = exporter(collector, batch: 10)
        try await run(exporter) { end(5, in: exporter) }
        #expect(collector.requests.count == 1)
        #expect(counted("export_failed") == 5)
    }

    @Test(
        "what the collector cannot take now is tried again, with longer and longer waits",
        arguments: [
            .success(ServiceResponse(status: 429, body: [])), .success(ServiceResponse(status: 502, body: [])),
            .success(ServiceResponse(status: 503, body: [])), .success(ServiceResponse(status: 504, body: [])),
            .failure(.notSent("refused")), .failure(.timedOut), .failure(.connectionLost("cut")),
        ] as [Result<ServiceResponse, TransportError>])
    func retried(answer: Result<ServiceResponse, TransportError>) async throws {
        let waits = RecordingSleeper(advancing: time)
        let collector = Collector([answer, answer, answer])
        let exporter = exporter(collector, waits: waits)
        try await run(exporter) {
            end(2, in: exporter)
            try await eventually { counted("exported") == 2 }
        }
        #expect(collector.requests.count == 4)
        #expect(Set(collector.requests.map(\.body)).count == 1)
        #expect(zip(waits.sleeps, [1, 2, 4]).allSatisfy { $0 >= .seconds($1) && $0 < .seconds($1 + 1) })
    }

    @Test("the wait that a collector asks for is kept")
    func retryAfter() async throws {
        let waits = RecordingSleeper(advancing: time)
        let collector = Collector([.success(ServiceResponse(status: 503, body: [], retryAfter: .seconds(4)))])
        let exporter = exporter(collector, waits: waits)
        try await run(exporter) {
            end(2, in: exporter)
            try await eventually { counted("exported") == 2 }
        }
        #expect(waits.sleeps == [.seconds(4)])
    }

    @Test("after five attempts a batch is given up, counted, and told of once until all is well again")
    func givenUp() async throws {
        let collector = Collector(Array(repeating: .failure(.notSent("refused")), count: 10))
        let exporter = exporter(collector)
        try await run(exporter) {
            for batch in 1...3 {
                end(2, in: exporter)
                try await eventually { counted("export_failed") + counted("exported") == 2 * batch }
            }
        }
        #expect(collector.requests.count == 11)
        #expect(counted("export_failed") == 4)
        #expect(counted("exported") == 2)
        let warnings = try log.events("spans cannot be exported and are dropped")
        #expect(warnings.count == 1)
        #expect(try log.events("spans are exported again").count == 1)
        #expect(!log.lines.contains { $0.contains("secret-of-ours") })
    }

    @Test("what the collector refuses is not sent again", arguments: [400, 401, 404, 413, 500])
    func refused(status: Int) async throws {
        let collector = Collector([.success(ServiceResponse(status: status, body: []))])
        let exporter = exporter(collector)
        try await run(exporter) {
            end(2, in: exporter)
            try await eventually { counted("export_failed") == 2 }
        }
        #expect(collector.requests.count == 1)
    }

    @Test("spans that a collector takes and refuses all the same are counted as rejected")
    func rejected() async throws {
        var answer = ProtobufWriter()
        answer.message(1) { $0.unsigned(1, 1) }
        let collector = Collector([.success(ServiceResponse(status: 200, body: answer.bytes))])
        let exporter = exporter(collector)
        try await run(exporter) {
            end(2, in: exporter)
            try await eventually { counted("rejected") == 1 && counted("exported") == 1 }
        }
    }

    @Test("while a collector hangs spans are queued, then dropped and counted, and nobody waits")
    func slow() async throws {
        let gate = Gate()
        let exporter = exporter(Collector(gate: gate), queue: 4, batch: 2)
        try await run(exporter) {
            end(2, in: exporter)
            await gate.arrival()
            end(10, in: exporter)
            #expect(counted("queue_full") == 6)
            gate.open()
            try await eventually { counted("exported") == 6 }
        }
        #expect(counted("exported") + counted("queue_full") == 12)
    }
}

/// Hands lines to a recorder, with the message alone.
private struct TestLogHandler: LogHandler {
    let time: ManualTime
    let log: LogRecorder
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    init(time: ManualTime, log: LogRecorder) {
        self.time = time
        self.log = log
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let members = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        log.append(
            Array(#"{"message":"\#(event.message)","members":"\#(members.replacing("\"", with: "'"))"}"#.utf8) + [10])
    }
}
