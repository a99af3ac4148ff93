import ServiceKit
import Storage
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import StockService

@Suite("Commands to Stock whose callers have given up", .timeLimit(.minutes(5)))
struct LateCommandTests {
    private let test: TestEnvironment
    private let service: BuiltService

    /// Stock on a store that takes half a second before each transaction.
    init() async throws {
        let fixture = try StockFixture()
        try await fixture.stock(1, onHand: 100)
        let (test, time) = (fixture.test, fixture.test.time)
        self.test = test
        let store = LateStore(test.store) { time.advance(by: .milliseconds(500)) }
        service = StockService.build(test.environment(on: store), reservationTimeToLive: StockFixture.timeToLive)
    }

    private func run(_ body: @Sendable (RouteClient) async throws -> Void) async throws {
        try await service.test(in: test.environment) { client in
            try await body(client)
            try await body(client.batching)
        }
    }

    private static let late = ["X-Request-Timeout-Ms": "500"]

    private static func reserve(_ id: String) -> String { #"{"itemId":1,"quantity":2,"reservationId":"\#(id)"}"# }

    @Test("a reserve is refused before anything is set aside, and its key and id are as if it had never come (OP-06)")
    func reserve() async throws {
        let numbers = Numbers()
        try await run { client in
            // A key of its own, and one that is the id.
            for suffix in ["-key", ""] {
                let id = "r\(numbers.next())"
                let key = id + suffix
                let refused = try await client.post("/reserve", Self.reserve(id), key: key, headers: Self.late)
                #expect(refused.status == 503)
                #expect(refused.code == "deadline-exceeded")
                #expect(refused.value("retryable") == .bool(true))
                #expect(refused.header("Retry-After") == "1")
                #expect(try await client.get("/reservations/\(id)").status == 404)

                // Not even the key is bound to the command.
                let other = #"{"itemId":1,"quantity":3,"reservationId":"\#(id)"}"#
                #expect(try await client.post("/reserve", other, key: key).status == 200)
            }
        }
        try await service.test(in: test.environment) { client in
            let item = try await client.get("/items/1")
            #expect(item.integer("reserved") == 12)
        }
    }

    @Test("a reserve is carried out up to the last millisecond")
    func justInTime() async throws {
        let numbers = Numbers()
        try await run { client in
            let id = "r\(numbers.next())"
            let headers = ["X-Request-Timeout-Ms": "501"]
            let answer = try await client.post("/reserve", Self.reserve(id), key: id, headers: headers)
            #expect(answer.status == 200)
        }
    }

    @Test("what undoes or completes is never too late")
    func neverTooLate() async throws {
        let numbers = Numbers()
        try await run { client in
            for (path, status) in [("/release", "canceled"), ("/complete", "completed")] {
                let id = "r\(numbers.next())"
                #expect(try await client.post("/reserve", Self.reserve(id), key: id).status == 200)
                let answer = try await client.post(path, #"{"reservationId":"\#(id)"}"#, headers: Self.late)
                #expect(answer.status == 200)
                #expect(answer.text("status") == status)
            }
        }
    }

    @Test("of a batch whose sender has given up only what begins something is refused")
    func batch() async throws {
        try await service.test(in: test.environment) { client in
            #expect(try await client.post("/reserve", Self.reserve("held"), key: "held").status == 200)
            let batch = try await client.batch(
                [
                    BatchedCommand("/reserve", Self.reserve("new"), key: "new"),
                    BatchedCommand("/complete", #"{"reservationId":"held"}"#),
                    BatchedCommand("/release", #"{"reservationId":"new"}"#),
                ], headers: Self.late)
            #expect((0..<3).map { batch.integer("answers/\($0)/status") } == [503, 200, 200])
            #expect(batch.text("answers/0/body/code") == "deadline-exceeded")
        }
    }
}

/// Makes ids that no earlier command has had.
private final class Numbers: Sendable {
    private let last = Mutex(0)

    func next() -> Int {
        last.withLock { last in
            last += 1
            return last
        }
    }
}
