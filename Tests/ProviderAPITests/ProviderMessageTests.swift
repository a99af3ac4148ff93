import Money
import ProviderAPI
import StrictJSON
import Testing

@Suite("Messages between Payment and a provider")
struct ProviderMessageTests {
    private static let good = #"{"reference":"a-1","kind":"payout","amount":{"amount":5,"currency":"JPY"}}"#

    @Test("a command is read as it was written")
    func command() throws {
        let yen = try #require(Currency(code: "JPY"))
        let expected = ProviderCommand(reference: "a-1", kind: .payout, amount: Money(minorUnits: 5, currency: yen))
        #expect(try ProviderCommand(json: try JSONParser.parse(Self.good.utf8)) == expected)
        #expect(try ProviderCommand(json: try JSONParser.parse(expected.json())) == expected)
    }

    @Test(
        "what is wrong with a command is told where it is",
        arguments: [
            (good.replacing("a-1", with: "a/1"), "#/reference"), (good.replacing("a-1", with: ""), "#/reference"),
            (good.replacing("payout", with: "gift"), "#/kind"), (good.replacing(":5,", with: ":0,"), "#/amount/amount"),
            (good.replacing("JPY", with: "XXX"), "#/amount/currency"),
            (good.replacing(#"{"amount":5,"currency":"JPY"}"#, with: "5"), "#/amount"),
            (good.dropLast() + #","capture":false}"#, "#/capture"), (good.dropLast() + #","tip":1}"#, "#/tip"),
            (good.dropLast() + #","token":""}"#, "#/token"),
        ] as [(String, String)])
    func faults(_ text: String, _ pointer: String) throws {
        let failure = try #require(throws: ValidationFailure.self) {
            try ProviderCommand(json: try JSONParser.parse(text.utf8))
        }
        #expect(failure.issues.map(\.pointer) == [pointer])
    }

    @Test("an event is read as it was written, and one of an unknown type is read too")
    func events() throws {
        let command = ProviderCommand(
            reference: "a-1", kind: .charge, amount: Money(minorUnits: 5, currency: .usd), token: "tok_declined")
        var payment = ProviderPayment(
            id: "pp_1", command: command, status: .declined, refunded: .zero(.usd), declineCode: "card_declined")
        let time = "2026-11-21T05:12:40.318Z"
        let declined = try #require(WebhookEvent(of: payment, at: time))
        #expect(declined.kind == .paymentDeclined && declined.declineCode == "card_declined")
        let refund = ProviderRefund(
            id: "rf_1",
            command: ProviderRefundCommand(
                reference: "r-1", paymentReference: "a-1", amount: Money(minorUnits: 2, currency: .usd)))
        for event in [declined, WebhookEvent(of: refund, at: time), WebhookEvent(ofCanceled: "a-2", at: time)] {
            #expect(try WebhookEvent(json: try JSONParser.parse(event.json())) == event)
        }
        payment.status = .pending
        #expect(WebhookEvent(of: payment, at: time) == nil)

        let unknown = #"{"type":"dispute.opened","timestamp":"t","data":{"reference":"a-1","status":"open","x":1}}"#
        let event = try WebhookEvent(json: try JSONParser.parse(unknown.utf8))
        #expect(event.kind == nil && event.reference == "a-1")
    }

    @Test("an event about nothing is refused")
    func badEvent() {
        for text in ["{}", #"{"type":"payment.succeeded","timestamp":"t","data":{}}"#, "[]"] {
            #expect(throws: ValidationFailure.self) { try WebhookEvent(json: try JSONParser.parse(text.utf8)) }
        }
    }
}
