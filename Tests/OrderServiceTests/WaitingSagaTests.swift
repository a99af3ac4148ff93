import Resilience
import ServiceKit
import TestSupport
import Testing

@testable import OrderService

@Suite("Sagas that wait to be driven", .timeLimit(.minutes(5)))
struct WaitingSagaTests {
    private let fixture: OrderFixture
    private let longestWait = Duration.seconds(130)

    init() throws {
        fixture = try OrderFixture()
    }

    private var time: ManualTime { fixture.test.time }

    private func process() -> SagaLog { SagaLog(fixture.environment, leaseDuration: .seconds(10)) }

    /// An order that was put down for so long.
    private func putDown(for pause: Duration, parkedFor: String? = nil) async throws -> String {
        let log = process()
        let left = try await fixture.leave(.refunding(.sample), in: log)
        let lease = SagaLog.firstLease(left.plan.orderID)
        try #require(try await log.putDown(left.order, lease, for: pause, rounds: 1, parkedFor: parkedFor))
        return left.plan.orderID
    }

    private func due(limit: Int = 100) async throws -> [String] {
        try await process().due(limit: limit, longestWait: longestWait).map(\.orderID)
    }

    // MARK: - Due

    @Test("those that have waited longest come first, and none before its time")
    func order() async throws {
        let third = try await putDown(for: .seconds(30))
        let first = try await putDown(for: .seconds(10))
        let second = try await putDown(for: .seconds(20))
        _ = try await putDown(for: .seconds(40))
        #expect(try await due().isEmpty)
        time.advance(by: .milliseconds(9_999))
        #expect(try await due().isEmpty)
        time.advance(by: .milliseconds(1))
        #expect(try await due() == [first])
        time.advance(by: .seconds(20))
        #expect(try await due() == [first, second, third])
        #expect(try await due(limit: 2) == [first, second])
    }

    @Test("those that have ended, or that somebody drives, are not due, however late it is")
    func notDue() async throws {
        try await fixture.leave(.reserving)
        try await fixture.leave(.failed(.sample))
        time.advance(by: .seconds(100_000))
        #expect(try await due().isEmpty)
    }

    @Test("a clock that is set back does not hide a saga for longer than the longest wait (hazard 37)")
    func clockSetBack() async throws {
        let id = try await putDown(for: .seconds(60))
        time.jump(by: .seconds(-60))
        #expect(try await due().isEmpty)
        time.jump(by: .seconds(-11))
        #expect(try await due() == [id])
        time.jump(by: .seconds(-1_000_000))
        #expect(try await due() == [id])
    }

    // MARK: - Disowned at the start

    @Test("at the start the sagas of all others are put down, in pages, and one's own and the waiting ones are left")
    func disownAll() async throws {
        let mine = try await fixture.leave(.reserving, in: fixture.parts.log)
        let waiting = try await putDown(for: .seconds(30))
        let waitingRow = try await fixture.row(waiting)
        for _ in 0..<5 { try await fixture.leave(.reserving) }
        #expect(try await fixture.parts.log.disown(limit: 3) == 3)
        #expect(try await fixture.parts.log.disown(limit: 3) == 2)
        #expect(try await fixture.parts.log.disown(limit: 3) == 0)
        #expect(try await due().count == 5)
        #expect(try await fixture.row(mine.plan.orderID).owner == fixture.parts.log.owner)
        #expect(try await fixture.row(waiting) == waitingRow)
    }

    @Test("a start with more orders than a page has puts all of them down, and says how many")
    func manyAtStart() async throws {
        for _ in 0...Recovery.pageSize { try await fixture.leave(.reserving) }
        try await fixture.parts.recovery.disownAll()
        #expect(try await due(limit: 1000).count == Recovery.pageSize + 1)
        #expect(fixture.test.log.lines.contains { $0.contains(#""count":\#(Recovery.pageSize + 1)"#) })
    }

    // MARK: - Silent owners

    @Test("only an owner that has given no sign of life since it was seen is disowned")
    func disown() async throws {
        let log = process()
        let (silent, alive) = (
            try await fixture.leave(.reserving, in: log), try await fixture.leave(.reserving, in: log)
        )
        time.advance(by: .seconds(11))
        let seen = try await process().expired(limit: 10, longestWait: longestWait)
        #expect(Set(seen.map(\.orderID)) == [silent.plan.orderID, alive.plan.orderID])
        _ = try await log.renew([SagaLog.firstLease(alive.plan.orderID)])
        try await process().disown(seen)
        #expect(try await due() == [silent.plan.orderID])
        #expect(try await fixture.row(alive.plan.orderID).owner == log.owner)
    }

    @Test("one's own sagas, the waiting ones and those within their lease are no candidates; pages have a limit")
    func candidates() async throws {
        let mine = process()
        _ = try await fixture.leave(.reserving, in: mine)
        _ = try await putDown(for: .zero)
        for _ in 0..<3 { try await fixture.leave(.reserving) }
        #expect(try await mine.expired(limit: 10, longestWait: longestWait).isEmpty)
        time.advance(by: .seconds(10))
        #expect(try await mine.expired(limit: 10, longestWait: longestWait).count == 3)
        #expect(try await mine.expired(limit: 2, longestWait: longestWait).count == 2)
    }

    // MARK: - Unparking

    @Test(
        "unparking makes parked sagas due, one or all, at most a page at once, and leaves those alone that only pause")
    func unpark() async throws {
        let log = process()
        var parked: [String] = []
        for _ in 0..<3 { parked.append(try await putDown(for: .seconds(60), parkedFor: "why")) }
        let pausing = try await putDown(for: .seconds(30))
        let command = OperatorCommand(name: "ann", reason: "why not")
        let desk = SagaDesk(log: log, logger: fixture.environment.logger)
        for _ in 0..<2 { #expect(try await desk.carryOut(.retry, of: parked[2], command) != nil) }
        #expect(try await due() == [parked[2]])
        #expect(try await log.unpark(limit: 1) == 1)
        #expect(try await log.unpark(limit: 10) == 1)
        #expect(try await Set(due()) == Set(parked))
        #expect(try await fixture.row(pausing).parkedFor == nil)
    }
}

@Suite("Telling dead owners from living ones")
struct LeaseWatchTests {
    private let lease = Duration.seconds(10)

    private func saga(_ id: String = "order", epoch: Int64 = 1, beat: Int64 = 0) -> WaitingSaga {
        WaitingSaga(orderID: id, owner: "owner", epoch: epoch, beat: beat)
    }

    @Test("an owner is silent when nothing has changed for a lease since it was first seen, and not before")
    func silent() {
        let watch = LeaseWatch()
        #expect(watch.silent([saga()], for: lease, now: .seconds(100)).isEmpty)
        #expect(watch.silent([saga()], for: lease, now: .seconds(109)).isEmpty)
        #expect(watch.silent([saga()], for: lease, now: .seconds(110)) == [saga()])
        #expect(watch.silent([saga()], for: lease, now: .seconds(111)) == [saga()])
    }

    @Test("another beat, or another epoch, is a sign of life, and the time begins anew")
    func alive() {
        for living in [saga(beat: 1), saga(epoch: 2)] {
            let watch = LeaseWatch()
            _ = watch.silent([saga()], for: lease, now: .seconds(100))
            #expect(watch.silent([living], for: lease, now: .seconds(110)).isEmpty)
            #expect(watch.silent([living], for: lease, now: .seconds(119)).isEmpty)
            #expect(watch.silent([living], for: lease, now: .seconds(120)) == [living])
        }
    }

    @Test("what is not found in between is forgotten, and the time begins anew")
    func forgotten() {
        let watch = LeaseWatch()
        _ = watch.silent([saga()], for: lease, now: .seconds(100))
        _ = watch.silent([saga("other")], for: lease, now: .seconds(105))
        #expect(watch.silent([saga(), saga("other")], for: lease, now: .seconds(110)).isEmpty)
        #expect(watch.silent([saga(), saga("other")], for: lease, now: .seconds(115)) == [saga("other")])
    }

    @Test("even a lease of no length needs to be seen twice")
    func twice() {
        let watch = LeaseWatch()
        #expect(watch.silent([saga()], for: .zero, now: .seconds(100)).isEmpty)
        #expect(watch.silent([saga()], for: .zero, now: .seconds(100)) == [saga()])
    }
}
