import Money
import SeededRandom
import ServiceClient
import StockAPI
import StrictJSON
import TestSupport
import Testing

@testable import StockService

@Suite("Batches of commands to Stock", .timeLimit(.minutes(5)))
struct StockBatchTests {
    private let fixture: StockFixture

    init() throws { fixture = try StockFixture() }

    private static func reserve(
        _ quantity: Int64, key: String?, item: Int64 = 1, id: String? = nil, user: String? = nil,
        requestID: String? = nil
    ) -> BatchedCommand {
        let id = id.map { #","reservationId":"\#($0)""# } ?? ""
        return BatchedCommand(
            "/reserve", #"{"itemId":\#(item),"quantity":\#(quantity)\#(id)}"#, key: key, user: user,
            requestID: requestID)
    }

    private static func settle(_ path: String, _ id: String, requestID: String? = nil) -> BatchedCommand {
        BatchedCommand(path, #"{"reservationId":"\#(id)"}"#, requestID: requestID)
    }

    // MARK: Outcomes

    @Test("each command has its own outcome: what one refuses does not undo another")
    func ownOutcomes() async throws {
        try await fixture.stock(1, onHand: 10)
        _ = try await fixture.reserve("held", [LineRequest(itemID: 1, quantity: 1)])
        _ = try await fixture.reserve("sold", [LineRequest(itemID: 1, quantity: 2)])
        try await fixture.run { client in
            let batch = try await client.batch([
                Self.reserve(3, key: "a"), Self.reserve(11, key: "b"), Self.reserve(1, key: "c", item: 9),
                Self.settle("/complete", "sold"), Self.settle("/complete", "none"), Self.settle("/release", "held"),
                Self.settle("/release", "never-seen"), BatchedCommand("/reserve", #"{"itemId":1}"#, key: "d"),
                Self.reserve(1, key: nil), Self.reserve(1, key: "e", user: "a b"),
                BatchedCommand("/items/1/restock", #"{"quantity":5}"#), Self.reserve(4, key: "f"),
            ])
            #expect(batch.status == 200)
            #expect(
                (0..<12).map { batch.integer("answers/\($0)/status") }
                    == [200, 409, 404, 200, 404, 200, 200, 422, 400, 400, 404, 200])
            #expect(
                (0..<12).map { batch.text("answers/\($0)/body/code") } == [
                    nil, "insufficient-stock", "item-not-found", nil, "reservation-not-found", nil, nil,
                    "validation-failed", "idempotency-key-missing", "user-id-invalid", "not-found", nil,
                ])
            #expect(
                [0, 3, 5, 6, 11].map { batch.text("answers/\($0)/body/status") }
                    == ["reserved", "completed", "canceled", "canceled", "reserved"])
            #expect(batch.text("answers/7/body/errors/0/pointer") == "#/quantity")
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 8, reserved: 7))
    }

    @Test("what one command refuses is refused when the same batch comes again, and the rest is answered as before")
    func batchRepeated() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.run { client in
            let commands = [
                Self.reserve(3, key: "a", id: "a", requestID: "r"), Self.reserve(6, key: "b", id: "b", requestID: "r"),
                Self.settle("/release", "c", requestID: "r"),
            ]
            let first = try await client.batch(commands)
            #expect((0..<3).map { first.integer("answers/\($0)/status") } == [200, 409, 200])
            #expect(try await client.batch(commands).body == first.body)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 3))
    }

    @Test("one key many times in one batch acts once, and is answered with the same bytes each time (IK-16)")
    func sameKey() async throws {
        try await fixture.stock(1, onHand: 50)
        try await fixture.run { client in
            let batch = try await client.batch(Array(repeating: Self.reserve(2, key: "k"), count: 50))
            let single = try await client.reserve(2, key: "k")
            #expect(single.isReplayed)
            let expected = CommandBatch.write(
                Array(repeating: .answered(status: 200, body: single.body, retryAfter: nil), count: 50))
            #expect(batch.body == expected)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 50, reserved: 2))
    }

    @Test("a late copy of an invalid command takes nothing once its id was released, whatever prices have become")
    func invalidThenReleased() async throws {
        try await fixture.stock(1, price: .max, onHand: 5)
        try await fixture.run { client in
            let command = Self.reserve(2, key: "r", id: "r")
            #expect(try await client.batch([command]).integer("answers/0/status") == 422)
            try await fixture.stock(1, price: 1, onHand: 5)
            #expect(try await client.batch([Self.settle("/release", "r")]).integer("answers/0/status") == 200)
            #expect(try await client.batch([command]).integer("answers/0/status") == 409)
            #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
        }
    }

    @Test("one reservation id under many keys in one batch is one reservation")
    func sameID() async throws {
        try await fixture.stock(1, onHand: 50)
        try await fixture.run { client in
            let batch = try await client.batch((0..<20).map { Self.reserve(2, key: "k\($0)", id: "r") })
            #expect((0..<20).allSatisfy { batch.integer("answers/\($0)/status") == 200 })
            #expect((0..<20).allSatisfy { batch.value("answers/\($0)/body") == batch.value("answers/0/body") })
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 50, reserved: 2))
    }

    @Test("two commands under one key in one batch: one is carried out and the other refused (IK-13)")
    func keyReused() async throws {
        try await fixture.stock(1, onHand: 50)
        try await fixture.run { client in
            let batch = try await client.batch([Self.reserve(2, key: "k"), Self.reserve(3, key: "k")])
            let codes = (0..<2).map { batch.text("answers/\($0)/body/code") }
            #expect(Set(codes) == [nil, "idempotency-key-reused"])
            let done: Int64 = codes[0] == nil ? 2 : 3
            #expect(try await fixture.levels(1) == Levels(onHand: 50, reserved: done))
        }
    }

    @Test("of commands for the last ten, as many succeed as there are goods (hazard 39)")
    func lastOnes() async throws {
        try await fixture.stock(1, onHand: 10)
        try await fixture.run { client in
            let batch = try await client.batch((0..<100).map { Self.reserve(1, key: "k\($0)") })
            let statuses = (0..<100).map { batch.integer("answers/\($0)/status") }
            #expect(statuses.count { $0 == 200 } == 10)
            #expect(statuses.count { $0 == 409 } == 90)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 10, reserved: 10))
    }

    // MARK: The same as one by one

    @Test("a replay in a batch has the bytes of the single answer, and the other way round (IK-11)")
    func replay() async throws {
        try await fixture.stock(1, onHand: 10)
        try await fixture.run { client in
            let single = try await client.reserve(2, key: "a")
            let batch = try await client.batch([Self.reserve(2, key: #""a""#)])
            #expect(batch.body == CommandBatch.write([.answered(status: 200, body: single.body, retryAfter: nil)]))

            let first = try await client.batch([Self.reserve(3, key: "b")])
            let replay = try await client.reserve(3, key: "b")
            #expect(replay.isReplayed)
            #expect(first.body == CommandBatch.write([.answered(status: 200, body: replay.body, retryAfter: nil)]))
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 10, reserved: 5))
    }

    @Test(
        "any batch answers and does, to the byte, what its commands do one by one", arguments: [1, 2, 3, 4] as [UInt64])
    func oneByOne(_ seed: UInt64) async throws {
        let (together, apart) = (fixture, try StockFixture())
        for fixture in [together, apart] {
            for id in 1...3 as ClosedRange<Int64> { try await fixture.stock(id, price: id, onHand: 60) }
            try await fixture.stock(4, price: .max / 2, onHand: 60)
            try await fixture.stock(5, currency: try #require(Currency(code: "EUR")), onHand: 60)
        }
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
        #expect(try await together.accounts() == apart.accounts())
        #expect(try await together.accounts().prefix(3).allSatisfy { $0.completed > 0 })
        // The mix must have been one.
        #expect(statuses == [200, 400, 404, 409, 422])
    }

    private static func random(_ random: inout SeededGenerator) -> BatchedCommand {
        let number = Int.random(in: 0..<60, using: &random)
        let quantity = Int64.random(in: 1...3, using: &random)
        let item = Int64.random(in: 1...3, using: &random)
        let user = Bool.random(using: &random) ? "ada" : nil
        let id = "r\(number)"
        return switch Int.random(in: 0..<20, using: &random) {
        case 0..<7: reserve(1 + Int64(number % 3), key: id, item: 1 + Int64(number % 2), id: id, requestID: "x")
        case 7: reserve(quantity, key: id, item: item, id: id, user: user, requestID: "x")
        case 8: reserve(quantity, key: "other-\(number)", item: item, id: id, requestID: "x")
        case 9: reserve(quantity, key: "no-id-\(number)", user: user, requestID: "x")
        case 10: reserve(quantity, key: nil, requestID: "x")
        case 11: reserve(0, key: id, requestID: "x")
        case 12: reserve(1, key: "nine-\(number)", item: 9, id: "nine-\(number)", requestID: "x")
        // Too dear, or in two currencies.
        case 13: reserve(3, key: id, item: 4, id: id, requestID: "x")
        case 14:
            BatchedCommand(
                "/reserve",
                #"{"lines":[{"itemId":1,"quantity":1},{"itemId":5,"quantity":1}],"reservationId":"\#(id)"}"#, key: id,
                requestID: "x")
        case 15..<17: settle("/release", id, requestID: "x")
        default: settle("/complete", id, requestID: "x")
        }
    }

    // MARK: Whole batches

    @Test("a batch that cannot be read reserves nothing and records no key (IK-17)")
    func refused() async throws {
        try await fixture.stock(1, onHand: 10)
        try await fixture.run { client in
            let good = #"{"path":"/reserve","key":"k","body":{"itemId":1,"quantity":2}}"#
            let tooMany = Array(repeating: good, count: 129).joined(separator: ",")
            let tooLarge = String(repeating: " ", count: CommandBatch.maximumBytes)
            for (text, status) in [
                (#"{"commands":[\#(good),]}"#, 400), (#"{"commands":[]}"#, 422), (#"{"commands":[\#(good),{}]}"#, 422),
                (#"{"commands":[\#(tooMany)]}"#, 422), (#"{"commands":[\#(good)]}"# + tooLarge, 413),
            ] {
                let answer = try await client.post(batch: text)
                #expect(answer.status == status)
            }
            #expect(try await client.reserve(3, key: "k").status == 200)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 10, reserved: 3))
    }

    @Test("while the store cannot be written each command is told to come again, and none is done (IK-23)")
    func storeFull() async throws {
        let store = GatedStore(fixture.test.store)
        let environment = fixture.test.environment(on: store)
        try await fixture.stock(1, onHand: 10)
        try await StockService.build(environment, reservationTimeToLive: StockFixture.timeToLive).test(in: environment)
        {
            client in
            store.failNext(3)
            let commands = [Self.reserve(1, key: "a"), Self.reserve(1, key: "b"), Self.settle("/release", "r")]
            let batch = try await client.batch(commands)
            #expect(batch.status == 200)
            for index in 0..<3 {
                #expect(batch.integer("answers/\(index)/status") == 503)
                #expect(batch.integer("answers/\(index)/retryAfter") == 1)
                #expect(batch.text("answers/\(index)/body/code") == "store-unavailable")
            }
            let again = try await client.batch(commands)
            #expect((0..<3).allSatisfy { again.integer("answers/\($0)/status") == 200 })
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 10, reserved: 2))
    }

    @Test("each command is a line of the log with its own request, and the batch itself is none")
    func log() async throws {
        try await fixture.stock(1, onHand: 10)
        try await fixture.run { client in
            _ = try await client.batch([
                Self.reserve(1, key: "a", requestID: "request-1"), Self.reserve(11, key: "b", requestID: "request-2"),
                Self.settle("/release", "r", requestID: "request-3"),
            ])
        }
        let lines = try fixture.test.log.events("request").filter { $0["level"] == .string("info") }
        #expect(lines.count == 3)
        for (id, route, status) in [
            ("request-1", "/reserve", "200"), ("request-2", "/reserve", "409"), ("request-3", "/release", "200"),
        ] {
            let line = try #require(lines.first { $0["request_id"] == .string(id) })
            #expect(line["route"] == .string(route))
            #expect(line["status"] == .number(status))
        }
    }

    @Test("the answers to the largest batch there may be are not more than a client takes")
    func largestAnswers() throws {
        let now = fixture.test.time.now
        let line = ReservedLine(
            itemID: Cart.itemIDs.upperBound, quantity: Cart.quantities.upperBound,
            unitPrice: Money(minorUnits: .max, currency: .usd))
        let reservation = Reservation(
            id: String(repeating: "😀", count: 128), status: .completed,
            lines: Array(repeating: line, count: Cart.maximumLines), total: Money(minorUnits: .max, currency: .usd),
            createdAt: now, expiresAt: now)
        let answers = CommandBatch.write(
            Array(
                repeating: .answered(status: 200, body: reservation.json(), retryAfter: nil),
                count: CommandBatch.maximumCommands))
        #expect(answers.count <= CurlTransport.maximumResponseBytes)
    }
}
