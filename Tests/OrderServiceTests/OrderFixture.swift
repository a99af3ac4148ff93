import Correlation
import Idempotency
import Resilience
import ServiceKit
import StockAPI
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import OrderService

/// Order with fakes around it.
struct OrderFixture: Sendable {
    /// The checkout that most tests send: two of item 1.
    static let body = #"{"itemId":1,"quantity":2}"#
    /// The waits between five attempts.
    static let backoff: [Duration] = [.seconds(1), .seconds(2), .seconds(4), .seconds(8)]

    let test: TestEnvironment
    let environment: ServiceEnvironment
    let shop: FakeShop
    let parts: OrderService.Parts
    let service: BuiltService

    init(
        maximumInFlight: Int = 100, maximumSleeps: Int = 10_000, parkAfterRounds: Int = 1000,
        breaker: CircuitBreaker.Settings = .never
    ) throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations, maximumSleeps: maximumSleeps)
        self.init(
            test, test.environment, maximumInFlight: maximumInFlight, parkAfterRounds: parkAfterRounds, breaker: breaker
        )
    }

    /// A process of its own on an environment, perhaps beside another one.
    ///
    /// - Parameters:
    ///   - parkAfterRounds: by default more than any test has that is not about parking.
    ///   - breaker: by default one that does not open, for tests that are not about breakers.
    init(
        _ test: TestEnvironment, _ environment: ServiceEnvironment, shop: FakeShop = FakeShop(),
        maximumInFlight: Int = 100, parkAfterRounds: Int = 1000, breaker: CircuitBreaker.Settings = .never
    ) {
        self.shop = shop
        self.test = test
        self.environment = environment
        parts = OrderService.Parts(
            environment, stock: shop, payment: shop,
            configuration: OrderConfiguration(
                backoff: BackoffSchedule(random: { 0 }), maximumInFlight: maximumInFlight,
                parkAfterRounds: parkAfterRounds, breaker: breaker))
        service = parts.service()
    }

    /// What the sleeper was asked for so far.
    var sleeps: [Duration] { test.sleeper.sleeps }

    func run<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await service.test(in: environment, body)
    }

    /// Runs a test against the operator's port.
    func operate<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await service.testOperators(in: environment, body)
    }

    /// The usual checkout. - Returns: its answer.
    func checkout(key: String = "key-1") async throws -> RouteResponse {
        try await run { try await $0.checkout(key: key) }
    }

    /// Waits until no saga is under way in this process: a put-down saga's driver ends just after its client is answered.
    func idle() async throws {
        try await eventually { parts.runner.leases.isEmpty }
    }

    /// Takes up everything that this process does not drive already, turn after turn, as a process does that has just
    /// started; the clock is moved on to the time of the next saga. Ends when none but parked ones are left.
    func recover(turns: Int = 50) async throws {
        try await parts.recovery.disownAll()
        for _ in 0..<turns {
            await parts.recovery.takeUpDue()
            guard let next = try await nextDue() else { return }
            test.time.advance(by: .milliseconds(max(0, next.milliseconds - test.time.now.milliseconds)))
        }
        Issue.record("after \(turns) turns there are still orders to take up")
    }

    /// When the next saga is due that was put down and is not parked.
    private func nextDue() async throws -> Timestamp? {
        try await test.store.transaction { transaction in
            try transaction.first(
                """
                SELECT due_at FROM orders WHERE status = 'pending' AND owner = '' AND parked_for IS NULL
                ORDER BY due_at LIMIT 1
                """, []
            ) { Timestamp(milliseconds: $0.integer(0)) }
        }
    }
}

extension CircuitBreaker.Settings {
    /// Does not open.
    static let never = CircuitBreaker.Settings(minimumCalls: .max, consecutiveFailures: .max)
}

extension RouteClient {
    /// The usual checkout.
    func checkout(
        _ body: String = OrderFixture.body, key: String = "key-1", user: String? = nil, headers: [String: String] = [:]
    ) async throws -> RouteResponse {
        try await post("/checkout", body, key: key, user: user, headers: headers)
    }

    /// The status of an order; nil when there is none.
    func status(ofOrder id: String, user: String? = nil) async throws -> String? {
        try await get("/orders/\(id)", user: user).text("status")
    }
}

/// An order as an earlier process stored it.
struct LeftOrder: Sendable {
    let order: Order
    var plan: OrderPlan { order.record.plan }
}

extension OrderFixture {
    /// Stores an order of ada's, two of item 1, that stands at a step, as a process would have that ended there.
    @discardableResult
    func leave(_ step: Saga.Step) async throws -> LeftOrder {
        try await leave(step, in: SagaLog(environment, leaseDuration: parts.configuration.leaseDuration))
    }

    /// The same, by the owner that a log stands for.
    func leave(_ step: Saga.Step, in log: SagaLog) async throws -> LeftOrder {
        let identifiers = environment.identifiers
        let plan = OrderPlan(
            orderID: identifiers.next(), reservationID: identifiers.next(), chargeID: identifiers.next(),
            refundID: identifiers.next(), user: "ada", lines: [LineRequest(itemID: 1, quantity: 2)], holdSeconds: 900,
            method: nil)
        let now = environment.time.now
        func order(_ step: Saga.Step) -> Order {
            Order(
                record: SagaRecord(plan: plan, step: step, history: [HistoryEntry(at: now, event: "created")]),
                key: "key-\(plan.orderID)", createdAt: now, updatedAt: now)
        }
        try #require(try await log.begin(order(.reserving)).claim == .started)
        if step != .reserving {
            let lease = SagaLog.firstLease(plan.orderID)
            try #require(try await log.save(order(step), lease))
        }
        return LeftOrder(order: order(step))
    }

    func status(of left: LeftOrder) async throws -> Order.Status? { try await stored(left.plan.orderID)?.status }

    /// An order as it stands in the store.
    func stored(_ orderID: String, user: String = "ada") async throws -> Order? {
        try await parts.log.order(orderID, user: user)
    }
}

/// The row of a saga, without its record.
struct LeaseRow: Equatable, Sendable {
    let status: String
    let owner: String
    let epoch: Int64
    let beat: Int64
    let rounds: Int64
    let dueAt: Timestamp
    let parkedFor: String?
}

extension OrderFixture {
    /// Who drives a saga, and since when nobody does.
    func row(_ orderID: String) async throws -> LeaseRow {
        let row = try await test.store.transaction { transaction in
            try transaction.first(
                "SELECT status, owner, epoch, beat, rounds, due_at, parked_for FROM orders WHERE order_id = ?",
                [.text(orderID)]
            ) { row in
                LeaseRow(
                    status: row.text(0), owner: row.text(1), epoch: row.integer(2), beat: row.integer(3),
                    rounds: row.integer(4), dueAt: Timestamp(milliseconds: row.integer(5)),
                    parkedFor: row.optionalText(6))
            }
        }
        return try #require(row)
    }

    /// The one order that there is.
    func onlyOrderID() async throws -> String {
        let ids = try await test.store.transaction { transaction in
            try transaction.all("SELECT order_id FROM orders LIMIT 2", []) { $0.text(0) }
        }
        try #require(ids.count == 1)
        return ids[0]
    }
}
