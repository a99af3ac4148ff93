import Correlation
import Resilience
import ServiceKit
import StockAPI
import Storage
import TestSupport
import Testing

@testable import OrderService

@Suite("The leases of sagas", .timeLimit(.minutes(5)))
struct LeaseTests {
    private let fixture: OrderFixture
    private let lease = Duration.seconds(10)
    private let longestWait = Duration.seconds(130)

    init() throws {
        fixture = try OrderFixture()
    }

    private var time: ManualTime { fixture.test.time }

    /// The log of a process of its own.
    private func process() -> SagaLog { SagaLog(fixture.environment, leaseDuration: lease) }

    private func step(_ left: LeftOrder) async throws -> Saga.Step? {
        try await fixture.stored(left.plan.orderID)?.record.step
    }

    private func order(_ left: LeftOrder, _ step: Saga.Step) -> Order {
        Order(
            record: SagaRecord(plan: left.plan, step: step, history: []), key: left.order.key,
            createdAt: left.order.createdAt, updatedAt: time.now)
    }

    /// What the key of an order says to whoever asks for the same again.
    private func claim(_ left: LeftOrder) async throws -> CheckoutClaim {
        let plan = OrderPlan(
            orderID: fixture.environment.identifiers.next(), reservationID: "r", chargeID: "c", refundID: "f",
            user: left.plan.user, lines: left.plan.lines, method: left.plan.method)
        return try await process().begin(
            Order(
                record: SagaRecord(plan: plan, step: .reserving, history: []), key: left.order.key, createdAt: time.now,
                updatedAt: time.now)
        ).claim
    }

    // MARK: - Beginning and saving

    @Test("an order begins under its process's first lease, with the wait of one lease")
    func begin() async throws {
        let log = process()
        let left = try await fixture.leave(.reserving, in: log)
        let expected = LeaseRow(
            status: "pending", owner: log.owner, epoch: 1, beat: 0, rounds: 0, dueAt: time.now.advanced(by: lease),
            parkedFor: nil)
        #expect(try await fixture.row(left.plan.orderID) == expected)
        #expect(SagaLog.firstLease(left.plan.orderID) == Lease(orderID: left.plan.orderID, epoch: 1))
        #expect(process().owner != log.owner)
    }

    @Test("a refusal stores neither the order nor its key, and another command may have the key")
    func refused() async throws {
        let left = try await fixture.leave(.reserving)
        let record = SagaRecord(plan: .sample, step: .reserving, history: [])
        let order = Order(record: record, key: "free", createdAt: time.now, updatedAt: time.now)
        await #expect(throws: Problem.self) {
            try await process().begin(order, orRefuse: Problem(.checkoutUnavailable, "No."))
        }
        #expect(try await fixture.onlyOrderID() == left.plan.orderID)
        let other = OrderPlan(
            orderID: "other", reservationID: "r", chargeID: "c", refundID: "f", user: OrderPlan.sample.user,
            lines: [LineRequest(itemID: 9, quantity: 9)], method: nil)
        let claim = try await process().begin(
            Order(
                record: SagaRecord(plan: other, step: .reserving, history: []), key: "free", createdAt: time.now,
                updatedAt: time.now)
        ).claim
        #expect(claim == .started)
    }

    @Test(
        "under an old epoch nothing is stored, and the key is left alone (INV-13)",
        arguments: [
            Saga.Step.charging(.sample), .releasing(.sample, then: .cancel), .completed(.sample), .failed(.sample),
        ])
    func oldEpoch(_ next: Saga.Step) async throws {
        let (old, new) = (process(), process())
        let left = try await fixture.leave(.reserving, in: old)
        let taken = try await taken(left, by: new)
        #expect(taken.lease.epoch == 2)
        let before = try await fixture.row(left.plan.orderID)

        let stale = SagaLog.firstLease(left.plan.orderID)
        #expect(try await old.save(order(left, next), stale) == false)
        #expect(try await old.putDown(order(left, next), stale, for: .zero, rounds: 9, parkedFor: "why") == false)
        #expect(try await old.renew([stale]) == [stale])
        #expect(try await fixture.row(left.plan.orderID) == before)
        #expect(try await step(left) == .reserving)
        #expect(try await claim(left) == .inProgress)

        #expect(try await new.save(order(left, next), taken.lease))
        #expect(try await step(left) == next)
    }

    @Test(
        "a step that is stored has had no rounds yet, whatever the one before it took: the next process counts from there"
    )
    func newStep() async throws {
        let log = process()
        let left = try await fixture.leave(.charging(.sample), in: log)
        let lease = SagaLog.firstLease(left.plan.orderID)
        #expect(
            try await log.putDown(order(left, .charging(.sample)), lease, for: .zero, rounds: 7, parkedFor: nil))
        let taken = try await taken(left, by: log)
        #expect(try await fixture.row(left.plan.orderID).rounds == 7)
        #expect(try await log.save(order(left, .releasing(.sample, then: .cancel)), taken.lease))
        #expect(try await fixture.row(left.plan.orderID).rounds == 0)
    }

    @Test("an order that has ended is not changed any more, not even under the epoch that has ended it (INV-17)")
    func ended() async throws {
        let log = process()
        let left = try await fixture.leave(.failed(.sample), in: log)
        let lease = SagaLog.firstLease(left.plan.orderID)
        #expect(try await log.save(order(left, .completed(.sample)), lease) == false)
        #expect(try await log.putDown(order(left, .reserving), lease, for: .zero, rounds: 0, parkedFor: nil) == false)
        #expect(try await step(left) == .failed(.sample))
        #expect(try await claim(left) == .started)
    }

    @Test("a refusal begins no next attempt under a key that has failed, and leaves the last one what it was")
    func refusedAgain() async throws {
        let left = try await fixture.leave(.failed(.sample))
        let plan = OrderPlan(
            orderID: "next", reservationID: "r", chargeID: "c", refundID: "f", user: left.plan.user,
            lines: left.plan.lines, method: left.plan.method)
        let next = Order(
            record: SagaRecord(plan: plan, step: .reserving, history: []), key: left.order.key, createdAt: time.now,
            updatedAt: time.now)
        await #expect(throws: Problem.self) {
            try await process().begin(next, orRefuse: Problem(.checkoutUnavailable, "No."))
        }
        #expect(try await fixture.onlyOrderID() == left.plan.orderID)
        let begun = try await process().begin(next)
        #expect(begun.claim == .started && begun.orderID == "next")
    }

    // MARK: - Taking over

    /// Puts an order down whose owner is dead, and takes it up.
    private func taken(_ left: LeftOrder, by log: SagaLog) async throws -> TakenSaga {
        _ = try await log.disown(limit: 100)
        let due = try await log.due(limit: 100, longestWait: longestWait)
        let seen = try #require(due.first { $0.orderID == left.plan.orderID })
        return try #require(try await log.take(seen))
    }

    @Test("a saga is taken with the epoch and beat that were seen, or not at all")
    func takeNeedsWhatWasSeen() async throws {
        let log = process()
        let left = try await fixture.leave(.reserving)
        _ = try await log.disown(limit: 10)
        let seen = try #require(try await log.due(limit: 10, longestWait: longestWait).first)
        for other in [
            WaitingSaga(orderID: seen.orderID, owner: seen.owner, epoch: seen.epoch + 1, beat: seen.beat),
            WaitingSaga(orderID: seen.orderID, owner: seen.owner, epoch: seen.epoch, beat: seen.beat + 1),
            WaitingSaga(orderID: seen.orderID, owner: "other", epoch: seen.epoch, beat: seen.beat),
            WaitingSaga(orderID: "other", owner: seen.owner, epoch: seen.epoch, beat: seen.beat),
        ] {
            #expect(try await log.take(other) == nil)
        }
        let taken = try #require(try await log.take(seen))
        #expect(taken.order == left.order)
        #expect(taken.lease == Lease(orderID: left.plan.orderID, epoch: 2))
        #expect(taken.rounds == 0)
        let row = try await fixture.row(left.plan.orderID)
        #expect(row.owner == log.owner)
        #expect(row.epoch == 2)
        #expect(row.dueAt == time.now.advanced(by: lease))
    }

    @Test("of many that take the same saga at once, one gets it")
    func manyTakers() async throws {
        try await fixture.leave(.reserving)
        let logs = (0..<10).map { _ in process() }
        _ = try await logs[0].disown(limit: 10)
        let seen = try #require(try await logs[0].due(limit: 10, longestWait: longestWait).first)
        let winners = try await withThrowingTaskGroup(of: String?.self) { group in
            for log in logs { group.addTask { try await log.take(seen) == nil ? nil : log.owner } }
            return try await group.reduce(into: [String]()) { winners, owner in
                if let owner { winners.append(owner) }
            }
        }
        #expect(winners.count == 1)
        #expect(try await fixture.row(seen.orderID).owner == winners.first)
        #expect(try await fixture.row(seen.orderID).epoch == 2)
    }

    // MARK: - Renewing

    @Test("a renewal raises the beat, moves the end of the lease, and tells of those that are lost")
    func renewal() async throws {
        let (log, other) = (process(), process())
        let kept = try await fixture.leave(.reserving, in: log)
        let lost = try await fixture.leave(.reserving, in: log)
        let ended = try await fixture.leave(.failed(.sample), in: log)
        let keptRow = try await fixture.row(kept.plan.orderID)
        try await other.disown([WaitingSaga(orderID: lost.plan.orderID, owner: log.owner, epoch: 1, beat: 0)])
        _ = try await other.take(WaitingSaga(orderID: lost.plan.orderID, owner: "", epoch: 1, beat: 0))
        let lostRow = try await fixture.row(lost.plan.orderID)
        time.advance(by: .seconds(3))

        let leases = [kept, lost, ended].map { SagaLog.firstLease($0.plan.orderID) }
        #expect(try await log.renew(leases) == [leases[1], leases[2]])
        let row = try await fixture.row(kept.plan.orderID)
        #expect(row.beat == keptRow.beat + 1)
        #expect(row.dueAt == time.now.advanced(by: lease))
        #expect(try await fixture.row(lost.plan.orderID) == lostRow)
    }

    @Test("a renewal that comes after a saga was put down does not hide it or wake it")
    func renewalAfterPutDown() async throws {
        let log = process()
        let left = try await fixture.leave(.reserving, in: log)
        let lease = SagaLog.firstLease(left.plan.orderID)
        #expect(
            try await log.putDown(
                order(left, .charging(.sample)), lease, for: .seconds(60), rounds: 8, parkedFor: "why"))
        let before = try await fixture.row(left.plan.orderID)
        #expect(try await log.renew([lease]) == [lease])
        #expect(try await fixture.row(left.plan.orderID) == before)
    }
}
