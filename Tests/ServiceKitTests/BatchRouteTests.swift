import Correlation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Idempotency
import ServiceClient
import ServiceKit
import Storage
import StrictJSON
import Synchronization
import TestSupport
import Testing

private struct SecretError: Error, CustomStringConvertible {
    let description = "password=hunter2"
}

@Suite("The route of batches", .timeLimit(.minutes(5)))
struct BatchRouteTests {
    private let test: TestEnvironment
    private let service: BuiltService
    private let executed = Counter()

    /// A service whose commands show what they were given, or fail in one way each.
    init() throws {
        let test = try TestEnvironment(migrations: [])
        let executed = executed
        var routes = RouteCatalogue()
        @Sendable func show(_ command: Command) -> CommandReply {
            executed.add()
            return .made(
                JSONWriter.bytes { json in
                    json.object { json in
                        if let key = command.key { json.string("key", key.value) }
                        json.string("user", command.user)
                        json.string("requestId", command.requestID.value)
                        json.string("traceId", command.trace.traceID)
                        json.bool("isBatched", command.isBatched)
                        json.bool("hasDeadline", command.deadline != nil)
                        if case .object(let members) = command.body.tree { json.integer("members", members.count) }
                    }
                })
        }
        routes.keyedCommand("/keyed") { command, _ in show(command) }
        routes.command("/plain") { show($0) }
        routes.command("/replayed") { _ in .replayed(StoredResponse(status: 200, body: Array(#"{"a": 1.50}"#.utf8))) }
        routes.command("/refused") { _ in throw Problem(.insufficientStock, "Only 1 is left.") }
        routes.command("/later") { _ in throw Problem.inProgress }
        routes.command("/declined") { _ in throw Problem(.paymentDeclined, "No.", declineCode: "card_declined") }
        routes.command("/invalid") { _ in throw ValidationFailure("#/quantity", "is required") }
        routes.command("/store") { _ in throw StoreError.full }
        routes.command("/unexpected") { _ in throw SecretError() }
        routes.command("/alone") { command in
            if command.isBatched { throw NotInBatch() }
            return show(command)
        }
        let gate = Gate()
        routes.command("/waits") { command in
            await gate.pass()
            return show(command)
        }
        routes.command("/opens") { command in
            gate.open()
            return show(command)
        }
        routes.acceptBatches(in: test.environment)
        routes.command("/declared-later") { show($0) }
        routes.get("/read") { _, _ in .json { $0.object { _ in } } }
        self.test = test
        service = BuiltService(routes: routes)
    }

    private func run<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await service.test(in: test.environment, body)
    }

    // MARK: What a command gets

    @Test("a command gets what its batch says of it, as it would in a request of its own")
    func arrives() async throws {
        try await run { client in
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            let batch = try await client.batch([
                BatchedCommand(
                    "/keyed", #"{"a":1,"b":2}"#, key: #""k\"1""#, user: "ada", requestID: "request-7",
                    traceparent: "00-\(trace)-00f067aa0ba902b7-01")
            ])
            #expect(batch.status == 200)
            #expect(batch.header("Content-Type") == "application/json")
            #expect(
                String(decoding: batch.body, as: UTF8.self) == """
                    {"answers":[{"status":200,"body":{"key":"k\\"1","user":"ada","requestId":"request-7",\
                    "traceId":"\(trace)","isBatched":true,"hasDeadline":false,"members":2}}]}
                    """)
            let single = try await client.post(
                "/keyed", "{}", key: "k", user: "ada", headers: ["X-Request-Timeout-Ms": "1000"])
            #expect(single.value("isBatched") == .bool(false))
            #expect(single.value("hasDeadline") == .bool(true))
        }
    }

    @Test("the deadline of a batch is that of each command in it (OP-06)")
    func deadline() async throws {
        try await run { client in
            let commands = [BatchedCommand("/plain", "{}"), BatchedCommand("/keyed", "{}", key: "k")]
            let batch = try await client.batch(commands, headers: ["X-Request-Timeout-Ms": "1000"])
            #expect(batch.value("answers/0/body/hasDeadline") == .bool(true))
            #expect(batch.value("answers/1/body/hasDeadline") == .bool(true))
        }
    }

    @Test("a command that names no request, user or trace is nobody's, in a request and a trace of its own")
    func least() async throws {
        try await run { client in
            let batch = try await client.batch([
                BatchedCommand("/plain", "{}"), BatchedCommand("/plain", "{}", requestID: "not well-formed"),
            ])
            let ids = ["answers/0/body/requestId", "answers/1/body/requestId"].compactMap { batch.text($0) }
            #expect(ids.allSatisfy { $0.utf8.count == 32 })
            #expect(Set(ids).count == 2)
            #expect(batch.text("answers/0/body/user") == "")
            #expect(batch.text("answers/0/body/traceId") != batch.text("answers/1/body/traceId"))
        }
    }

    @Test("a command without a key is refused if it needs one, and ignores what it is sent if it does not")
    func keys() async throws {
        try await run { client in
            let long = String(repeating: "k", count: 256)
            let batch = try await client.batch([
                BatchedCommand("/keyed", "{}"), BatchedCommand("/keyed", "{}", key: "a b"),
                BatchedCommand("/keyed", "{}", key: long), BatchedCommand("/keyed", "{}", key: "good"),
                BatchedCommand("/plain", "{}", key: "a b"), BatchedCommand("/plain", "{}", key: "good"),
            ])
            let codes = (0..<6).map { batch.text("answers/\($0)/body/code") }
            #expect(
                codes == [
                    "idempotency-key-missing", "idempotency-key-invalid", "idempotency-key-invalid", nil, nil, nil,
                ])
            #expect((0..<6).map { batch.integer("answers/\($0)/status") } == [400, 400, 400, 200, 200, 200])
            #expect((0..<6).map { batch.text("answers/\($0)/body/key") } == [nil, nil, nil, "good", nil, nil])
            #expect(executed.count == 3)

            for path in ["/keyed", "/plain"] {
                let single = try await client.post(path, "{}", key: "a b")
                #expect(single.status == (path == "/keyed" ? 400 : 200))
            }
        }
    }

    @Test("a user that is none is a fault of that command alone")
    func badUser() async throws {
        try await run { client in
            let batch = try await client.batch([
                BatchedCommand("/plain", "{}", user: "a b"), BatchedCommand("/plain", "{}", user: "ada"),
            ])
            #expect(batch.integer("answers/0/status") == 400)
            #expect(batch.text("answers/0/body/code") == "user-id-invalid")
            #expect(batch.text("answers/1/body/user") == "ada")
        }
    }

    // MARK: Answers

    @Test("an answer is to the byte what the command's own route says")
    func sameAnswers() async throws {
        try await run { client in
            let commands = [
                "/replayed", "/refused", "/later", "/declined", "/invalid", "/store", "/unexpected", "/nowhere",
            ].map { BatchedCommand($0, "{}", requestID: "request-1") }
            let expected = try await client.oneByOne(commands.dropLast())
            #expect(try await client.batch(commands.dropLast()).body == expected)
            for command in commands.dropLast() {
                #expect(try await client.batch([command]).body == client.oneByOne([command]))
            }
            let batch = try await client.batch(commands)
            #expect((0..<8).map { batch.integer("answers/\($0)/status") } == [200, 409, 409, 402, 422, 503, 500, 404])
            #expect(
                (0..<8).map { batch.integer("answers/\($0)/retryAfter") } == [nil, nil, 1, nil, nil, 1, nil, nil])
            #expect(batch.text("answers/4/body/errors/0/pointer") == "#/quantity")
            #expect(!String(decoding: batch.body, as: UTF8.self).contains("hunter2"))
        }
    }

    @Test("answers stand in the order of their commands, whichever was there first; none waits for another")
    func order() async throws {
        try await run { client in
            let batch = try await client.batch([
                BatchedCommand("/waits", "{}", requestID: "first"), BatchedCommand("/opens", "{}", requestID: "second"),
            ])
            #expect(batch.count("answers") == 2)
            #expect(batch.text("answers/0/body/requestId") == "first")
            #expect(batch.text("answers/1/body/requestId") == "second")
        }
    }

    @Test("as many commands as a batch may have have an answer each")
    func many() async throws {
        try await run { client in
            let batch = try await client.batch(
                (0..<CommandBatch.maximumCommands).map { BatchedCommand("/keyed", "{}", key: "k\($0)") })
            let keys = (0..<CommandBatch.maximumCommands).map { batch.text("answers/\($0)/body/key") }
            #expect(keys == (0..<CommandBatch.maximumCommands).map { "k\($0)" })
        }
    }

    @Test("a command that would keep the others waiting is to be sent alone; the others have their answers")
    func alone() async throws {
        try await run { client in
            let batch = try await client.batch([
                BatchedCommand("/plain", "{}"), BatchedCommand("/alone", "{}"), BatchedCommand("/plain", "{}"),
            ])
            #expect(batch.names("answers/1") == ["alone"])
            #expect(batch.value("answers/1/alone") == .bool(true))
            #expect(batch.integer("answers/0/status") == 200)
            #expect(batch.integer("answers/2/status") == 200)
            #expect(executed.count == 2)
            #expect(try await client.post("/alone", "{}").status == 200)
        }
    }

    @Test(
        "a path without a command is not found",
        arguments: [
            "/nowhere", "plain", "/plain/", "//plain", "/PLAIN", "/read", "/declared-later", "/internal/batch",
            "/health", "/plain?x",
        ])
    func notFound(_ path: String) async throws {
        try await run { client in
            let batch = try await client.batch([BatchedCommand(path, "{}"), BatchedCommand("/plain", "{}")])
            #expect(batch.integer("answers/0/status") == 404)
            #expect(batch.text("answers/0/body/code") == "not-found")
            #expect(batch.text("answers/0/body/instance") == path)
            #expect(batch.integer("answers/1/status") == 200)
            #expect(executed.count == 1)
        }
    }

    // MARK: Batches that are refused

    @Test("a batch that cannot be read is refused whole, and nothing of it is executed")
    func refused() async throws {
        try await run { client in
            let good = #"{"path":"/plain","body":{}}"#
            let tooMany = Array(repeating: good, count: CommandBatch.maximumCommands + 1).joined(separator: ",")
            for (text, status, code) in [
                ("", 400, "invalid-json"), (#"{"commands":[\#(good)"#, 400, "invalid-json"),
                (#"{"commands":[]}"#, 422, "validation-failed"), ("{}", 422, "validation-failed"),
                (#"{"commands":[\#(good),{"path":"/plain"}]}"#, 422, "validation-failed"),
                (#"{"commands":[\#(good),{"path":"/plain","body":{},"more":1}]}"#, 422, "validation-failed"),
                (#"{"commands":[\#(tooMany)]}"#, 422, "validation-failed"),
            ] {
                let answer = try await client.post(batch: text)
                #expect(answer.status == status)
                #expect(answer.code == code)
            }
            #expect(executed.count == 0)
        }
    }

    @Test("a batch of 128 KiB is taken, and one byte more is too large")
    func size() async throws {
        try await run { client in
            let batch = #"{"commands":[{"path":"/plain","body":{}}]}"#
            let padding = String(repeating: " ", count: CommandBatch.maximumBytes - batch.utf8.count)
            #expect(try await client.post(batch: batch + padding).status == 200)
            let answer = try await client.post(batch: batch + padding + " ")
            #expect(answer.status == 413)
            #expect(answer.code == "payload-too-large")
            #expect(executed.count == 1)
            #expect(
                try await client.post("/plain", "{}" + padding).status == 413, "the limit of a single command stays")
        }
    }

    @Test("the route is as strict as any other: a POST of JSON, and nothing else")
    func strict() async throws {
        try await run { client in
            let batch = #"{"commands":[{"path":"/plain","body":{}}]}"#
            let other = try await client.post(CommandBatch.path, batch, headers: ["Content-Encoding": "gzip"])
            #expect(other.status == 415)
            let get = try await client.get(CommandBatch.path)
            #expect(get.status == 405)
            #expect(get.header("Allow") == "POST")
            #expect(executed.count == 0)
        }
    }

    @Test("a service that is stopping takes no batch (HT-13)")
    func draining() async throws {
        let drain = try await DrainState.stopped()
        let router = service.router(environment: test.environment, drain: drain)
        let answer = try await WholeRequests.application(router).test(.router) { client in
            try await client.executeRequest(
                uri: CommandBatch.path, method: .post, headers: [.contentType: "application/json"],
                body: ByteBuffer(string: #"{"commands":[{"path":"/plain","body":{}}]}"#))
        }
        #expect(answer.status.code == 503)
        #expect(answer.headers[.retryAfter] == "1")
        #expect(String(buffer: answer.body).contains("draining"))
        #expect(executed.count == 0)
    }

    // MARK: Log

    @Test("each command of a batch is a line of the log with its own ids, and the batch itself is none")
    func log() async throws {
        try await run { client in
            _ = try await client.batch([
                BatchedCommand(
                    "/plain", "{}", requestID: "request-1",
                    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                BatchedCommand("/refused", "{}", requestID: "request-2"),
                BatchedCommand("/nowhere", "{}", requestID: "request-3"),
                BatchedCommand("/alone", "{}", requestID: "request-4"),
                BatchedCommand("/unexpected", "{}", requestID: "request-5"),
            ])
        }
        let lines = try test.log.events("request").filter { $0["level"] == .string("info") }
        func line(_ id: String) throws -> [String: JSONValue] {
            try #require(lines.first { $0["request_id"] == .string(id) })
        }
        #expect(lines.count == 4)
        for (id, route, status) in [
            ("request-1", "/plain", "200"), ("request-2", "/refused", "409"), ("request-3", "none", "404"),
            ("request-5", "/unexpected", "500"),
        ] {
            let line = try line(id)
            #expect(line["method"] == .string("POST"))
            #expect(line["route"] == .string(route))
            #expect(line["status"] == .number(status))
            #expect(line["duration_ms"] == .number("0.000"))
            #expect(line["span_id"] != nil)
        }
        #expect(try line("request-1")["trace_id"] == .string("4bf92f3577b34da6a3ce929d0e0e4736"))
        let error = try #require(try test.log.events("unexpected error").first)
        #expect(error["request_id"] == .string("request-5"))
        #expect(error["error"] == .string("password=hunter2"))
        let own = try test.log.events("request").filter { $0["route"] == .string(CommandBatch.path) }
        #expect(own.map { $0["level"] } == [.string("debug")])
    }

    @Test("a batch that is refused whole is a line of the log, since none of its commands is")
    func logOfRefused() async throws {
        try await run { client in _ = try await client.post(batch: "{}") }
        let lines = try test.log.events("request")
        #expect(lines.map { $0["level"] } == [.string("info")])
        #expect(lines.map { $0["status"] } == [.number("422")])
    }
}

/// Counts what was executed.
private final class Counter: Sendable {
    private let value = Mutex(0)

    var count: Int { value.withLock { $0 } }

    func add() { value.withLock { $0 += 1 } }
}
