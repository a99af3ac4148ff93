import Correlation
import Resilience
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import ServiceClient

/// When commands go together, when they wait, and what a batch as a whole can come to.
@Suite("Batched calls", .timeLimit(.minutes(5)))
struct BatchedCallsTests {
    // MARK: Together

    @Test("commands that ask in one turn go as one request")
    func oneTurn() throws {
        let client = Client()
        let asked = try ["a", "b", "c"].map { try client.ask($0) }
        #expect(client.service.requests.isEmpty)
        client.executor.run()
        #expect(try client.service.batches() == [["a", "b", "c"]])
        let request = try #require(client.service.requests.first)
        #expect(request.method == "POST")
        #expect(request.url == "http://service/internal/batch")

        client.answer(0)
        #expect(asked.map(\.outcome) == ["a", "b", "c"].map { .success(Client.answer(to: $0)) })
    }

    @Test("a command that is alone does not wait for others")
    func alone() throws {
        let client = Client()
        for (index, key) in ["a", "b", "c", "d"].enumerated() {
            try client.ask(key)
            client.executor.run()
            #expect(client.service.requests.count == index + 1)
        }
        #expect(try client.service.batches() == [["a"], ["b"], ["c"], ["d"]])
        client.answerAll()
    }

    @Test("while as many requests as are allowed are under way the others wait, and all that wait go as one")
    func waiting() throws {
        let client = Client(maximumInFlight: 2)
        for key in ["a", "b", "c", "d", "e"] {
            try client.ask(key)
            client.executor.run()
        }
        #expect(try client.service.batches() == [["a"], ["b"]])

        client.answer(1)
        #expect(try client.service.batches() == [["a"], ["b"], ["c", "d", "e"]])
        let last = try client.ask("f")
        client.executor.run()
        #expect(client.service.requests.count == 3)

        client.answer(0)
        #expect(try client.service.batches() == [["a"], ["b"], ["c", "d", "e"], ["f"]])
        client.answer(3)
        #expect(last.outcome == .success(Client.answer(to: "f")))
        client.answerAll()
    }

    @Test("each command learns how many went with it, also when it is sent again singly")
    func tally() throws {
        let client = Client()
        let tallies = (0..<3).map { _ in RequestTally() }
        for (key, tally) in zip(["a", "b", "c"], tallies) { try client.ask(key, tally: tally) }
        #expect(tallies.map(\.commands) == [1, 1, 1])
        client.executor.run()
        #expect(tallies.map(\.commands) == [3, 3, 3])
        let answer = #"{"status":200,"body":{}}"#
        client.answer(0, .success(Client.response(#"{"answers":[{"alone":true},\#(answer),\#(answer)]}"#)))
        #expect(tallies.map(\.commands) == [1, 3, 3])
        client.answerAll()
    }

    // MARK: How much goes in one request

    @Test("out of a backlog a place takes its share of what waits, up to what a service takes in one batch")
    func backlog() throws {
        let client = Client(maximumInFlight: 4)
        let asked = try (0..<1000).map { try client.ask("k\($0)") }
        client.executor.run()
        // A quarter of 1,000, of 872, of 744 and of 616 each is more than a batch may have.
        #expect(try client.service.batches().map(\.count) == [128, 128, 128, 128])
        client.answerAll()
        let sizes = try client.service.batches().map(\.count)
        #expect(sizes == [128, 128, 128, 128, 122, 91, 68, 51, 39, 32, 32, 32, 21])
        #expect(asked.indices.allSatisfy { asked[$0].outcome == .success(Client.answer(to: "k\($0)")) })
    }

    @Test("a batch has the usual number of commands; the rest goes in further ones at once")
    func maximumCommands() throws {
        let client = Client()
        let asked = try (0..<75).map { try client.ask("k\($0)") }
        client.executor.run()
        #expect(try client.service.batches().map(\.count) == [32, 32, 11])
        #expect(try client.service.batches().flatMap { $0 } == (0..<75).map { "k\($0)" })
        client.answerAll()
        #expect(asked.indices.allSatisfy { asked[$0].outcome == .success(Client.answer(to: "k\($0)")) })
    }

    @Test("a batch has so many bytes at the most, however long what its commands carry is")
    func maximumBytes() throws {
        let client = Client(maximumInFlight: 100)
        let key = String(repeating: #"\"#, count: 512)
        let user = String(repeating: "u", count: 128)
        for number in 0..<200 {
            // From nothing to a third of a batch.
            try client.ask(key, body: Client.body(of: number * 220), user: user)
        }
        client.executor.run()
        let sizes = client.service.requests.map(\.body.count)
        #expect(sizes.allSatisfy { $0 <= CommandBatch.maximumBytes })
        #expect(try client.service.batches().joined().count == 200)
        #expect(try client.service.batches().dropLast().allSatisfy { $0.count > 1 })
        client.answerAll()
    }

    @Test("a command too large to share a batch goes alone in one, and those after it in the next")
    func tooLarge() throws {
        let client = Client()
        try client.ask("small")
        try client.ask("large", body: Client.body(of: CommandBatch.maximumBytes))
        try client.ask("after")
        client.executor.run()
        #expect(try client.service.batches() == [["small"], ["large"], ["after"]])
        client.answerAll()
    }

    // MARK: In a request of its own

    @Test("a command that the service would rather have alone is sent again singly, and gets that answer")
    func sentSingly() throws {
        let client = Client()
        let asked = try ["a", "b"].map { try client.ask($0) }
        client.executor.run()
        client.answer(0, .success(Client.response(#"{"answers":[{"alone":true},{"status":200,"body":{"of":"b"}}]}"#)))
        #expect(asked.map(\.outcome) == [nil, .success(Client.answer(to: "b"))])

        #expect(client.service.requests.count == 2)
        let single = try #require(client.service.requests.last)
        #expect(single.url == "http://service/reserve")
        #expect(single.values("Idempotency-Key") == ["a"])
        client.answer(1, .success(Client.response(#"{"of":"a"}"#)))
        #expect(asked[0].outcome == .success(Client.answer(to: "a")))
    }

    @Test("the commands of a batch for which the service has no route, as an older one has none, are sent singly")
    func noBatchRoute() throws {
        let client = Client()
        let asked = try ["a", "b"].map { try client.ask($0) }
        client.executor.run()
        let notFound = #"{"type":"/problems/not-found","status":404,"code":"not-found"}"#
        client.answer(0, .success(ServiceResponse(status: 404, body: Array(notFound.utf8))))
        #expect(asked.map(\.outcome) == [nil, nil])
        #expect(client.service.requests.dropFirst().map(\.url) == ["http://service/reserve", "http://service/reserve"])
        client.answerAll()
        #expect(asked.allSatisfy { $0.outcome != nil })
    }

    @Test(
        "a 404 that is not the service's own says nothing of the commands, which may have been executed",
        arguments: ["{}", "<html>not here</html>", "", #"{"status":404,"code":"item-not-found"}"#])
    func notFoundElsewhere(_ body: String) throws {
        let client = Client()
        let asked = try client.ask("a")
        client.executor.run()
        client.answer(0, .success(ServiceResponse(status: 404, body: Array(body.utf8))))
        #expect(asked.outcome == .failure(.notHTTP))
        #expect(client.service.requests.count == 1)
    }

    @Test("a command sent again singly is not sent when no time is left for it")
    func noTimeLeftForSingle() throws {
        let client = Client()
        let asked = try client.ask("a", remaining: .seconds(4))
        client.executor.run()
        client.time.advance(by: .seconds(4))
        client.answer(0, .success(Client.response(#"{"answers":[{"alone":true}]}"#)))
        #expect(asked.outcome == .failure(.notSentInTime))
        #expect(client.service.requests.count == 1)
    }

    @Test("a command with less than two time-outs left goes singly at once, also when no place is free")
    func shortDeadline() throws {
        let client = Client(maximumInFlight: 1)
        try client.ask("a")
        client.executor.run()
        let hurried = try client.ask("b", remaining: .milliseconds(3999))
        try client.ask("c", remaining: .milliseconds(4000))
        client.executor.run()
        #expect(client.service.requests.map(\.url) == ["http://service/internal/batch", "http://service/reserve"])
        client.answer(1, .success(Client.response(#"{"of":"b"}"#)))
        #expect(hurried.outcome == .success(Client.answer(to: "b")))

        client.answer(0)
        #expect(client.service.requests.map(\.url).last == "http://service/internal/batch")
        client.answerAll()
    }

    // MARK: Waiting in vain

    @Test("a command that has waited as long as one attempt may take is known not to have run")
    func waitedTooLong() throws {
        let client = Client(maximumInFlight: 1)
        try client.ask("a")
        client.executor.run()
        let early = try client.ask("b")
        client.executor.run()
        client.time.advance(by: .milliseconds(1))
        let later = try client.ask("c")
        client.executor.run()
        client.time.advance(by: .milliseconds(1999))
        client.answer(0, .failure(.timedOut))
        #expect(early.outcome == .failure(.notSentInTime))
        #expect(try client.service.batches() == [["a"], ["c"]])
        client.answer(1)
        #expect(later.outcome == .success(Client.answer(to: "c")))
    }

    @Test("of more commands than may wait the last are known not to have been sent")
    func tooManyWaiting() throws {
        let client = Client(maximumInFlight: 1)
        try client.ask("first")
        client.executor.run()
        let waiting = try (0..<BatchedCalls.maximumWaiting).map { _ in try client.ask("waiting") }
        let refused = try client.ask("refused")
        client.executor.run()
        #expect(waiting.allSatisfy { $0.outcome == nil })
        #expect(refused.outcome == .failure(.queueFull))

        client.time.advance(by: .seconds(2))
        client.answer(0)
        #expect(waiting.allSatisfy { $0.outcome == .failure(.notSentInTime) })
        let next = try client.ask("next")
        client.executor.run()
        client.answer(1)
        #expect(next.outcome == .success(Client.answer(to: "next")))
    }

    // MARK: What becomes of a batch as a whole

    @Test("a service that turns a batch away has said so to each of its commands")
    func turnedAway() throws {
        let client = Client()
        let asked = try ["a", "b"].map { try client.ask($0) }
        client.executor.run()
        let problem = #"{"status":503,"code":"draining"}"#
        client.answer(
            0, .success(ServiceResponse(status: 503, body: Array(problem.utf8), retryAfter: .seconds(1))))
        let expected = ServiceAnswer(
            status: 503, json: .object([.init("status", .number("503")), .init("code", .string("draining"))]),
            retryAfter: .seconds(1))
        #expect(asked.map(\.outcome) == [.success(expected), .success(expected)])
    }

    /// What a service or something else at its address may say that holds no answer to two commands.
    private static let noAnswers: [ServiceResponse] =
        [
            "", "<html>", "{}", "[]", #"{"answers":[]}"#, #"{"answers":[{"status":200,"body":{}}]}"#,
            #"{"answers":[{"status":200,"body":{}},{"status":200,"body":{}},{"status":200,"body":{}}]}"#,
            #"{"answers":[{"status":200,"body":{}},{"status":200}]}"#,
            #"{"answers":[{"status":200,"body":{}},{"status":99,"body":{}}]}"#,
            #"{"answers":[{"status":200,"body":{}},{"status":200,"body":{},"retryAfter":0}]}"#,
            #"{"answers":[{"status":200,"body":{}},{"alone":true,"status":200,"body":{}}]}"#,
            #"{"answers":[{"status":200,"body":{}},null]}"#,
            #"{"answers":[{"status":200,"body":{}},{"status":200,"body":{}}]}x"#,
            #"{"answers":[{"status":200,"body":{}},{"status":200,"body":{}}],"more":1}"#,
        ].map { Client.response($0) }
        + [201, 204, 302, 400, 408, 413, 422, 429, 500, 502, 504].map { status in
            ServiceResponse(
                status: status, body: Array(#"{"answers":[{"alone":true},{"alone":true}]}"#.utf8),
                retryAfter: .seconds(1))
        }

    @Test("what holds no answer to every command answers none of them", arguments: noAnswers)
    func noAnswer(_ response: ServiceResponse) throws {
        let client = Client()
        let asked = try ["a", "b"].map { try client.ask($0) }
        client.executor.run()
        client.answer(0, .success(response))
        #expect(asked.map(\.outcome) == [.failure(.notHTTP), .failure(.notHTTP)])
        #expect(client.service.requests.count == 1)
    }

    @Test("every batch gives its place back, whatever became of it")
    func places() throws {
        let client = Client(maximumInFlight: 2)
        let results: [Result<ServiceResponse, TransportError>] =
            [.notSent("refused"), .notSentInTime, .timedOut, .connectionLost("reset"), .notHTTP, .responseTooLarge]
            .map { .failure($0) }
            + Self.noAnswers.map { .success($0) }
            + [.success(ServiceResponse(status: 503, body: [])), .success(Client.response(Client.allAlone))]
        for result in results {
            for place in 0..<2 {
                let before = client.service.requests.count
                let asked = try ["a", "b"].map { try client.ask($0) }
                client.executor.run()
                #expect(client.service.requests.count == before + 1, "place \(place) is free, then \(result)")
                client.answer(before, result)
                client.answerAll()
                #expect(asked.allSatisfy { $0.outcome != nil })
            }
        }
        // All places are free at the same time.
        let before = client.service.requests.count
        for key in ["a", "b", "c"] {
            try client.ask(key)
            client.executor.run()
        }
        #expect(client.service.requests.count == before + 2)
        client.answerAll()
    }
}

/// A client of a service whose answers come when the test says so. Nothing runs but in `executor.run()`.
private struct Client {
    static let allAlone = #"{"answers":[{"alone":true},{"alone":true}]}"#

    let time = ManualTime()
    let executor = TurnExecutor()
    let service = HeldService()
    private let carrier: BatchedCalls

    init(maximumInFlight: Int = 4) {
        let single = SingleCalls(
            baseURL: "http://service", transport: service, attemptTimeout: .seconds(2), time: time)
        carrier = BatchedCalls(single: single, maximumInFlight: maximumInFlight, executor: executor)
    }

    /// Begins to carry a command.
    @discardableResult
    func ask(
        _ key: String, body: String = "{}", user: String = "", remaining: Duration = .seconds(30),
        tally: RequestTally? = nil
    ) throws -> Asked {
        let context = CallContext(
            requestID: try #require(RequestID("request-1")), trace: TraceContext(continuing: nil), user: user,
            deadline: Deadline(after: remaining, on: time), tally: tally)
        let command = ServiceCommand(path: "/reserve", key: key, body: Array(body.utf8), context: context)
        let asked = Asked()
        Task(executorPreference: executor) { [carrier] in asked.end(await carrier.outcome(of: command)) }
        return asked
    }

    /// Answers a request, and lets everything happen that comes of it. - Parameter result: without one, each command of the
    /// request, which is a batch, is carried out.
    func answer(_ index: Int, _ result: Result<ServiceResponse, TransportError>? = nil) {
        service.answer(index, result)
        executor.run()
    }

    /// Answers whatever is open until nothing is.
    func answerAll() {
        while let index = service.firstOpen { answer(index) }
    }

    static func answer(to key: String) -> ServiceAnswer {
        ServiceAnswer(status: 200, json: .object([.init("of", .string(key))]))
    }

    static func response(_ body: String) -> ServiceResponse { ServiceResponse(status: 200, body: Array(body.utf8)) }

    /// An object of at least so many bytes.
    static func body(of size: Int) -> String { #"{"a":"\#(String(repeating: "x", count: size))"}"# }
}

/// A command that was asked for, and its outcome once it has one.
private final class Asked: Sendable {
    private let ended = Mutex<Result<ServiceAnswer, TransportError>?>(nil)

    var outcome: Result<ServiceAnswer, TransportError>? { ended.withLock { $0 } }

    func end(_ outcome: Result<ServiceAnswer, TransportError>) {
        ended.withLock { $0 = outcome }
    }
}

/// Keeps requests until a test answers them.
private final class HeldService: Transport {
    private typealias Open = CheckedContinuation<Result<ServiceResponse, TransportError>, Never>
    private let state = Mutex<(requests: [ServiceRequest], open: [Int: Open])>(([], [:]))

    /// Every request so far, answered or not.
    var requests: [ServiceRequest] { state.withLock { $0.requests } }
    /// The first request without an answer.
    var firstOpen: Int? { state.withLock { $0.open.keys.min() } }

    func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let result = await withCheckedContinuation { continuation in
            state.withLock { state in
                state.open[state.requests.count] = continuation
                state.requests.append(request)
            }
        }
        return try result.get()
    }

    func answer(_ index: Int, _ result: Result<ServiceResponse, TransportError>?) {
        let open = state.withLock { $0.open.removeValue(forKey: index) }
        open?.resume(returning: result ?? .success(carriedOut(requests[index])))
    }

    /// The keys of the commands of each request.
    func batches() throws -> [[String]] { try requests.map { try Self.commands($0).compactMap(\.key) } }

    private func carriedOut(_ request: ServiceRequest) -> ServiceResponse {
        guard request.url.hasSuffix(CommandBatch.path), let commands = try? Self.commands(request) else {
            return Client.response("{}")
        }
        let answers = commands.map { command in
            CommandBatch.Answer.answered(
                status: 200, body: JSONWriter.bytes { $0.object { $0.string("of", command.key ?? "") } },
                retryAfter: nil)
        }
        return ServiceResponse(status: 200, body: CommandBatch.write(answers))
    }

    private static func commands(_ request: ServiceRequest) throws -> [CommandBatch.Received] {
        try CommandBatch.commands(json: try JSONParser.parse(request.body))
    }
}
