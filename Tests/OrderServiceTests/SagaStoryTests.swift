import ServiceClient
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

/// What Order's log tells of a checkout at the level `info`, which is the usual one (OP-03).
@Suite("The story of a checkout in the log", .timeLimit(.minutes(5)))
struct SagaStoryTests {
    private let fixture: OrderFixture

    init() throws { fixture = try OrderFixture() }

    private typealias Line = [String: JSONValue]

    /// The lines from `info` on, without those of requests.
    private func told() throws -> [Line] {
        try fixture.test.log.lines.compactMap { line -> Line? in
            guard case .object(let members) = try JSONParser.parse(line.utf8).tree else { return nil }
            let values = Dictionary(members.map { ($0.name, $0.value) }) { first, _ in first }
            return values["level"] == .string("debug") || values["message"] == .string("request") ? nil : values
        }
    }

    @Test("a checkout that goes well is told in the one line of its request, with its order")
    func straight() async throws {
        let answer = try await fixture.run { try await $0.checkout(headers: ["X-Request-ID": "request-1"]) }
        #expect(try told().isEmpty)
        let line = try #require(try fixture.test.log.events("request").first)
        #expect(line["order_id"] == answer.text("orderId").map { .string($0) })
        #expect(line["request_id"] == .string("request-1"))
    }

    @Test("one that fails is told step by step from its turn on, and whole at its end")
    func failed() async throws {
        fixture.shop.script(.complete, .refuse(.conflict))
        let answer = try await fixture.run { try await $0.checkout(headers: ["X-Request-ID": "request-1"]) }
        #expect(answer.status == 503)
        let id = try await fixture.onlyOrderID()
        let told = try told()
        #expect(
            told.map { $0["event"] }.dropLast()
                == [
                    "complete refused: reservation-state-conflict", "release succeeded", "refund succeeded",
                ].map { .string($0) })
        for line in told {
            #expect(line["order_id"] == .string(id))
            #expect(line["request_id"] == .string("request-1"))
            #expect(line["trace_id"] != nil)
            #expect(line["span_id"] != nil)
        }
        let end = try #require(told.last)
        #expect(end["message"] == .string("checkout ended"))
        #expect(end["status"] == .string("failed"))
        #expect(end["failure"] == .string("reservationLost"))
        guard case .string(let history)? = end["history"] else { throw StoryIsMissing() }
        let events = history.split(separator: ";").map { $0.drop { $0 == " " }.split(separator: " ", maxSplits: 1)[1] }
        #expect(
            events == [
                "created", "reserve succeeded", "charge succeeded", "complete refused: reservation-state-conflict",
                "release succeeded", "refund succeeded",
            ])
        let request = try #require(
            try fixture.test.log.events("request").first { $0["route"] == .string("/checkout") })
        #expect(request["order_id"] == .string(id))
        #expect(request["status"] == .number("503"))
    }

    private struct StoryIsMissing: Error {}

    @Test("each attempt that fails is told, and the one that succeeds at last")
    func attempts() async throws {
        fixture.shop.script(.reserve, .lose(.timedOut), .lose(.connectionLost))
        _ = try await fixture.checkout()
        let failed = try fixture.test.log.events("a call failed and is tried again")
        #expect(failed.map { $0["attempt"] } == [.number("1"), .number("2")])
        let succeeded = try fixture.test.log.events("a call that had failed has succeeded")
        #expect(succeeded.map { $0["attempt"] } == [.number("3")])
        #expect(succeeded.map { $0["operation"] } == [.string("reserve")])
    }

    @Test("one that is taken up is told under the request that began it, until it has ended")
    func resumed() async throws {
        fixture.shop.script(.charge) { $0 <= 40 ? .lose(.timedOut) : .answer }
        _ = try await fixture.run { try await $0.checkout(headers: ["X-Request-ID": "request-1"]) }
        try await fixture.idle()
        try await fixture.recover()
        #expect(try fixture.test.log.events("an unfinished order is taken up").count >= 1)
        let end = try #require(try fixture.test.log.events("checkout ended").last)
        #expect(end["status"] == .string("completed"))
        let id = try await fixture.onlyOrderID()
        for line in try told() where line["order_id"] == .string(id) {
            #expect(line["request_id"] == .string("request-1"))
        }
    }
}
