import Money
import SeededRandom
import ServiceClient
import ServiceKit
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("Batches of commands to Payment", .timeLimit(.minutes(5)))
struct PaymentBatchTests {
    private static func charge(
        _ amount: String = "20.00", key: String?, id: String? = nil, user: String? = nil, method: String? = nil,
        requestID: String? = nil
    ) -> BatchedCommand {
        let id = id.map { #","chargeId":"\#($0)""# } ?? ""
        let method = method.map { #","method":"\#($0)""# } ?? ""
        return BatchedCommand(
            "/charge", #"{"amount":\#(amount)\#(id)\#(method)}"#, key: key, user: user, requestID: requestID)
    }

    private static func refund(
        _ id: String, _ amount: String? = nil, key: String?, user: String? = nil, orCancel: Bool = false,
        requestID: String? = nil
    ) -> BatchedCommand {
        let amount = amount.map { #","amount":\#($0)"# } ?? ""
        let body = #"{"chargeId":"\#(id)"\#(amount)\#(orCancel ? #","orCancel":true"# : "")}"#
        return BatchedCommand("/refund", body, key: key, user: user, requestID: requestID)
    }

    // MARK: Outcomes

    @Test("each command has its own outcome: what one refuses does not undo another")
    func ownOutcomes() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "paid", key: "before")
            let batch = try await client.batch([
                Self.charge(key: "a", id: "a"), Self.charge(key: "b", id: "b", method: "test_declined"),
                Self.charge(key: "c", id: "c", method: "test_insufficient_funds"),
                Self.refund("paid", "5.00", key: "d"), Self.refund("none", key: "e"),
                Self.refund("none-yet", key: "f", orCancel: true), Self.charge("0", key: "g"), Self.charge(key: nil),
                Self.charge(key: "a b"), Self.charge(key: "h", user: "a b"), BatchedCommand("/audit/totals", "{}"),
                Self.charge("30.00", key: "i", id: "i"),
            ])
            #expect(batch.status == 200)
            #expect(
                (0..<12).map { batch.integer("answers/\($0)/status") }
                    == [200, 402, 402, 200, 404, 200, 422, 400, 400, 400, 404, 200])
            #expect(batch.text("answers/1/body/declineCode") == "card_declined")
            #expect(batch.text("answers/2/body/declineCode") == "insufficient_funds")
            #expect(batch.text("answers/6/body/errors/0/pointer") == "#/amount")
            #expect(batch.text("answers/7/body/code") == "idempotency-key-missing")
            #expect(batch.text("answers/8/body/code") == "idempotency-key-invalid")
            #expect(batch.text("answers/9/body/code") == "user-id-invalid")
            #expect(batch.text("answers/10/body/code") == "not-found")
            let totals = try await client.get("/audit/totals")
            #expect(totals.integer("currencies/0/captured") == 7000)
            #expect(totals.integer("currencies/0/refunded") == 500)
        }
    }

    @Test("one key, or one charge id, many times in one batch takes the money once (IK-16)")
    func once() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let batch = try await client.batch(Array(repeating: Self.charge(key: "k"), count: 50))
            let single = try await client.charge(key: "k")
            #expect(single.isReplayed)
            let expected = CommandBatch.write(
                Array(repeating: .answered(status: 200, body: single.body, retryAfter: nil), count: 50))
            #expect(batch.body == expected)

            let ids = try await client.batch((0..<50).map { Self.charge("30.00", key: "id-\($0)", id: "c") })
            #expect((0..<50).allSatisfy { ids.integer("answers/\($0)/status") == 200 })
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 5000)

            let refunds = try await client.batch((0..<50).map { Self.refund("c", key: "refund-\($0)") })
            #expect((0..<50).allSatisfy { refunds.integer("answers/\($0)/status") == 200 })
            #expect(try await client.get("/audit/totals").integer("currencies/0/refunded") == 3000)
        }
    }

    @Test("refunds that race in one batch never pass the charge (hazard 48)")
    func refundsRace() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let batch = try await client.batch((0..<50).map { Self.refund("c", "3.00", key: "refund-\($0)") })
            let codes = (0..<50).map { batch.text("answers/\($0)/body/code") }
            #expect(codes.count { $0 == nil } == 6)
            #expect(codes.count { $0 == "refund-exceeds-charge" } == 44)
            #expect(try await client.get("/audit/totals").integer("currencies/0/refunded") == 1800)
        }
    }

    // MARK: Commands that must ask the provider

    @Test("a charge that has to ask the provider is to be sent alone, and nothing of it is stored")
    func aloneCharge() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        try await fixture.run { client in
            let batch = try await client.batch([Self.charge(key: "k", id: "c"), Self.charge(key: nil)])
            #expect(batch.names("answers/0") == ["alone"])
            #expect(batch.integer("answers/1/status") == 400)
            #expect(provider.charges.isEmpty)
            #expect(try await fixture.book { try $0.charge("c") == nil })
            #expect(try await client.get("/charges/c").status == 404)

            // Neither the key nor the id is taken: another command may use them.
            #expect(try await client.charge(id: "c", "30.00", key: "k").status == 200)
            #expect(provider.charges.map(\.amount.minorUnits) == [3000])
        }
        let alone = try fixture.test.log.events("request").filter { $0["status"] == .number("400") }
        #expect(alone.count == 1)
        let single = try fixture.test.log.events("request").filter { $0["route"] == .string("/charge") }
        #expect(single.count == 2, "the command that was not executed has no line")
    }

    @Test("a refund that has to ask the provider is to be sent alone, and nothing of it is stored")
    func aloneRefund() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        let time = fixture.test.time
        try await fixture.run { client in
            _ = try await client.charge(id: "c", key: "k")
            let batch = try await client.batch([Self.refund("c", key: "r")])
            #expect(batch.names("answers/0") == ["alone"])
            #expect(provider.refunds.isEmpty)
            #expect(try await fixture.book { try $0.refundsToAsk(now: time.now, limit: 10).isEmpty })
            #expect(try await fixture.book { try $0.charge("c")?.refunded } == 0)
            #expect(try await client.refund("c", "5.00", key: "r").status == 200)
        }
    }

    @Test("beside a command that is to be sent alone the others are carried out")
    func besideAlone() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let batch = try await client.batch([
                Self.charge(key: "a", id: "a"), Self.charge(key: "b", id: "b", method: "test_slow"),
                Self.charge(key: "c", id: "c", method: "test_declined"), Self.charge(key: "d", id: "d"),
            ])
            #expect(batch.names("answers/1") == ["alone"])
            #expect([0, 2, 3].map { batch.integer("answers/\($0)/status") } == [200, 402, 200])
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 4000)
            #expect(fixture.sleeps.isEmpty)
        }
    }

    @Test("a charge without an answer is asked about again in a request of its own only")
    func unanswered() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        provider.scriptCharges(.answer(.unknown))
        try await fixture.run { client in
            #expect(try await client.charge(id: "c", key: "k").code == "outcome-unknown")
            let batch = try await client.batch([
                Self.charge(key: "k", id: "c", method: "card"), Self.charge(key: "other", id: "c"),
            ])
            #expect(batch.names("answers/0") == ["alone"])
            #expect(batch.text("answers/1/body/code") == "request-in-progress")
            #expect(batch.integer("answers/1/retryAfter") == 1)
            #expect(provider.charges.count == 1)
            #expect(try await client.status(ofCharge: "c") == "pending")
            #expect(try await client.charge(id: "c", key: "k").status == 200)
        }
    }

    @Test("while the provider is asked, a batch finds the charge in progress and does not wait for it (IK-15)")
    func inProgress() async throws {
        let provider = ScriptedProvider()
        let fixture = try PaymentFixture(provider)
        let gate = Gate()
        provider.scriptCharges(.wait(gate, then: .approved))
        try await fixture.run { client in
            async let pending = client.charge(id: "c", key: "k")
            await gate.arrival()
            let batch = try await client.batch([Self.charge(key: "k", id: "c", method: "card")])
            #expect(batch.text("answers/0/body/code") == "request-in-progress")
            gate.open()
            let first = try await pending
            let replay = try await client.batch([Self.charge(key: "k", id: "c", method: "card")])
            #expect(replay.body == CommandBatch.write([.answered(status: 200, body: first.body, retryAfter: nil)]))
        }
        #expect(provider.charges.count == 1)
    }

    // MARK: The same as one by one

    @Test("a replay in a batch has the bytes of the single answer, and the other way round (IK-11)")
    func replay() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let single = try await client.charge(key: "a")
            let batch = try await client.batch([Self.charge(key: "a")])
            #expect(batch.body == CommandBatch.write([.answered(status: 200, body: single.body, retryAfter: nil)]))

            let first = try await client.batch([Self.charge(key: "b")])
            let replay = try await client.charge(key: "b")
            #expect(replay.isReplayed)
            #expect(first.body == CommandBatch.write([.answered(status: 200, body: replay.body, retryAfter: nil)]))
        }
    }

    @Test(
        "any batch answers and does, to the byte, what its commands do one by one", arguments: [1, 2, 3, 4] as [UInt64])
    func oneByOne(_ seed: UInt64) async throws {
        let (together, apart) = (try PaymentFixture.simulated(), try PaymentFixture.simulated())
        var random = SeededGenerator(seed: seed)
        var statuses: Set<Int64> = []
        for step in 0..<60 {
            let count = Int.random(in: 1...16, using: &random)
            let commands = (0..<count).map { _ in Self.random(&random) }
            let answers = try await together.run { try await $0.batchInOrder(commands) }
            let expected = try await apart.run { try await $0.oneByOne(commands) }
            #expect(answers.body == expected, "seed \(seed), step \(step)")
            statuses.formUnion((0..<count).compactMap { answers.integer("answers/\($0)/status") })
            for fixture in [together, apart] { fixture.test.time.advance(by: .milliseconds(1500)) }
        }
        let totals = try await together.run { try await $0.get("/audit/totals") }
        #expect(try await apart.run { try await $0.get("/audit/totals") }.body == totals.body)
        #expect(try #require(totals.integer("currencies/0/refunded")) > 0)
        // The mix must have been one.
        #expect(statuses == [200, 400, 402, 404, 409, 422])
    }

    private static func random(_ random: inout SeededGenerator) -> BatchedCommand {
        let number = Int.random(in: 0..<60, using: &random)
        let user = Int.random(in: 0..<8, using: &random) == 0 ? "ada" : nil
        let method = ["test_declined", "test_insufficient_funds", "unknown", "card", nil][number % 5]
        return switch Int.random(in: 0..<20, using: &random) {
        case 0..<7:
            charge("\(number + 1).00", key: "k\(number)", id: "c\(number)", method: method, requestID: "x")
        case 7: charge("1.00", key: "k\(number)", id: "c\(number)", user: user, requestID: "x")
        case 8: charge("\(number + 1).00", key: "again-\(number)", id: "c\(number)", method: method, requestID: "x")
        case 9: charge("2.00", key: "no-id-\(number)", user: user, requestID: "x")
        case 10: charge("2.00", key: nil, requestID: "x")
        case 11: charge("-1", key: "k\(number)", requestID: "x")
        case 12..<15: refund("c\(number)", "\(number / 3 + 1).00", key: "part-\(number)", user: user, requestID: "x")
        case 15..<17: refund("c\(number)", key: "whole-\(number)", requestID: "x")
        default: refund("c\(number)", key: "cancel-\(number)", user: user, orCancel: true, requestID: "x")
        }
    }

    // MARK: Whole batches

    @Test("a batch that cannot be read takes no money and records no key (IK-17)")
    func refused() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            let good = #"{"path":"/charge","key":"k","body":{"amount":20.00}}"#
            let tooMany = Array(repeating: good, count: 129).joined(separator: ",")
            let tooLarge = String(repeating: " ", count: CommandBatch.maximumBytes)
            for (text, status) in [
                (#"{"commands":[\#(good),]}"#, 400), (#"{"commands":[]}"#, 422), (#"{"commands":[\#(good),{}]}"#, 422),
                (#"{"commands":[\#(tooMany)]}"#, 422), (#"{"commands":[\#(good)]}"# + tooLarge, 413),
            ] {
                let answer = try await client.post(batch: text)
                #expect(answer.status == status)
            }
            #expect(try await client.charge("30.00", key: "k").status == 200)
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 3000)
        }
    }

    @Test("while the store cannot be written each command is told to come again, and none is done (IK-23)")
    func storeFull() async throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let provider = SimulatedCard(allowsTestMethods: true, sleeper: test.sleeper)
        let fixture = PaymentFixture(test, test.environment(on: store), provider)
        try await fixture.run { client in
            store.failNext(2)
            let commands = [Self.charge(key: "a"), Self.charge(key: "b")]
            let batch = try await client.batch(commands)
            for index in 0..<2 {
                #expect(batch.integer("answers/\(index)/status") == 503)
                #expect(batch.integer("answers/\(index)/retryAfter") == 1)
                #expect(batch.text("answers/\(index)/body/code") == "store-unavailable")
            }
            let again = try await client.batch(commands)
            #expect((0..<2).allSatisfy { again.integer("answers/\($0)/status") == 200 })
            #expect(try await client.get("/audit/totals").integer("currencies/0/captured") == 4000)
        }
    }

    @Test("each command is a line of the log with its own request, and the batch itself is none")
    func log() async throws {
        let fixture = try PaymentFixture.simulated()
        try await fixture.run { client in
            _ = try await client.batch([
                Self.charge(key: "a", requestID: "request-1"),
                Self.charge(key: "b", method: "test_declined", requestID: "request-2"),
                Self.refund("c", key: "c", orCancel: true, requestID: "request-3"),
            ])
        }
        let lines = try fixture.test.log.events("request").filter { $0["level"] == .string("info") }
        #expect(lines.count == 3)
        for (id, route, status) in [
            ("request-1", "/charge", "200"), ("request-2", "/charge", "402"), ("request-3", "/refund", "200"),
        ] {
            let line = try #require(lines.first { $0["request_id"] == .string(id) })
            #expect(line["route"] == .string(route))
            #expect(line["status"] == .number(status))
        }
    }
}
