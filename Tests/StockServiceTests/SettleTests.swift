import Resilience
import StockAPI
import Storage
import TestSupport
import Testing

@testable import StockService

@Suite("Releasing and completing")
struct SettleTests {
    private let fixture: StockFixture

    init() throws { fixture = try StockFixture() }

    private static let two = [LineRequest(itemID: 1, quantity: 2)]

    // MARK: - Once

    @Test("a release puts the goods back")
    func release() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.two)
        let released = try await fixture.release("r").get()
        #expect(released.status == .canceled)
        #expect(released.lines.count == 1)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
    }

    @Test("a complete lets the goods leave the stock")
    func complete() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.two)
        #expect(try await fixture.complete("r").get().status == .completed)
        #expect(
            try await fixture.accounts() == [Account(itemID: 1, received: 5, onHand: 3, reserved: 0, completed: 2)])
    }

    @Test("goods of which nobody knows how many they are neither leave nor go back")
    func unreadableLines() async throws {
        try await fixture.stock(1, onHand: 5)
        for (id, lines) in [("a", "{"), ("b", "{}"), ("c", #"{"lines":[{"itemId":1}]}"#)] {
            _ = try await fixture.reserve(id, [LineRequest(itemID: 1, quantity: 1)])
            try await fixture.store("UPDATE reservations SET lines = '\(lines)' WHERE reservation_id = ?", id)
            await #expect(throws: StoreError.self) { try await fixture.complete(id) }
            await #expect(throws: StoreError.self) { try await fixture.release(id) }
            #expect(try await fixture.inventory { try $0.listed(id) }?.status == .reserved)
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 3))
    }

    @Test("a member that a newer version has added to a line is left alone: the goods leave, and go back")
    func unknownMember() async throws {
        try await fixture.stock(1, onHand: 5)
        for id in ["a", "b"] {
            _ = try await fixture.reserve(id, [LineRequest(itemID: 1, quantity: 1)])
            try await fixture.store(
                #"UPDATE reservations SET lines = replace(lines, '"quantity"', '"name":"x","quantity"') WHERE reservation_id = ?"#,
                id)
        }
        #expect(try await fixture.complete("a").get().lines.count == 1)
        #expect(try await fixture.release("b").get().lines.count == 1)
        #expect(try await fixture.levels(1) == Levels(onHand: 4, reserved: 0))
    }

    @Test("every line is put back, and every line leaves")
    func manyLines() async throws {
        try await fixture.stock(1, onHand: 5)
        try await fixture.stock(2, onHand: 5)
        let lines = Self.two + [LineRequest(itemID: 2, quantity: 4)]
        _ = try await fixture.reserve("a", lines)
        _ = try await fixture.release("a")
        #expect(try await fixture.accounts().allSatisfy { $0.reserved == 0 && $0.onHand == 5 })
        _ = try await fixture.reserve("b", lines)
        _ = try await fixture.complete("b")
        #expect(try await fixture.levels(1) == Levels(onHand: 3, reserved: 0))
        #expect(try await fixture.levels(2) == Levels(onHand: 1, reserved: 0))
    }

    // MARK: - Again

    @Test("two releases put the goods back once, also in one transaction (hazard 40)")
    func releaseTwice() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("other", Self.two)
        _ = try await fixture.reserve("r", Self.two)
        let results = try await fixture.inventory { [try $0.release(id: "r"), try $0.release(id: "r")] }
        #expect(results[0] == results[1])
        #expect(try await fixture.release("r") == results[0])
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 2))
    }

    @Test("of fifty releases at once, one puts the goods back")
    func releaseRace() async throws {
        try await fixture.stock(1, onHand: 100)
        _ = try await fixture.reserve("other", [LineRequest(itemID: 1, quantity: 100 - 2)])
        _ = try await fixture.reserve("r", Self.two)
        let fixture = fixture
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 { group.addTask { _ = try await fixture.release("r") } }
            try await group.waitForAll()
        }
        #expect(try await fixture.levels(1) == Levels(onHand: 100, reserved: 98))
    }

    @Test("two completes let the goods leave once (IK-26)")
    func completeTwice() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.two)
        let first = try await fixture.complete("r")
        #expect(try await fixture.complete("r") == first)
        #expect(try await fixture.levels(1) == Levels(onHand: 3, reserved: 0))
    }

    // MARK: - Against each other

    @Test(
        "a completed reservation cannot be released, nor a released one completed, and neither moves anything (IK-26)")
    func conflicts() async throws {
        try await fixture.stock(1, onHand: 10)
        _ = try await fixture.reserve("a", Self.two)
        _ = try await fixture.complete("a")
        #expect(try await fixture.release("a").refusal == .stateConflict)
        _ = try await fixture.reserve("b", Self.two)
        _ = try await fixture.release("b")
        #expect(try await fixture.complete("b").refusal == .stateConflict)
        #expect(
            try await fixture.accounts() == [Account(itemID: 1, received: 10, onHand: 8, reserved: 0, completed: 2)])
    }

    @Test("a released id cannot reserve again")
    func reserveAfterRelease() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.two)
        _ = try await fixture.release("r")
        #expect(try await fixture.reserve("r", Self.two).refusal == .stateConflict)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
    }

    // MARK: - Ids never seen

    @Test("a release of an unknown id leaves a tombstone that refuses a late reserve (IK-27, hazard 3)")
    func tombstone() async throws {
        try await fixture.stock(1, onHand: 5)
        let tombstone = try await fixture.release("r").get()
        let now = fixture.test.time.now
        #expect(
            tombstone
                == Reservation(id: "r", status: .canceled, lines: [], total: nil, createdAt: now, expiresAt: nil))
        #expect(try await fixture.reserve("r", Self.two).refusal == .stateConflict)
        #expect(try await fixture.complete("r").refusal == .stateConflict)
        #expect(try await fixture.release("r").get() == tombstone)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
    }

    @Test("a complete of an unknown id is refused, and leaves nothing behind")
    func completeUnknown() async throws {
        try await fixture.stock(1, onHand: 5)
        #expect(try await fixture.complete("r").refusal == .reservationNotFound)
        #expect(try await fixture.reserve("r", Self.two).refusal == nil)
    }

    @Test("an id whose reserve was refused can be released, and stays unusable")
    func releaseRefused() async throws {
        #expect(try await fixture.reserve("r", Self.two).refusal == .itemNotFound)
        #expect(try await fixture.release("r").get().status == .canceled)
        try await fixture.stock(1, onHand: 5)
        #expect(try await fixture.reserve("r", Self.two).refusal == .stateConflict)
    }
}
