import Resilience
import ServiceClient
import StockAPI
import StrictJSON
import Testing

@testable import OrderService

@Suite("The stored form of a saga")
struct SagaRecordTests {
    private static let history = [
        HistoryEntry(at: Timestamp(milliseconds: 1_767_225_600_000), event: "created"),
        HistoryEntry(at: Timestamp(milliseconds: 1_767_225_601_250), event: "charge refused: \"card\"\n"),
    ]

    @Test("every step is read as it was written", arguments: Saga.Step.samples, [nil, "test_slow"])
    func roundTrip(_ step: Saga.Step, method: String?) throws {
        let record = SagaRecord(plan: Self.plan(user: "ada", method: method), step: step, history: Self.history)
        #expect(try SagaRecord(json: record.json()) == record)
    }

    @Test("an order of nobody in particular, with a failure without a decline code and no history, is read as written")
    func bareRecord() throws {
        let failure = Failure(kind: .unavailable, code: "unavailable", detail: "")
        let record = SagaRecord(plan: Self.plan(user: "", method: nil), step: .failed(failure), history: [])
        #expect(try SagaRecord(json: record.json()) == record)
    }

    @Test("every kind of failure is read as it was written")
    func failureKinds() throws {
        let kinds: [Failure.Kind] = [
            .refused, .unavailable, .timedOut, .garbled, .reservationLost, .deadline, .withdrawn,
        ]
        for kind in kinds {
            let step = Saga.Step.refunding(Failure(kind: kind, code: kind.rawValue, detail: "Why."))
            let record = SagaRecord(plan: .sample, step: step, history: [])
            #expect(try SagaRecord(json: record.json()) == record)
        }
    }

    @Test("a cart of a hundred lines is read as it was written")
    func largeCart() throws {
        let lines = (1...100).map { LineRequest(itemID: $0, quantity: 1_000_000) }
        let plan = OrderPlan(
            orderID: "o", reservationID: "r", chargeID: "c", refundID: "f", user: "ada", lines: lines, method: nil)
        let record = SagaRecord(plan: plan, step: .charging(FakeShop.goods(lines)), history: [])
        #expect(try SagaRecord(json: record.json()) == record)
    }

    @Test("however long another service's explanation is, what is stored can be read again")
    func longDetail() throws {
        let long = String(repeating: "no ", count: 1000)
        for refusal in [
            Refusal(code: "payment-declined", detail: long, declineCode: long), Refusal(code: long, detail: long),
            Refusal(code: "", detail: "", declineCode: ""),
            // One character of two scalars, and one of many.
            Refusal(code: "payment-declined", detail: String(repeating: "e\u{301}", count: 1000)),
            Refusal(code: "payment-declined", detail: "e" + String(repeating: "\u{301}", count: 1000)),
        ] {
            let step = Saga.Step.releasing(Failure(refusal), then: .nothing)
            let record = SagaRecord(plan: .sample, step: step, history: [])
            #expect(try SagaRecord(json: record.json()) == record)
        }
    }

    @Test("the time that goods are held for is read as it was written, and as none when it is not there")
    func holdSeconds() throws {
        for holdSeconds in [1, 86_400, nil] as [Int64?] {
            let plan = OrderPlan(
                orderID: "o", reservationID: "r", chargeID: "c", refundID: "f", user: "ada",
                lines: OrderPlan.sample.lines, holdSeconds: holdSeconds, method: nil)
            let record = SagaRecord(plan: plan, step: .reserving, history: [])
            #expect(try SagaRecord(json: record.json()) == record)
        }
    }

    // MARK: - What version 1 has stored

    @Test(
        "a release as version 1 stored it is read as what it meant",
        arguments: [(false, Saga.ChargeUndo.nothing), (true, .refund)])
    func versionOne(_ thenRefund: Bool, _ undo: Saga.ChargeUndo) throws {
        let record = try SagaRecord(json: Self.versionOne(step: Self.releasing(thenRefund: thenRefund)).utf8)
        #expect(record.step == .releasing(.sample, then: undo))
        #expect(record.plan.holdSeconds == nil)
        #expect(
            record.plan
                == OrderPlan(
                    orderID: "order", reservationID: "reservation", chargeID: "charge", refundID: "refund",
                    user: "ada", lines: OrderPlan.sample.lines, method: nil))
        #expect(record.history == [HistoryEntry(at: Timestamp(milliseconds: 1_767_225_600_000), event: "created")])
    }

    @Test(
        "every other step of version 1 is read as it was",
        arguments: [
            (#"{"name":"reserving"}"#, Saga.Step.reserving),
            (#"{"name":"charging",\#(goods)}"#, .charging(.sample)),
            (#"{"name":"completing",\#(goods)}"#, .completing(.sample)),
            (#"{"name":"refunding",\#(failure)}"#, .refunding(.sample)),
            (#"{"name":"completed",\#(goods)}"#, .completed(.sample)),
            (#"{"name":"failed",\#(failure)}"#, .failed(.sample)),
        ])
    func otherStepsOfVersionOne(_ json: String, _ step: Saga.Step) throws {
        #expect(try SagaRecord(json: Self.versionOne(step: json).utf8).step == step)
    }

    @Test(
        "the receipt of a completed order is the same bytes, whichever version has stored it (IK-11)",
        arguments: [1, 2])
    func receipt(_ version: Int) throws {
        let stored = version == 1 ? Self.versionOne(step: #"{"name":"completed",\#(Self.goods)}"#) : Self.versionTwo
        let order = Order(
            record: try SagaRecord(json: stored.utf8), key: "key",
            createdAt: Timestamp(milliseconds: 1_767_225_600_000), updatedAt: Timestamp(milliseconds: 1_767_225_601_000)
        )
        guard case .completed(let goods) = order.record.step else {
            Issue.record("it is completed")
            return
        }
        #expect(String(decoding: order.receipt(for: goods), as: UTF8.self) == Self.receipt)
    }

    /// A completed order as version 2 writes it. To be left as it is, like `versionOne`, when another version comes.
    private static let versionTwo = """
        {"version":2,"orderId":"order","reservationId":"reservation","chargeId":"charge","refundId":"refund",\
        "user":"ada","lines":[{"itemId":1,"quantity":2},{"itemId":7,"quantity":1}],"holdSeconds":900,"method":"card",\
        "step":{"name":"completed",\(goods)},"history":[{"at":1767225600000,"event":"created"}]}
        """

    private static let receipt = """
        {"orderId":"order","status":"completed","reservationId":"reservation","chargeId":"charge","totalFee":30.00,\
        "total":{"amount":3000,"currency":"USD"},"lines":[{"itemId":1,"quantity":2,"unitPrice":{"amount":1000,\
        "currency":"USD"}},{"itemId":7,"quantity":1,"unitPrice":{"amount":1000,"currency":"USD"}}],\
        "createdAt":"2026-01-01T00:00:00.000Z"}
        """

    // MARK: - What is refused

    @Test(
        "a record of a newer version, or of none that there was, is refused and not guessed at", arguments: [0, 3, 4])
    func otherVersion(_ version: Int) throws {
        let other = try Self.edited(#""version":2"#, to: #""version":\#(version)"#)
        #expect(throws: ValidationFailure.self) { try SagaRecord(json: other.utf8) }
    }

    @Test(
        "a record without one of its members is refused",
        arguments: [
            "version", "orderId", "reservationId", "chargeId", "refundId", "user", "lines", "step", "history",
        ])
    func missingMember(_ name: String) throws {
        guard case .object(let members) = try JSONParser.parse(Self.record.json()).tree else {
            Issue.record("a record is an object")
            return
        }
        let others = members.filter { $0.name != name }
        try #require(others.count == members.count - 1)
        let json = JSONWriter.bytes { $0.value(.object(others)) }
        #expect(throws: ValidationFailure.self) { try SagaRecord(json: json) }
    }

    @Test(
        "a step that is none is refused",
        arguments: [
            #"{"name":"resting"}"#, #"{}"#, #"[]"#, #"{"name":"charging"}"#, #"{"name":"completed"}"#,
            #"{"name":"releasing","then":"refund"}"#, #"{"name":"releasing","thenRefund":true}"#,
            #"{"name":"releasing","failure":{"kind":"refused","code":"c","detail":"d"}}"#,
            #"{"name":"releasing","then":"hope","failure":{"kind":"refused","code":"c","detail":"d"}}"#,
            #"{"name":"canceling"}"#, #"{"name":"refunding"}"#, #"{"name":"failed"}"#,
            #"{"name":"failed","failure":{"kind":"bored","code":"c","detail":"d"}}"#,
            #"{"name":"failed","failure":{"kind":"refused","detail":"d"}}"#,
            #"{"name":"charging","total":{"amount":-1,"currency":"USD"},"lines":[]}"#,
            #"{"name":"reserving","mood":"good"}"#,
        ])
    func badStep(_ step: String) throws {
        let record = try Self.edited(#"{"name":"reserving"}"#, to: step)
        #expect(throws: ValidationFailure.self) { try SagaRecord(json: record.utf8) }
    }

    @Test("what is no JSON, or cut off, is refused")
    func garbage() throws {
        let whole = Self.record.json()
        for bytes in [[], Array("saga".utf8), Array(whole.dropLast()), Array(whole.prefix(20))] {
            #expect(throws: JSONSyntaxError.self) { try SagaRecord(json: bytes) }
        }
        #expect(throws: ValidationFailure.self) { try SagaRecord(json: "[]".utf8) }
    }

    // MARK: - Helpers

    private static let goods = """
        "total":{"amount":3000,"currency":"USD"},"lines":[\
        {"itemId":1,"quantity":2,"unitPrice":{"amount":1000,"currency":"USD"}},\
        {"itemId":7,"quantity":1,"unitPrice":{"amount":1000,"currency":"USD"}}]
        """
    private static let failure =
        #""failure":{"kind":"refused","code":"payment-declined","detail":"No.","declineCode":"card_declined"}"#

    private static func releasing(thenRefund: Bool) -> String {
        #"{"name":"releasing","thenRefund":\#(thenRefund),\#(failure)}"#
    }

    /// A record, letter by letter as the code wrote it that knew no other version.
    static func versionOne(step: String) -> String {
        """
        {"version":1,"orderId":"order","reservationId":"reservation","chargeId":"charge","refundId":"refund",\
        "user":"ada","lines":[{"itemId":1,"quantity":2},{"itemId":7,"quantity":1}],"step":\(step),\
        "history":[{"at":1767225600000,"event":"created"}]}
        """
    }

    private static let record = SagaRecord(plan: .sample, step: .reserving, history: history)

    private static func plan(user: String, method: String?) -> OrderPlan {
        OrderPlan(
            orderID: "order", reservationID: "reservation", chargeID: "charge", refundID: "refund", user: user,
            lines: OrderPlan.sample.lines, holdSeconds: 900, method: method)
    }

    /// The record's text with one part changed. The part must be there, or the test would show nothing.
    private static func edited(_ part: String, to replacement: String) throws -> String {
        let text = String(decoding: record.json(), as: UTF8.self)
        try #require(text.contains(part))
        return text.replacing(part, with: replacement)
    }
}
