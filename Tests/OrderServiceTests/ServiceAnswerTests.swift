import Correlation
import Money
import PaymentAPI
import Resilience
import ServiceClient
import StockAPI
import TestSupport
import Testing

/// Order's clients, with answers made by hand: what they take for success, for a refusal, and for nothing at all.
@Suite("What Order believes of an answer of Stock's or Payment's")
struct ServiceAnswerTests {
    private let time = ManualTime()

    private func context() throws -> CallContext {
        CallContext(
            requestID: try #require(RequestID("request-1")), trace: TraceContext(continuing: nil), user: "ada",
            deadline: Deadline(after: .seconds(30), on: time))
    }

    private func caller(_ status: Int, _ body: String, _ refusalCodes: Set<String>) -> ServiceCaller {
        let transport = ScriptedTransport(.success(ServiceResponse(status: status, body: Array(body.utf8))))
        let single = SingleCalls(
            baseURL: "http://127.0.0.1:1", transport: transport, attemptTimeout: .seconds(2), time: time)
        return ServiceCaller(carrier: single, refusalCodes: refusalCodes)
    }

    private func stock(_ body: String) -> HTTPStockClient {
        HTTPStockClient(caller: caller(200, body, HTTPStockClient.refusalCodes))
    }

    private func payment(_ body: String, status: Int = 200) -> HTTPPaymentClient {
        HTTPPaymentClient(caller: caller(status, body, HTTPPaymentClient.refusalCodes))
    }

    private func failure(_ body: () async throws(CallFailure) -> Void) async -> CallFailure? {
        do {
            try await body()
            return nil
        } catch {
            return error
        }
    }

    // MARK: - Charges

    private static func charge(_ id: String = "c", _ status: String = "succeeded", amount: Int = 2000) -> String {
        #"{"chargeId":"\#(id)","status":"\#(status)","amount":{"amount":\#(amount),"currency":"USD"}}"#
    }

    private func charged(_ body: String, status: Int = 200) async throws -> CallFailure? {
        let command = ChargeCommand(
            chargeID: "c", orderID: "o", amount: Money(minorUnits: 2000, currency: .usd), method: nil)
        let context = try context()
        return await failure { () async throws(CallFailure) in
            try await payment(body, status: status).charge(command, context)
        }
    }

    @Test("a charge has gone through if the answer is about it, its amount and its success, and else is unknown")
    func charge() async throws {
        #expect(try await charged(Self.charge()) == nil)
        for body in [
            Self.charge("other"), Self.charge("c", "pending"), Self.charge("c", "failed"), Self.charge(amount: 1999),
            Self.charge().replacing("USD", with: "EUR"), #"{"chargeId":"c","status":"succeeded"}"#, "{}", "[]", "",
        ] {
            #expect(try await charged(body) == .unknown(.garbled), "\(body)")
        }
    }

    @Test("what Payment refuses for good is refused; any other problem is not")
    func refusedCharge() async throws {
        for code in HTTPPaymentClient.refusalCodes {
            let body = #"{"status":422,"detail":"why","code":"\#(code)"}"#
            #expect(try await charged(body, status: 422) == .refused(Refusal(code: code, detail: "why")))
            #expect(try await charged(body, status: 409) == .unknown(.garbled), "its status is another one")
        }
        #expect(
            try await charged(#"{"status":409,"detail":"why","code":"insufficient-stock"}"#, status: 409)
                == .unknown(.garbled))
    }

    @Test("a refund is made if the answer says that the charge's money is back, or was never taken")
    func refund() async throws {
        let context = try context()
        for (body, expected) in [
            (#"{"chargeId":"c","status":"succeeded"}"#, nil), (#"{"chargeId":"c","status":"canceled"}"#, nil),
            (#"{"chargeId":"c","status":"pending"}"#, CallFailure.unknown(.garbled)),
            (#"{"chargeId":"d","status":"succeeded"}"#, .unknown(.garbled)),
        ] {
            let found = await failure { () async throws(CallFailure) in
                try await payment(body).refund(RefundCommand(refundID: "r", chargeID: "c"), context)
            }
            #expect(found == expected, "\(body)")
        }
    }

    // MARK: - Reservations

    private static func reservation(_ id: String = "r", item: Int = 1, quantity: Int = 2) -> String {
        let price = #"{"amount":1000,"currency":"USD"}"#
        let line = #"{"itemId":\#(item),"quantity":\#(quantity),"unitPrice":\#(price)}"#
        return #"{"reservationId":"\#(id)","total":{"amount":2000,"currency":"USD"},"lines":[\#(line)]}"#
    }

    @Test("goods are set aside if the answer is about the reservation and its lines")
    func reserve() async throws {
        let context = try context()
        let command = ReserveCommand(reservationID: "r", lines: [LineRequest(itemID: 1, quantity: 2)])
        let goods = try await stock(Self.reservation()).reserve(command, context)
        // Stock is upgraded before Order, and may say more than this Order knows of.
        let newer = Self.reservation().replacing("\"quantity\"", with: "\"name\":\"x\",\"quantity\"")
        #expect(try await stock(newer).reserve(command, context) == goods)
        #expect(goods.total == Money(minorUnits: 2000, currency: .usd) && goods.lines.count == 1)
        for body in [
            Self.reservation("s"), Self.reservation(quantity: 1), Self.reservation(item: 2),
            Self.reservation().replacing("\"lines\"", with: "\"other\""),
        ] {
            let found = await failure { () async throws(CallFailure) in
                _ = try await stock(body).reserve(command, context)
            }
            #expect(found == .unknown(.garbled), "\(body)")
        }
    }

    @Test("a reservation is settled if the answer says that it is, in the way that was asked for")
    func settle() async throws {
        let context = try context()
        for (status, isCompleted, isReleased) in [
            ("completed", true, false), ("canceled", false, true), ("reserved", false, false),
        ] {
            let body = #"{"reservationId":"r","status":"\#(status)"}"#
            let completed = await failure { () async throws(CallFailure) in
                try await stock(body).complete(reservationID: "r", context)
            }
            let released = await failure { () async throws(CallFailure) in
                try await stock(body).release(reservationID: "r", context)
            }
            #expect((completed == nil) == isCompleted && (released == nil) == isReleased, "\(status)")
            let other = await failure { () async throws(CallFailure) in
                try await stock(body).release(reservationID: "s", context)
            }
            #expect(other == .unknown(.garbled))
        }
    }
}
