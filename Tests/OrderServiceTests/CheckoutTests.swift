import Correlation
import Money
import PaymentAPI
import Resilience
import ServiceClient
import StockAPI
import TestSupport
import Testing

@testable import OrderService

@Suite("A checkout that goes well", .timeLimit(.minutes(5)))
struct CheckoutTests {
    @Test("reserves, charges and completes, in this order and each once, under the ids of the order")
    func success() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let answer = try await client.checkout(user: "ada")

            #expect(answer.status == 200)
            #expect(!answer.isReplayed)
            let orderID = try #require(answer.text("orderId"))
            let reservationID = try #require(answer.text("reservationId"))
            let chargeID = try #require(answer.text("chargeId"))
            #expect(Set([orderID, reservationID, chargeID]).count == 3)
            let lines = [LineRequest(itemID: 1, quantity: 2)]
            let amount = Money(minorUnits: 2000, currency: .usd)
            #expect(
                fixture.shop.calls == [
                    .reserve(ReserveCommand(reservationID: reservationID, lines: lines, holdSeconds: 900)),
                    .charge(ChargeCommand(chargeID: chargeID, orderID: orderID, amount: amount, method: nil)),
                    .complete(reservationID: reservationID),
                ])
        }
        #expect(fixture.sleeps.isEmpty)
    }

    @Test("answers with exactly the members of the contract")
    func answer() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let answer = try await client.checkout()

            #expect(
                answer.names() == [
                    "orderId", "status", "reservationId", "chargeId", "totalFee", "total", "lines", "createdAt",
                ])
            #expect(answer.text("status") == "completed")
            #expect(answer.number("totalFee") == "20.00")
            #expect(answer.integer("total/amount") == 2000)
            #expect(answer.text("total/currency") == "USD")
            #expect(answer.count("lines") == 1)
            #expect(answer.integer("lines/0/itemId") == 1)
            #expect(answer.integer("lines/0/quantity") == 2)
            #expect(answer.integer("lines/0/unitPrice/amount") == 1000)
            #expect(answer.text("createdAt") == "2026-01-01T00:00:00.000Z")
        }
    }

    @Test("a cart of several lines is reserved as one, and the method is passed to Payment")
    func cart() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let body = #"{"lines":[{"itemId":7,"quantity":1},{"itemId":1,"quantity":3}],"method":"test_slow"}"#
            let answer = try await client.checkout(body)

            #expect(answer.status == 200)
            #expect(answer.integer("total/amount") == 4000)
            guard case .reserve(let reserve)? = fixture.shop.calls.first,
                case .charge(let charge)? = fixture.shop.calls.dropFirst().first
            else {
                Issue.record("\(fixture.shop.calls)")
                return
            }
            #expect(reserve.lines == [LineRequest(itemID: 7, quantity: 1), LineRequest(itemID: 1, quantity: 3)])
            #expect(charge.method == "test_slow")
        }
    }

    @Test("the order then shows its completion, its goods and its history")
    func order() async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let orderID = try #require(try await client.checkout().text("orderId"))
            let order = try await client.get("/orders/\(orderID)")

            #expect(order.status == 200)
            #expect(order.text("status") == "completed")
            #expect(order.number("totalFee") == "20.00")
            #expect(order.value("failure") == nil)
            let events = (0..<(order.count("history") ?? 0)).map { order.text("history/\($0)/event") }
            #expect(events == ["created", "reserve succeeded", "charge succeeded", "complete succeeded"])
        }
    }

    @Test("every call carries the request's id and trace, the user, and the time that is left")
    func context() async throws {
        let fixture = try OrderFixture()
        let start = fixture.test.time.uptime
        try await fixture.run { client in
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            _ = try await client.checkout(
                user: "ada",
                headers: ["X-Request-ID": "request-1", "traceparent": "00-\(trace)-00f067aa0ba902b7-01"])

            #expect(fixture.shop.contexts.count == 3)
            for context in fixture.shop.contexts {
                #expect(context.requestID.value == "request-1")
                #expect(context.trace.traceID == trace)
                #expect(context.user == "ada")
                #expect(context.deadline == Deadline(uptime: start + .seconds(30)))
            }
        }
    }

    @Test("a caller's own deadline is kept when it comes before the checkout's")
    func callersDeadline() async throws {
        let fixture = try OrderFixture()
        let start = fixture.test.time.uptime
        try await fixture.run { client in
            _ = try await client.checkout(key: "early", headers: ["X-Request-Timeout-Ms": "5000"])
            _ = try await client.checkout(key: "late", headers: ["X-Request-Timeout-Ms": "90000"])
        }
        let deadlines = fixture.shop.contexts.map(\.deadline.uptime)
        #expect(deadlines.prefix(3).allSatisfy { $0 == start + .seconds(5) })
        #expect(deadlines.suffix(3).allSatisfy { $0 == start + .seconds(30) })
    }

    @Test(
        "a command that is not valid is refused, calls nobody, and leaves its key free (IK-17)",
        arguments: [
            (#"{"itemId":1,"quantity":0}"#, 422), (#"{"itemId":1,"quantity":1000001}"#, 422),
            (#"{"itemId":1,"quantity":1.5}"#, 422), (#"{"itemId":1,"quantity":"2"}"#, 422),
            (#"{"itemId":0,"quantity":1}"#, 422), (#"{"quantity":1}"#, 422), (#"{"itemId":1}"#, 422),
            (#"{"itemId":1,"quantity":1,"color":"red"}"#, 422),
            (#"{"itemId":1,"quantity":1,"quantity":1}"#, 422), (#"{"lines":[]}"#, 422),
            (#"{"lines":[{"itemId":1,"quantity":1},{"itemId":1,"quantity":2}]}"#, 422),
            (#"{"lines":[{"itemId":1,"quantity":1}],"itemId":1}"#, 422),
            (#"{"itemId":1,"quantity":1,"method":""}"#, 422), (#"[]"#, 422), (#"{"itemId":1"#, 400), ("", 400),
        ])
    func invalid(_ body: String, status: Int) async throws {
        let fixture = try OrderFixture()
        try await fixture.run { client in
            let refused = try await client.checkout(body)
            #expect(refused.status == status)
            #expect(refused.code == (status == 422 ? "validation-failed" : "invalid-json"))
            #expect(fixture.shop.calls.isEmpty)
            #expect(try await client.get("/orders").count("orders") == 0)

            #expect(try await client.checkout().status == 200)
        }
    }
}
