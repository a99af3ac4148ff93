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
        let kinds: [Failure.Kind] = [.refused, .unavailable, .timedOut, .garbled, .reservationLost, .deadline]
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
            let step = Saga.Step.releasing(Failure(refusal), thenRefund: false)
            let record = SagaRecord(plan: .sample, step: step, history: [])
            #expect(try SagaRecord(json: record.json()) == record)
        }
    }

    // MARK: - What is refused

    @Test("a record of a newer version is refused and not guessed at")
    func newerVersion() throws {
        let newer = try Self.edited(#""version":1"#, to: #""version":2"#)
        #expect(throws: ValidationFailure.self) { try SagaRecord(json: newer.utf8) }
    }

    @Test(
        "a record without one of its members is refused",
        arguments: [
            "version", "orderId", "reservationId", "chargeId", "refundId", "user", "lines", "step", "history",
        ])
    func missingMember(_ name: String) throws {
        guard case .object(let members) = try JSONParser.parse(Self.record.json()) else {
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
            #"{"name":"releasing","thenRefund":true}"#, #"{"name":"refunding"}"#, #"{"name":"failed"}"#,
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

    private static let record = SagaRecord(plan: .sample, step: .reserving, history: history)

    private static func plan(user: String, method: String?) -> OrderPlan {
        OrderPlan(
            orderID: "order", reservationID: "reservation", chargeID: "charge", refundID: "refund", user: user,
            lines: OrderPlan.sample.lines, method: method)
    }

    /// The record's text with one part changed. The part must be there, or the test would show nothing.
    private static func edited(_ part: String, to replacement: String) throws -> String {
        let text = String(decoding: record.json(), as: UTF8.self)
        try #require(text.contains(part))
        return text.replacing(part, with: replacement)
    }
}

extension JSONWriter {
    fileprivate mutating func value(_ value: JSONValue) {
        switch value {
        case .null: raw("null".utf8)
        case .bool(let flag): raw("\(flag)".utf8)
        case .number(let text): number(text)
        case .string(let text): string(text)
        case .array(let elements): array { json in elements.forEach { json.value($0) } }
        case .object(let members):
            object { json in
                for member in members {
                    json.name(member.name)
                    json.value(member.value)
                }
            }
        }
    }
}
