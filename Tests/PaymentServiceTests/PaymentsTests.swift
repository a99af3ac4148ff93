import Idempotency
import Money
import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("Payments through providers", .timeLimit(.minutes(5)))
struct PaymentsTests {
    private let gateway = ScriptedGateway()

    @Test("a deposit is taken on with 202 and credited, less the fee, when the provider has taken it")
    func deposit() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let taken = try await client.pay("deposit", from: account, "100.00", key: "k", user: "ann")
            #expect(taken.status == 202 && taken.text("status") == "new")
            #expect(taken.integer("fee/amount") == 200)
            let id = try #require(taken.text("paymentId"))
            #expect(taken.header("Location") == "payments/\(id)")
            #expect(try await client.balance("ann") == 0)
            try await fixture.workAll()
            let payment = try await client.get("/payments/\(id)", user: "ann")
            #expect(payment.text("status") == "succeeded")
            #expect(payment.integer("attempts") == 1)
            #expect(try await client.balance("ann") == 9800)
            #expect(try await client.events(ofPayment: id, user: "ann") == ["created", "processing", "succeeded"])
        }
        let books = try await fixture.books()
        #expect(books.balances["settlement:stripe:USD"] == 10_000)
        #expect(books.balances["fees:USD"] == 200)
        try await fixture.expectSoundPayments()
        guard case .pay(let command)? = gateway.calls.first else { throw Problem.paymentNotFound }
        #expect(command.kind == .charge && command.amount.minorUnits == 10_000)
    }

    @Test("a withdrawal sets its amount and the fee aside before anybody is asked, so that it cannot be spent twice")
    func withdraw() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "102.00")
            let taken = try await client.post("/payments/withdraw", #"{"amount":100}"#, key: "k", user: "ann")
            #expect(taken.status == 202 && taken.text("provider") == "stripe")
            #expect(taken.header("Location") == taken.text("paymentId"))
            #expect(try await client.balance("ann") == 0)
            let second = try await client.post("/payments/withdraw", #"{"amount":1}"#, key: "l", user: "ann")
            #expect(second.status == 402 && second.text("declineCode") == "insufficient_funds")
            try await fixture.expectSoundPayments()
            #expect(try await fixture.books().balances["clearing:stripe:USD"] == -10_200)
            try await fixture.workAll()
        }
        let books = try await fixture.books()
        #expect(books.balances["settlement:stripe:USD"] == -10_000)
        #expect(books.balances["fees:USD"] == 200)
        #expect(books.balances["clearing:stripe:USD"] == 0)
        try await fixture.expectSoundPayments()
    }

    @Test("a withdrawal that the provider declines gives everything back, the fee included")
    func declined() async throws {
        let gateway = ScriptedGateway(.declined(code: "account_closed"))
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "102.00")
            let taken = try await client.pay(
                "withdraw", from: account, "100.00", key: "k", user: "ann", provider: "paypal")
            try await fixture.workAll()
            let payment = try await client.get("/payments/\(taken.text("paymentId") ?? "")", user: "ann")
            #expect(payment.text("status") == "failed")
            #expect(payment.text("declineCode") == "account_closed")
            #expect(try await client.balance("ann") == 10_200)
        }
        try await fixture.expectSoundPayments()
    }

    @Test("an external payment has no fee")
    func external() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "100.00")
            let taken = try await client.pay("external_payment", from: account, "100.00", key: "k", user: "ann")
            #expect(taken.status == 202 && taken.integer("fee/amount") == 0)
            try await fixture.workAll()
            #expect(try await client.balance("ann") == 0)
        }
        try await fixture.expectSoundPayments()
    }

    @Test("a key makes one payment, also after it was forgotten; with another command it is refused")
    func keys() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let first = try await client.pay("deposit", from: account, "1.00", key: "k", user: "ann")
            try await fixture.workAll()
            let again = try await client.pay("deposit", from: account, "1.00", key: "k", user: "ann")
            #expect(again.status == 202 && again.isReplayed && again.body == first.body)
            #expect(again.header("Location") == first.header("Location"))
            fixture.test.time.advance(by: .seconds(200_000))
            try await fixture.environment.store.transaction { [environment = fixture.environment] in
                _ = try environment.keys.forgetExpired(now: environment.time.now, limit: 100, in: $0)
            }
            let late = try await client.pay("deposit", from: account, "1.00", key: "k", user: "ann")
            #expect(late.status == 202 && late.body == first.body)
            let other = try await client.pay("deposit", from: account, "2.00", key: "k", user: "ann")
            #expect(other.status == 422 && other.code == "idempotency-key-reused")
            // Another operation's key is another key (IK-14).
            #expect(try await client.post("/payments/deposit", #"{"amount":1}"#, key: "k", user: "ann").status == 202)
        }
    }

    @Test("only a new payment is canceled, and what was set aside is back")
    func cancel() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "10.20")
            let id = try #require(
                try await client.pay("withdraw", from: account, "10.00", key: "k", user: "ann").text("paymentId"))
            #expect(try await client.post("/payments/\(id)/cancel", "", user: "bob").status == 404)
            for _ in 0..<2 {
                let canceled = try await client.post("/payments/\(id)/cancel", "", user: "ann")
                #expect(canceled.status == 200 && canceled.text("status") == "canceled")
            }
            #expect(try await client.balance("ann") == 1020)
            let other = try #require(
                try await client.pay("withdraw", from: account, "10.00", key: "l", user: "ann").text("paymentId"))
            try await fixture.workAll()
            let late = try await client.post("/payments/\(other)/cancel", "", user: "ann")
            #expect(late.status == 409 && late.code == "payment-state-conflict")
        }
        #expect(gateway.calls.count == 1, "a canceled payment is never sent")
        try await fixture.expectSoundPayments()
    }

    @Test(
        "a deposit is given back in parts: the account and the fees pay, and all parts together give the whole fee back"
    )
    func refundDeposit() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "1.75", key: "k", user: "ann").text("paymentId"))
            #expect(try await client.refund(payment: id, key: "early", user: "ann").status == 409)
            try await fixture.workAll()
            // The fee of 3.5 cents is 4 by half to even.
            #expect(try await client.balance("ann") == 171)
            let first = try await client.refund(payment: id, "0.60", key: "r1", user: "ann")
            #expect(first.status == 202 && first.text("paymentId") == id)
            let refundID = try #require(first.text("refundId"))
            #expect(first.header("Location") == "../\(refundID)")
            #expect(
                try await client.refund(payment: id, "1.16", key: "r2", user: "ann").code == "refund-exceeds-payment")
            try await fixture.workAll()
            #expect(try await client.status(ofPayment: id, user: "ann") == "partially_refunded")
            #expect(try await client.get("/payments/\(refundID)", user: "ann").text("refundOf") == id)
            #expect(try await client.refund(payment: id, "0.01", key: "r3", user: "ann").status == 202)
            #expect(try await client.refund(payment: id, key: "r4", user: "ann").status == 202)
            #expect(try await client.refund(payment: id, key: "r4", user: "ann").isReplayed)
            #expect(try await client.refund(payment: id, key: "r5", user: "ann").status == 422)
            try await fixture.workAll()
            #expect(try await client.status(ofPayment: id, user: "ann") == "refunded")
            #expect(try await client.balance("ann") == 0)
            #expect(try await client.get("/payments", user: "ann").count("payments") == 1)
        }
        let books = try await fixture.books()
        #expect(books.balances["fees:USD"] == 0)
        #expect(books.balances["settlement:stripe:USD"] == 0)
        try await fixture.expectSoundPayments()
    }

    @Test("a withdrawal that is given back comes with its fee, when the provider has given it back")
    func refundWithdrawal() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "102.00")
            let id = try #require(
                try await client.pay("withdraw", from: account, "100.00", key: "k", user: "ann").text("paymentId"))
            try await fixture.workAll()
            #expect(try await client.refund(payment: id, key: "r", user: "ann").status == 202)
            #expect(try await client.balance("ann") == 0)
            try await fixture.workAll()
            #expect(try await client.balance("ann") == 10_200)
        }
        try await fixture.expectSoundPayments()
    }

    @Test("a deposit that was spent cannot be given back")
    func spent() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "10.00", key: "k", user: "ann").text("paymentId"))
            try await fixture.workAll()
            #expect(try await client.withdraw("9.80", key: "w", user: "ann").status == 200)
            let refused = try await client.refund(payment: id, key: "r", user: "ann")
            #expect(refused.status == 402 && refused.text("declineCode") == "insufficient_funds")
            // The same key may be tried again (IK-18).
            #expect(try await client.deposit("9.80", key: "d", user: "ann").status == 200)
            #expect(try await client.refund(payment: id, key: "r", user: "ann").status == 202)
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "a refund that the provider refuses is given up: the money is back in the account, and can be given back again")
    func refusedRefund() async throws {
        let gateway = ScriptedGateway(.succeeded, .refused(code: "not-found", detail: "no such payment"))
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "10.00", key: "k", user: "ann").text("paymentId"))
            try await fixture.workAll()
            let refund = try #require(
                try await client.refund(payment: id, key: "r", user: "ann").text("refundId"))
            #expect(try await client.balance("ann") == 0)
            try await fixture.workAll()
            #expect(try await client.balance("ann") == 980)
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(try await client.status(ofPayment: refund, user: "ann") == "failed")
            #expect(try await fixture.decide("retry", about: refund).status == 200)
            try await fixture.workAll()
            #expect(try await client.status(ofPayment: id, user: "ann") == "refunded")
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "a refund that may have been made is not given up because the provider's address says that nothing is there")
    func refundBehindAnotherAddress() async throws {
        let gateway = ScriptedGateway(
            .succeeded, .unknown(.timedOut), .refused(code: "not-found", detail: "no such page"), .succeeded)
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "10.00", key: "k", user: "ann").text("paymentId"))
            try await fixture.workAll()
            let refund = try #require(
                try await client.refund(payment: id, key: "r", user: "ann").text("refundId"))
            try await fixture.workAll()
            #expect(try await client.status(ofPayment: refund, user: "ann") == "succeeded")
            #expect(try await client.balance("ann") == 0)
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "another user's payment, account and list are not there; who names nobody sees what was made in nobody's name")
    func visibility() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "5")
            #expect(try await client.pay("deposit", from: account, "1", key: "k", user: "bob").status == 404)
            let id = try #require(
                try await client.pay("deposit", from: account, "1", key: "k", user: "ann").text("paymentId"))
            for path in ["", "/events"] {
                let other = try await client.get("/payments/\(id)\(path)", user: "bob")
                #expect(other.status == 404 && other.code == "payment-not-found")
                #expect(try await client.get("/payments/\(id)\(path)").status == 404)
            }
            #expect(try await client.refund(payment: id, key: "r", user: "bob").status == 404)
            #expect(try await client.get("/payments", user: "bob").count("payments") == 0)
            #expect(try await client.post("/accounts", #"{"userId":"cid"}"#).status == 201)
            let anonymous = try await client.post("/payments/deposit", #"{"userId":"cid","amount":2}"#, key: "k")
            #expect(anonymous.status == 202)
            #expect(try await client.get("/payments").count("payments") == 1)
            #expect(try await client.get("/payments", user: "cid").count("payments") == 1)
        }
    }

    @Test("a user who pays in person takes over what was opened for them in nobody's name, with its payments")
    func claimed() async throws {
        let commands: [@Sendable (RouteClient, String, String) async throws -> RouteResponse] = [
            { client, account, _ in try await client.pay("deposit", from: account, "1", key: "first", user: "cid") },
            { client, _, _ in try await client.post("/payments/deposit", #"{"amount":1}"#, key: "first", user: "cid") },
            { client, _, payment in try await client.refund(payment: payment, key: "first", user: "cid") },
        ]
        for (number, command) in commands.enumerated() {
            let fixture = try PaymentFixture.withGateway(ScriptedGateway())
            try await fixture.run { client in
                let opened = try await client.post("/accounts", #"{"userId":"cid"}"#)
                let account = try #require(opened.text("accountId"))
                let paid = #"{"userId":"cid","amount":2}"#
                let made = try await client.post("/payments/deposit", paid, key: "k")
                let payment = try #require(made.text("paymentId"))
                try await fixture.workAll()
                #expect(try await client.get("/payments/\(payment)").text("status") == "succeeded")
                #expect(try await command(client, account, payment).status == 202, "\(number)")
                #expect(try await client.get("/payments/\(payment)").code == "payment-not-found")
                #expect(try await client.get("/payments/\(payment)/events").code == "payment-not-found")
                #expect(try await client.get("/payments").count("payments") == 0)
                #expect(try await client.refund(payment: payment, key: "r").code == "payment-not-found")
                #expect(try await client.post("/payments/\(payment)/cancel", "").code == "payment-not-found")
                #expect(try await client.post("/payments/deposit", paid, key: "l").code == "account-not-found")
            }
        }
    }

    @Test("a key is the caller's: a request in nobody's name neither reads by it nor uses it up (IK-14)")
    func keysOfCallers() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "5")
            let anonymous = #"{"userId":"ann","amount":1}"#
            #expect(try await client.post("/payments/withdraw", anonymous, key: "k").code == "account-not-found")
            let made = try await client.post("/payments/withdraw", #"{"amount":1}"#, key: "k", user: "ann")
            #expect(made.status == 202)
            #expect(try await client.post("/payments/withdraw", anonymous, key: "k").status == 404)
        }
    }

    @Test("a payment in another currency than its account's is not valid, and leaves its key free (IK-17)")
    func invalidLeavesKey() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "5")
            let other = #","currency":"EUR""#
            let invalid = try await client.pay("deposit", from: account, "1", key: "k", user: "ann", more: other)
            #expect(invalid.status == 422 && invalid.code == "validation-failed")
            #expect(try await client.pay("deposit", from: account, "1", key: "k", user: "ann").status == 202)
        }
    }

    @Test("a list has pages, newest first, of one status or of all")
    func list() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "5")
            var ids: [String] = []
            for number in 0..<5 {
                fixture.test.time.advance(by: .milliseconds(1))
                let made = try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "ann")
                ids.insert(try #require(made.text("paymentId")), at: 0)
            }
            #expect(try await client.post("/payments/\(ids[2])/cancel", "", user: "ann").status == 200)
            let first = try await client.get("/payments?limit=2", user: "ann")
            #expect((0..<2).map { first.text("payments/\($0)/paymentId") } == ids[..<2].map { $0 })
            let cursor = try #require(first.text("nextCursor"))
            let second = try await client.get("/payments?limit=3&cursor=\(cursor)", user: "ann")
            #expect((0..<3).map { second.text("payments/\($0)/paymentId") } == ids[2...].map { $0 })
            #expect(second.value("nextCursor") == .null)
            let canceled = try await client.get("/payments?status=canceled", user: "ann")
            #expect(canceled.count("payments") == 1 && canceled.text("payments/0/paymentId") == ids[2])
            for query in ["status=odd", "cursor=x", "limit=0", "what=1"] {
                #expect(try await client.get("/payments?\(query)", user: "ann").code == "invalid-parameter", "\(query)")
            }
        }
    }

    @Test(
        "a command that does not say what it must is refused and its key not recorded",
        arguments: [
            (#"{"type":"gift","sourceAccountId":"a","amount":1,"provider":"stripe"}"#, "#/type"),
            (#"{"type":"deposit","sourceAccountId":"a","amount":1,"provider":"bank"}"#, "#/provider"),
            (#"{"type":"deposit","sourceAccountId":"a","amount":0,"provider":"stripe"}"#, "#/amount"),
            (#"{"type":"refund","sourceAccountId":"a","amount":1,"provider":"stripe"}"#, "#/type"),
            (#"{"type":"deposit","amount":1,"provider":"stripe"}"#, "#/sourceAccountId"),
            (#"{"type":"deposit","sourceAccountId":"a","amount":1,"provider":"stripe","x":1}"#, "#/x"),
            (#"{"type":"deposit","sourceAccountId":"a","amount":1,"provider":"stripe","token":""}"#, "#/token"),
        ])
    func validation(_ body: String, _ pointer: String) async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let refused = try await client.post("/payments", body, key: "k", user: "ann")
            #expect(refused.status == 422 && refused.text("errors/0/pointer") == pointer)
            #expect(try await client.post("/payments", body, user: "ann").code == "idempotency-key-missing")
        }
    }

    @Test("an amount in another currency than the account's, or too large with its fee, is refused")
    func currency() async throws {
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "5", currency: "EUR")
            #expect(try await client.pay("deposit", from: account, "1", key: "a", user: "ann").status == 422)
            let large = #"{"amount":9223372036854775807,"currency":"EUR"}"#
            #expect(try await client.pay("withdraw", from: account, large, key: "b", user: "ann").status == 422)
            #expect(try await client.pay("external_payment", from: account, large, key: "c", user: "ann").status == 402)
        }
    }
}
