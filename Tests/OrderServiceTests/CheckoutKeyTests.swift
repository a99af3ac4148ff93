import ServiceClient
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

@Suite("The key of a checkout", .timeLimit(.minutes(5)))
struct CheckoutKeyTests {
    private static let other = #"{"itemId":1,"quantity":3}"#

    // MARK: - Replay

    @Test("a replay has the same bytes and says so, and calls nobody (IK-11)")
    func replay() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let first = try await client.checkout()
            fixture.test.time.advance(by: .seconds(3600))
            let second = try await client.checkout()

            #expect(second.status == first.status)
            #expect(second.body == first.body)
            #expect(second.isReplayed)
            #expect(second.header("X-Request-ID") != first.header("X-Request-ID"))
            #expect(fixture.shop.calls.count == 3)
            #expect(try await client.get("/orders").count("orders") == 1)
        }
    }

    @Test("members in another order, other white space and a key in quotes are the same request (IK-05, IK-12)")
    func sameMeaning() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let first = try await client.checkout(#"{"itemId":1,"quantity":2}"#, key: "key-1")
            let second = try await client.checkout("{ \"quantity\" : 2,\n\"itemId\" : 1 }", key: "\"key-1\"")
            #expect(second.isReplayed)
            #expect(second.body == first.body)
        }
    }

    @Test("a line alone and a cart of that one line are the same command")
    func cartOfOne() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            _ = try await client.checkout(#"{"itemId":1,"quantity":2}"#)
            let second = try await client.checkout(#"{"lines":[{"itemId":1,"quantity":2}]}"#)
            #expect(second.isReplayed)
        }
    }

    @Test("a succeeded key is forgotten a day later, and executes anew (IK-25)")
    func forgotten() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let first = try await client.checkout()
            fixture.test.time.advance(by: .seconds(86_399))
            #expect(try await client.checkout().isReplayed)

            fixture.test.time.advance(by: .seconds(1))
            let anew = try await client.checkout()
            #expect(!anew.isReplayed)
            #expect(anew.text("orderId") != first.text("orderId"))
        }
    }

    @Test("after each failure the key begins its next attempt, also of many that ask at once only one")
    func attempts() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.charge) { call in call <= 3 ? .refuse(.declined) : .answer }
        try await fixture.run { client in
            for _ in 1...2 { #expect(try await client.checkout().status == 402) }
            let statuses = try await withThrowingTaskGroup { group in
                for _ in 0..<20 { group.addTask { try await client.checkout().status } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(statuses).isSubset(of: [200, 402, 409]))
            #expect(try await client.checkout().status == 200)
        }
        let attempts = try await fixture.test.store.transaction { transaction in
            try transaction.all("SELECT attempt, status FROM orders ORDER BY attempt LIMIT 10", []) {
                "\($0.integer(0)) \($0.text(1))"
            }
        }
        #expect(attempts == ["1 failed", "2 failed", "3 failed", "4 completed"])
        #expect(fixture.shop.unreturnedCharges.count == 1)
    }

    // MARK: - In flight

    @Test("a request whose first is still at work is told to come back, and calls nobody (IK-15)")
    func inFlight() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()

            let early = try await client.checkout()
            #expect(early.status == 409)
            #expect(early.code == "request-in-progress")
            #expect(early.header("Retry-After") == "1")
            #expect(fixture.shop.calls.count == 1)

            gate.open()
            let first = try await pending
            #expect(first.status == 200)
            let replay = try await client.checkout()
            #expect(replay.isReplayed)
            #expect(replay.body == first.body)
        }
    }

    @Test("a key at work is not forgotten, however long it takes")
    func inFlightForDays() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.charge, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            fixture.test.time.advance(by: .seconds(200_000))
            #expect(try await client.checkout().status == 409)

            gate.open()
            #expect(try await pending.status == 504)
            try await fixture.idle()
            #expect(try await client.checkout().status == 409)
            try await fixture.recover()
            #expect(try await client.checkout().isReplayed)
        }
        #expect(fixture.shop.unreturnedCharges.count == 1)
    }

    @Test("of fifty requests at once with one key, one executes and the others wait or replay (IK-16)")
    func concurrent() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let answers = try await withThrowingTaskGroup(of: RouteResponse.self) { group in
                for _ in 0..<50 { group.addTask { try await client.checkout() } }
                return try await group.reduce(into: [RouteResponse]()) { $0.append($1) }
            }
            let executed = answers.filter { $0.status == 200 && !$0.isReplayed }
            #expect(executed.count == 1)
            #expect(answers.allSatisfy { $0.status == 200 || $0.code == "request-in-progress" })
            let bodies = Set(answers.filter { $0.status == 200 }.map(\.body))
            #expect(bodies.count == 1)
        }
        #expect(fixture.shop.operations == [.reserve, .charge, .complete])
    }

    @Test("a client that leaves in the middle changes nothing: the saga ends, and the key replays its outcome (IK-21)")
    func clientLeaves() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.charge, .wait(gate, then: .commitThenLose(.timedOut)))
        try await fixture.run { client in
            let request = Task { try await client.checkout() }
            await gate.arrival()
            request.cancel()
            gate.open()
            _ = try? await request.value

            try await eventually { try await client.get("/orders").text("orders/0/status") == "completed" }
            let replay = try await client.checkout()
            #expect(replay.status == 200)
            #expect(replay.isReplayed)
        }
        #expect(fixture.shop.operations == [.reserve, .charge, .charge, .complete])
        // In the request's own task the wait would have been cut short.
        #expect(fixture.sleeps == [.seconds(1)])
    }

    // MARK: - Another command

    @Test("another command under the key is refused while the first is at work (IK-13)")
    func mismatchInFlight() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            let other = try await client.checkout(Self.other)
            #expect(other.status == 422)
            #expect(other.code == "idempotency-key-reused")
            gate.open()
            #expect(try await pending.status == 200)
        }
    }

    @Test(
        "another command under the key is refused after the first has succeeded",
        arguments: [
            #"{"itemId":1,"quantity":3}"#, #"{"itemId":2,"quantity":2}"#, #"{"itemId":1,"quantity":2,"method":"card"}"#,
            #"{"lines":[{"itemId":1,"quantity":2},{"itemId":2,"quantity":2}]}"#,
        ])
    func mismatchAfterSuccess(_ body: String) async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            _ = try await client.checkout()
            let other = try await client.checkout(body)
            #expect(other.status == 422)
            #expect(other.code == "idempotency-key-reused")
        }
        #expect(fixture.shop.calls.count == 3)
    }

    @Test("another command under the key is refused after the first has failed")
    func mismatchAfterFailure() async throws {
        let fixture = try OrderFixture()
        fixture.shop.script(.reserve, .refuse(.insufficientStock))
        try await fixture.run { client in
            #expect(try await client.checkout().status == 409)
            #expect(try await client.checkout(Self.other).status == 422)
            let again = try await client.checkout()
            #expect(again.status == 200)
        }
    }

    @Test("a checkout that was refused for what was asked for binds no key, whatever is asked for next (IK-17)")
    func invalid() async throws {
        let fixture = try OrderFixture()
        let refusal = Refusal(code: "validation-failed", detail: "makes a total that is too large")
        fixture.shop.script(.reserve, .refuse(refusal), .refuse(refusal))
        try await fixture.run { client in
            for _ in 0..<2 {
                let answer = try await client.checkout()
                #expect((answer.status, answer.code) == (422, "validation-failed"))
            }
            let corrected = try await client.checkout(Self.other)
            #expect(corrected.status == 200 && !corrected.isReplayed)
        }
    }

    @Test("the log line of every repetition names the order that its key stands for (OP-03)")
    func namedInLog() async throws {
        let fixture = try OrderFixture()
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout()
            await gate.arrival()
            #expect(try await client.checkout().status == 409)
            gate.open()
            let first = try await pending
            #expect(try await client.checkout().isReplayed)
            #expect(try await client.checkout(Self.other).status == 422)
            let orderID = try #require(first.text("orderId"))
            let lines = try fixture.test.log.events("request").filter { $0["route"] == .string("/checkout") }
            #expect(
                lines.map { $0["order_id"] } == [
                    .string(orderID), .string(orderID), .string(orderID), .string(orderID),
                ])
            #expect(lines.map { $0["status"] } == [.number("409"), .number("200"), .number("200"), .number("422")])
        }
    }

    // MARK: - Scope

    @Test("equal keys of two users are two checkouts (IK-14)")
    func users() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let ada = try await client.checkout(user: "ada")
            let bob = try await client.checkout(Self.other, user: "bob")
            let nobody = try await client.checkout()

            #expect([ada, bob, nobody].allSatisfy { $0.status == 200 && !$0.isReplayed })
            #expect(Set([ada, bob, nobody].map { $0.text("orderId") }).count == 3)
            #expect(try await client.checkout(user: "ada").body == ada.body)
        }
        #expect(fixture.shop.calls.count == 9)
    }

    // MARK: - Overload

    @Test("with as many checkouts under way as are allowed, another one is refused and its key is not recorded")
    func overloaded() async throws {
        let fixture = try OrderFixture(maximumInFlight: 1)
        let gate = Gate()
        fixture.shop.script(.reserve, .wait(gate, then: .answer))
        try await fixture.run { client in
            async let pending = client.checkout(key: "first")
            await gate.arrival()
            let refused = try await client.checkout(key: "second")
            #expect(refused.status == 503)
            #expect(refused.code == "overloaded")
            #expect(refused.header("Retry-After") == "1")
            #expect(fixture.shop.calls.count == 1)

            gate.open()
            #expect(try await pending.status == 200)
            // The place is given back just after the answer.
            try await eventually { try await client.checkout(Self.other, key: "second").status == 200 }
        }
    }

    @Test("a replay, a refusal and a failure give their place back")
    func places() async throws {
        let fixture = try OrderFixture(maximumInFlight: 1)
        fixture.shop.script(.reserve, .answer, .refuse(.insufficientStock))
        try await fixture.run { client in
            var statuses: [Int] = []
            func checkout(_ body: String = OrderFixture.body, key: String) async throws {
                // The place of the request before is given back just after its answer.
                try await eventually {
                    let answer = try await client.checkout(body, key: key)
                    if answer.code == "overloaded" { return false }
                    statuses.append(answer.status)
                    return true
                }
            }
            try await checkout(key: "first")
            try await checkout(key: "first")
            try await checkout(Self.other, key: "first")
            try await checkout(key: "second")
            try await checkout(key: "third")
            #expect(statuses == [200, 200, 422, 409, 200])
        }
    }
}
