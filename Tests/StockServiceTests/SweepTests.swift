import Resilience
import ServiceKit
import ServiceLifecycle
import StockAPI
import Storage
import TestSupport
import Testing

@testable import StockService

@Suite("The sweep of reservations", .timeLimit(.minutes(5)))
struct SweepTests {
    private let fixture: StockFixture

    init() throws { fixture = try StockFixture() }

    private static let one = [LineRequest(itemID: 1, quantity: 1)]

    @Test("a reservation whose time is over is canceled, its goods are back, and it can be completed no more")
    func expiry() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.one, timeToLive: .seconds(60))

        fixture.test.time.advance(by: .milliseconds(59_999))
        try await StockService.sweep(fixture.test.environment)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 1))

        fixture.test.time.advance(by: .milliseconds(1))
        try await StockService.sweep(fixture.test.environment)
        #expect(try await fixture.levels(1) == Levels(onHand: 5, reserved: 0))
        #expect(try await fixture.complete("r").refusal == .stateConflict)
    }

    @Test("completed and canceled reservations, and tombstones, stay as they are")
    func finalStates() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("completed", Self.one)
        _ = try await fixture.complete("completed")
        _ = try await fixture.reserve("canceled", Self.one)
        _ = try await fixture.release("canceled")
        _ = try await fixture.release("tombstone")
        let before = try await fixture.accounts()

        fixture.test.time.advance(by: .seconds(1_000_000))
        try await StockService.sweep(fixture.test.environment)
        #expect(try await fixture.accounts() == before)
        #expect(try await fixture.complete("completed").reservation?.status == .completed)
        #expect(try await fixture.release("tombstone").reservation?.status == .canceled)
    }

    @Test("one transaction cancels so many and no more, and the sweep goes on until none is left")
    func bounded() async throws {
        let count = StockService.sweepLimit * 2 + 5
        try await fixture.stock(1, onHand: Int64(count))
        try await fixture.inventory { inventory in
            for number in 0..<count {
                let result = try inventory.reserve(
                    id: "r\(number)", lines: Self.one, user: "", timeToLive: .seconds(1), rememberRefusal: true)
                _ = try result.get()
            }
        }
        fixture.test.time.advance(by: .seconds(2))

        let first = try await fixture.inventory { try $0.overdue(after: nil, limit: 7) }
        let rest = try await fixture.inventory { try $0.overdue(after: first.last, limit: count) }
        #expect((first.count, rest.count) == (7, count - 7))
        #expect(Set((first + rest).map(\.id)).count == count)
        try await StockService.sweep(fixture.test.environment)
        #expect(try await fixture.levels(1) == Levels(onHand: Int64(count), reserved: 0))
    }

    @Test("reservations that cannot be read keep no other from being released, and the first is named (hazard 22)")
    func unreadable() async throws {
        let unreadable = StockService.sweepLimit + 1
        try await fixture.stock(1, onHand: Int64(unreadable) + 1)
        try await fixture.inventory { inventory in
            for number in 0..<unreadable {
                let result = try inventory.reserve(
                    id: "bad-\(100_000 + number)", lines: Self.one, user: "", timeToLive: .seconds(1),
                    rememberRefusal: true)
                _ = try result.get()
            }
        }
        try await fixture.store("UPDATE reservations SET lines = ?", "{")
        _ = try await fixture.reserve("good", Self.one, timeToLive: .seconds(2))
        fixture.test.time.advance(by: .seconds(3))

        let error = await #expect(throws: StoreError.self) { try await StockService.sweep(fixture.test.environment) }
        let words = try #require(error?.description)
        #expect(words.hasPrefix("reservations that cannot be released: \(unreadable), of which bad-100000: "))
        #expect(try await fixture.levels(1)?.reserved == Int64(unreadable))
        #expect(try await fixture.release("good").reservation?.status == .canceled)
    }

    @Test("goods that seem to be held for longer than any may be, as the clock was set back, come back now (hazard 37)")
    func clockSetBack() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("longest", Self.one, timeToLive: .seconds(Inventory.longestHold))
        try await StockService.sweep(fixture.test.environment)
        #expect(try await fixture.levels(1)?.reserved == 1)
        try await fixture.test.store.transaction { transaction in
            _ = try transaction.run("UPDATE reservations SET expires_at = expires_at + 3600001", [])
        }
        try await StockService.sweep(fixture.test.environment)
        #expect(try await fixture.levels(1)?.reserved == 0)
    }

    @Test("a remembered refusal is forgotten after a day, so many at a time")
    func refusals() async throws {
        for id in ["a", "b", "c"] {
            #expect(try await fixture.reserve(id, Self.one).refusal == .itemNotFound)
        }
        try await fixture.stock(1, onHand: 5)
        fixture.test.time.advance(by: StockService.refusalMemory)
        try await StockService.sweep(fixture.test.environment)
        #expect(try await fixture.reserve("a", Self.one).refusal == .itemNotFound)

        fixture.test.time.advance(by: .milliseconds(1))
        let now = fixture.test.time.now
        let oldest = now.advanced(by: .zero - StockService.refusalMemory)
        #expect(try await fixture.inventory { try $0.forgetRefusals(before: oldest, limit: 2) } == 2)
        try await StockService.sweep(fixture.test.environment)
        for id in ["a", "b", "c"] {
            #expect(try await fixture.reserve(id, Self.one).refusal == nil)
        }
    }

    @Test("the service sweeps by itself, again and again")
    func periodic() async throws {
        try await fixture.stock(1, onHand: 5)
        _ = try await fixture.reserve("r", Self.one, timeToLive: .seconds(60))
        let sweep = try #require(fixture.service.background.first)
        let running = Task { try await sweep.run() }
        // Each turn's pause moves the clock on by a second.
        try await eventually { try await fixture.levels(1) == Levels(onHand: 5, reserved: 0) }
        running.cancel()
        try await running.value
        #expect(fixture.test.sleeper.sleeps.count >= 60)
        #expect(Set(fixture.test.sleeper.sleeps) == [.seconds(1)])
    }
}
