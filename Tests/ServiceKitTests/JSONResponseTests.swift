import HTTPTypes
import Hummingbird
import Idempotency
import NIOCore
import ServiceKit
import TestSupport
import Testing

@Suite("JSON response")
struct JSONResponseTests {
    @Test("a replay has the status and the bytes that were kept, and is marked (IK-11)")
    func replay() async throws {
        let stored = StoredResponse(status: 402, body: Array("{\"a\":  1.00}".utf8))
        let fixture = ServiceFixture(try TestEnvironment(migrations: [])) { routes in
            routes.get("/replay") { _, _ in .replay(stored) }
            routes.get("/first") { _, _ in .json(stored.body, status: .init(code: 402)) }
        }
        let replay = try await fixture.answer(.get, "/replay")
        let first = try await fixture.answer(.get, "/first")
        #expect(replay.status == 402)
        #expect(replay.body == "{\"a\":  1.00}")
        #expect(replay.header("Idempotent-Replayed") == "true")
        #expect(first.status == 402)
        #expect(first.body == replay.body)
        #expect(first.header("Idempotent-Replayed") == nil)
        for answer in [replay, first] {
            #expect(answer.header("Content-Type") == "application/json")
            #expect(answer.header("Cache-Control") == "no-store")
        }
        #expect(replay.header("X-Request-ID") != first.header("X-Request-ID"))
    }
}
