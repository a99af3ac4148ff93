import Money
import Resilience
import StockAPI
import Storage
import TestSupport
import Testing

@testable import StockService

@Suite("Reserving")
struct ReserveTests {
    private let fixture: StockFixture

    init() throws { fixture = try StockFixture() }

    private static let two = [LineRequest(itemID: 1, quantity: 2)]

    // MARK: - Taking

    @Test("a reserve sets the goods aside at today's price, for its time to live")
    func one() async throws {
        try await fixture.stock(1, price: 1050, onHand: 5)
        let result = try await fixture.reserve("r", Self.two, timeToLive: .seconds(60))

        let reservation = try result.get()
        let now = fixture.test.time.now
        let price = Money(minorUnits: 1050, currency: .usd)
        #expect(
            reservation
                == Reservation(
                    id: "r", status: .reserved, lines: [ReservedLine(itemID: 1, quantity: 2, unitPrice: price)],
                    total: Money(minorUnits: 2100, currency: .usd), createdAt: now,
                    expiresAt: now.advanced(by: .seconds(60))))
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 2))
        #expect(try await fixture.inventory { try $0.reservation("r") } == reservation)
    }

    @Test("all lines are taken, and kept in the order they were asked for")
    func many() async throws {
        try await fixture.stock(1, price: 100, onHand: 5)
        try await fixture.stock(2, price: 7, onHand: 5)
        let lines = [LineRequest(itemID: 2, quantity: 3), LineRequest(itemID: 1, quantity: 1)]
        let reservation = try await fixture.reserve("r", lines).get()

        #expect(reservation.lines.map { LineRequest(itemID: $0.itemID, quantity: $0.quantity) } == lines)
        #expect(reservation.total == Money(minorUnits: 121, currency: .usd))
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 1))
        #expect(try await fixture.levels(2) == Levels(onHand: 5, reserved: 3))
    }

    @Test("the last one can be reserved, and none after it")
    func last() async throws {
        try await fixture.stock(1, onHand: 2)
        #expect(try await fixture.reserve("a", Self.two).refusal == nil)
        let refused = try await fixture.reserve("b", [LineRequest(itemID: 1, quantity: 1)])
        #expect(refused.refusal == .insufficientStock)
        #expect(try await fixture.levels(1) == Levels(onHand: 2, reserved: 2))
    }

    // MARK: - All or nothing

    @Test(
        "a line that cannot be had leaves every other line where it was",
        arguments: [[1, 2, 3], [3, 2, 1], [2, 3, 1]])
    func allOrNothing(_ order: [Int64]) async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.stock(2, onHand: 1)
        try await fixture.stock(3, onHand: 5)
        let result = try await fixture.reserve("r", order.map { LineRequest(itemID: $0, quantity: 2) })

        #expect(result.refusal == .insufficientStock)
        #expect(try await fixture.accounts().allSatisfy { $0.reserved == 0 })
        #expect(try await fixture.inventory { try $0.reservation("r") } == nil)
    }

    @Test("an item that does not exist is named as the reason, and nothing is taken")
    func unknownItem() async throws {
        try await fixture.stock(1, onHand: 5)
        let result = try await fixture.reserve("r", Self.two + [LineRequest(itemID: 9, quantity: 1)])
        #expect(result.refusal == .itemNotFound)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
    }

    @Test("a total that does not fit is refused with the place of the fault, and nothing is taken (HT-03)")
    func overflow() async throws {
        try await fixture.stock(1, price: Int64.max / 2, onHand: 5)
        try await fixture.stock(2, price: Int64.max / 2, onHand: 5)
        let product = try await fixture.reserve("a", [LineRequest(itemID: 1, quantity: 3)])
        #expect(product == .failure(StockRefusal(.invalid, "makes a total that is too large", pointer: "#/quantity")))

        let sum = try await fixture.reserve(
            "b", [LineRequest(itemID: 1, quantity: 2), LineRequest(itemID: 2, quantity: 1)])
        #expect(sum == .failure(StockRefusal(.invalid, "makes a total that is too large", pointer: "#/lines")))
        #expect(try await fixture.accounts().allSatisfy { $0.reserved == 0 })
        #expect(try await fixture.reserve("c", Self.two).refusal == nil)
    }

    @Test("items in different currencies have no total: the cart is refused, and nothing is taken")
    func currencies() async throws {
        let euro = try #require(Currency(code: "EUR"))
        try await fixture.stock(1, onHand: 5)
        try await fixture.stock(2, currency: euro, onHand: 5)
        let result = try await fixture.reserve("r", Self.two + [LineRequest(itemID: 2, quantity: 1)])
        #expect(result == .failure(StockRefusal(.invalid, "has items in different currencies", pointer: "#/lines")))
        #expect(try await fixture.accounts().allSatisfy { $0.reserved == 0 })
    }

    // MARK: - Price

    @Test("a reservation holds its price whatever becomes of the item's (hazard 44)")
    func heldPrice() async throws {
        try await fixture.stock(1, price: 1000, onHand: 5)
        let first = try await fixture.reserve("a", Self.two).get()
        _ = try await fixture.catalogue {
            try $0.put(1, name: "dearer", price: Money(minorUnits: 3000, currency: .usd), onHand: nil)
        }
        #expect(try await fixture.reserve("a", Self.two).get() == first)
        #expect(try await fixture.complete("a").get().total == Money(minorUnits: 2000, currency: .usd))
        #expect(try await fixture.reserve("b", Self.two).get().total == Money(minorUnits: 6000, currency: .usd))
    }

    // MARK: - The same id again

    @Test("the same id with the same lines is the same reservation, and takes once (hazard 1)")
    func repeated() async throws {
        try await fixture.stock(1, onHand: 5)
        let first = try await fixture.reserve("r", Self.two).get()
        fixture.test.time.advance(by: .seconds(10))
        #expect(try await fixture.reserve("r", Self.two, timeToLive: .seconds(1)).get() == first)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 2))
    }

    @Test("the same id after its completion is the completed reservation, and takes nothing more")
    func repeatedAfterCompletion() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.two)
        let completed = try await fixture.complete("r").get()
        #expect(try await fixture.reserve("r", Self.two).get() == completed)
        #expect(try await fixture.levels(1) == Levels(onHand: 3, reserved: 0))
    }

    @Test("the same id with other lines is refused, and takes nothing")
    func otherLines() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.two)
        let other = try await fixture.reserve("r", [LineRequest(itemID: 1, quantity: 1)])
        #expect(other.refusal == .idReused)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 2))
    }

    @Test("a refusal is remembered under the id: goods that come later are not taken by a repetition that is late")
    func rememberedRefusal() async throws {
        try await fixture.stock(1, onHand: 1)
        let refused = try await fixture.reserve("r", Self.two)
        #expect(refused.refusal == .insufficientStock)

        _ = try await fixture.catalogue { try $0.restock(1, quantity: 10) }
        #expect(try await fixture.reserve("r", Self.two) == refused)
        #expect(try await fixture.levels(1) == Levels(onHand: 11, reserved: 0))
        #expect(try await fixture.reserve("s", Self.two).refusal == nil)
    }

    @Test("what was refused for some lines is not the answer to others")
    func refusedOtherLines() async throws {
        try await fixture.stock(1, onHand: 1)
        let refused = try await fixture.reserve("r", Self.two)
        #expect(try await fixture.reserve("r", [LineRequest(itemID: 1, quantity: 1)]).refusal == .idReused)
        #expect(try await fixture.reserve("r", Self.two) == refused)
        #expect(try await fixture.levels(1) == Levels(onHand: 1, reserved: 0))
    }

    @Test("a refusal of which an earlier version has not kept the lines answers any")
    func refusedByEarlierVersion() async throws {
        try await fixture.stock(1, onHand: 1)
        let refused = try await fixture.reserve("r", Self.two)
        try await fixture.test.store.transaction { transaction in
            _ = try transaction.run("UPDATE refused_reservations SET lines = NULL", [])
        }
        #expect(try await fixture.reserve("r", [LineRequest(itemID: 1, quantity: 1)]) == refused)
    }

    @Test("a refusal for an invalid cart is remembered with the place of its fault")
    func rememberedPlace() async throws {
        try await fixture.stock(1, price: Int64.max, onHand: 5)
        let refused = try await fixture.reserve("r", Self.two)
        #expect(refused.refusal == .invalid)
        #expect(try await fixture.reserve("r", Self.two) == refused)
    }

    @Test("a refusal under an id that Stock made is not remembered: nobody can repeat it")
    func unrememberedRefusal() async throws {
        try await fixture.stock(1, onHand: 1)
        #expect(try await fixture.reserve("r", Self.two, rememberRefusal: false).refusal == .insufficientStock)
        _ = try await fixture.catalogue { try $0.restock(1, quantity: 10) }
        #expect(try await fixture.reserve("r", Self.two, rememberRefusal: false).refusal == nil)
    }

    // MARK: - Many at once

    @Test("of a hundred reserves at once for the last ten, exactly ten succeed (hazard 39)")
    func race() async throws {
        try await fixture.stock(1, onHand: 10)
        let fixture = fixture
        let results = try await withThrowingTaskGroup(of: Result<Reservation, StockRefusal>.self) { group in
            for number in 0..<100 {
                group.addTask { try await fixture.reserve("r\(number)", [LineRequest(itemID: 1, quantity: 1)]) }
            }
            return try await group.reduce(into: [Result<Reservation, StockRefusal>]()) { $0.append($1) }
        }
        #expect(results.count { $0.refusal == nil } == 10)
        #expect(results.count { $0.refusal == .insufficientStock } == 90)
        #expect(try await fixture.levels(1) == Levels(onHand: 10, reserved: 10))
    }
}
