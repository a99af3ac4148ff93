import Money
import Resilience
import ServiceKit
import StockAPI
import Storage
import TestSupport

@testable import StockService

/// Stock on an empty store in memory.
struct StockFixture: Sendable {
    static let timeToLive = Duration.seconds(900)

    let test: TestEnvironment
    let service: BuiltService

    init() throws {
        test = try TestEnvironment(migrations: StockSchema.migrations)
        service = StockService.build(test.environment, reservationTimeToLive: Self.timeToLive)
    }

    /// Runs a test against the routes.
    func run<Value>(_ body: @Sendable (RouteClient) async throws -> Value) async throws -> Value {
        try await service.test(in: test.environment, body)
    }

    /// Runs commands on reservations in one transaction.
    func inventory<T: Sendable>(_ body: @escaping @Sendable (Inventory) throws -> T) async throws -> T {
        let time = test.time
        return try await test.store.transaction { try body(Inventory(transaction: $0, now: time.now)) }
    }

    /// Runs commands on items in one transaction.
    func catalogue<T: Sendable>(_ body: @escaping @Sendable (Catalogue) throws -> T) async throws -> T {
        try await test.store.transaction { try body(Catalogue(transaction: $0)) }
    }

    /// Puts an item on the shelf.
    func stock(_ id: Int64, price: Int64 = 1000, currency: Currency = .usd, onHand: Int64) async throws {
        _ = try await catalogue {
            try $0.put(
                id, name: "item \(id)", price: Money(minorUnits: price, currency: currency), onHand: onHand)
        }
    }

    func reserve(
        _ id: String, _ lines: [LineRequest], user: String = "", timeToLive: Duration = timeToLive,
        rememberRefusal: Bool = true
    ) async throws -> Result<Reservation, StockRefusal> {
        try await inventory {
            try $0.reserve(id: id, lines: lines, user: user, timeToLive: timeToLive, rememberRefusal: rememberRefusal)
                .map(\.reservation)
        }
    }

    func release(_ id: String) async throws -> Result<Reservation, StockRefusal> {
        try await inventory { try $0.release(id: id) }
    }

    func complete(_ id: String) async throws -> Result<Reservation, StockRefusal> {
        try await inventory { try $0.complete(id: id) }
    }

    /// Changes what is stored, as another version would, or a fault.
    func store(_ sql: String, _ id: String) async throws {
        try await test.store.transaction { _ = try $0.run(sql, [.text(id)]) }
    }

    /// What is on hand of an item, and what of it is reserved.
    func levels(_ id: Int64) async throws -> Levels? {
        try await catalogue { try $0.item(id).map { Levels(onHand: $0.onHand, reserved: $0.reserved) } }
    }

    /// The numbers that must add up (INV-5) for each item, beginning with the lowest id.
    func accounts() async throws -> [Account] {
        try await test.store.transaction { transaction in
            try transaction.all(
                "SELECT item_id, received, on_hand, reserved, completed FROM items ORDER BY item_id LIMIT 1000", []
            ) { row in
                Account(
                    itemID: row.integer(0), received: row.integer(1), onHand: row.integer(2), reserved: row.integer(3),
                    completed: row.integer(4))
            }
        }
    }
}

/// An item's stock.
struct Levels: Equatable, Sendable {
    let onHand: Int64
    let reserved: Int64
}

/// An item's stock and where it went.
struct Account: Equatable, Sendable {
    let itemID: Int64
    let received: Int64
    let onHand: Int64
    let reserved: Int64
    let completed: Int64
}

extension Result<Reservation, StockRefusal> {
    /// Why it was refused; nil when it was not.
    var refusal: StockRefusal.Code? {
        switch self {
        case .success: nil
        case .failure(let refusal): refusal.code
        }
    }

    var reservation: Reservation? { try? get() }
}

extension RouteClient {
    /// The usual reserve: of item 1.
    func reserve(_ quantity: Int64, key: String, user: String? = nil) async throws -> RouteResponse {
        try await post("/reserve", #"{"itemId":1,"quantity":\#(quantity)}"#, key: key, user: user)
    }

    func release(_ id: String) async throws -> RouteResponse {
        try await post("/release", #"{"reservationId":"\#(id)"}"#)
    }

    func complete(_ id: String) async throws -> RouteResponse {
        try await post("/complete", #"{"reservationId":"\#(id)"}"#)
    }
}
