import Resilience
import ServiceClient
import TestSupport
import Testing

@testable import OrderService

@Suite("A checkout that runs out of time before its charge", .timeLimit(.minutes(5)))
struct DeadlineTests {
    @Test("with less than the time for a charge left, none is begun: the goods are released, and no id is used")
    func reserveTookLong() async throws {
        let fixture = try OrderFixture()
        let time = fixture.test.time
        fixture.shop.script(.reserve) { _ in
            time.advance(by: .milliseconds(28_001))
            return .answer
        }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 504)
            #expect(answer.code == "gateway-timeout")
            #expect(fixture.shop.operations == [.reserve, .release])
            let orders = try await client.get("/orders")
            #expect(orders.text("orders/0/failure/code") == "deadline")
            #expect(orders.text("orders/0/status") == "failed")
            #expect(fixture.shop.charge(try #require(orders.text("orders/0/chargeId"))) == nil)
        }
    }

    @Test("with just the time for a charge left, it is begun")
    func justInTime() async throws {
        let fixture = try OrderFixture()
        let time = fixture.test.time
        fixture.shop.script(.reserve) { _ in
            time.advance(by: .seconds(28))
            return .answer
        }
        #expect(try await fixture.checkout().status == 200)
    }

    @Test("a second attempt of a charge that has not left is not begun either, and no id is canceled")
    func secondAttempt() async throws {
        let fixture = try OrderFixture()
        let time = fixture.test.time
        fixture.shop.script(.charge) { _ in
            time.advance(by: .milliseconds(27_001))
            return .notSent(.unreachable)
        }
        try await fixture.run { client in
            let answer = try await client.checkout()
            #expect(answer.status == 504)
            #expect(answer.code == "gateway-timeout")
            #expect(fixture.shop.operations == [.reserve, .charge, .release])
            #expect(try await client.get("/orders").text("orders/0/failure/code") == "deadline")
        }
        #expect(fixture.sleeps == [.seconds(1)])
    }

    @Test("a charge that may have run is asked about up to the deadline")
    func unknown() async throws {
        let fixture = try OrderFixture()
        let time = fixture.test.time
        fixture.shop.script(.charge) { call in
            guard call == 1 else { return .answer }
            time.advance(by: .milliseconds(28_500))
            return .commitThenLose(.timedOut)
        }
        #expect(try await fixture.checkout().status == 200)
        #expect(fixture.shop.operations == [.reserve, .charge, .charge, .complete])
    }

    @Test("the time for a charge is that of an attempt, and at most a quarter of the checkout's")
    func leastTime() {
        func least(checkout: Duration, attempt: Duration) -> Duration {
            OrderConfiguration(checkoutTimeout: checkout, gatewayTimeout: attempt).leastTimeForCharge
        }
        #expect(least(checkout: .seconds(30), attempt: .seconds(2)) == .seconds(2))
        #expect(least(checkout: .seconds(2), attempt: .seconds(2)) == .milliseconds(500))
    }
}
