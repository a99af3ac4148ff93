import AuditAPI
import Resilience
import StockAPI
import Testing

@testable import Audit

@Suite("What an audit says of stock")
struct StockRuleTests {
    private func sums(_ reservations: ReservationEntry...) -> ReservedGoodsSums {
        var sums = ReservedGoodsSums()
        reservations.forEach { sums.add($0) }
        return sums
    }

    private func judge(_ sums: ReservedGoodsSums, _ item: ItemEntry, before: ItemEntry? = nil) -> ItemsVerdict {
        Records.rules.judge(sums, before: [item.itemID: before ?? item], after: [item.itemID: item])
    }

    @Test("an item whose numbers add up, and agree with its reservations, is well")
    func well() {
        let open = Records.reservation("open", .reserved, lines: [LineRequest(itemID: 1, quantity: 3)])
        let canceled = Records.reservation("canceled", .canceled, lines: [LineRequest(itemID: 1, quantity: 7)])
        let verdict = judge(
            sums(Records.reservation(), open, canceled), Records.item(available: 95, reserved: 3))
        #expect(verdict == ItemsVerdict())
    }

    @Test("INV-5: goods of an item have appeared or vanished")
    func unbalanced() {
        for item in [
            Records.item(received: 99), Records.item(available: 99), Records.item(received: 1, available: -1),
            Records.item(received: .max, available: .max),
        ] {
            #expect(judge(sums(Records.reservation()), item).findings.map(\.invariant) == [5])
        }
    }

    @Test("INV-7: goods are counted as gone that no completed reservation accounts for, or the other way round")
    func gone() {
        #expect(judge(sums(), Records.item()).findings.map(\.invariant) == [7])
        #expect(judge(sums(), Records.item()).findings.first?.subjects == [.item(1)])
        let twice = sums(Records.reservation("a"), Records.reservation("b"))
        #expect(judge(twice, Records.item()).findings.map(\.invariant) == [7])
    }

    @Test("INV-7: goods are counted as reserved that no open reservation holds, or the other way round")
    func held() {
        let item = Records.item(available: 95, reserved: 3)
        #expect(judge(sums(Records.reservation()), item).doubts.map(\.invariant) == [7])
        let open = Records.reservation("open", .reserved, lines: [LineRequest(itemID: 1, quantity: 4)])
        #expect(judge(sums(Records.reservation(), open), item).doubts.map(\.invariant) == [7])
    }

    @Test(
        "INV-8: completed orders have taken more of an item than completed reservations have, as when two name one reservation"
    )
    func sharedReservation() {
        let sums = sums(Records.reservation("r", lines: [LineRequest(itemID: 1, quantity: 2)]))
        func judge(sold: [Int64: Int64]) -> ItemsVerdict {
            let items = [Int64(1): Records.item()]
            return Records.rules.judge(sums, before: items, after: items, sold: sold)
        }
        #expect(judge(sold: [1: 2]) == ItemsVerdict())
        // A client of Stock has bought the rest.
        #expect(judge(sold: [1: 1, 2: 5]) == ItemsVerdict())
        let verdict = judge(sold: [1: 4])
        #expect(verdict.findings.map(\.invariant) == [8])
        #expect(verdict.findings.first?.subjects == [.item(1)])
    }

    @Test("of an item that moves meanwhile, what has left lies between before and after, and what is held is left out")
    func moving() {
        let before = Records.item(available: 95, reserved: 3)
        let after = Records.item(available: 94, reserved: 1, completed: 5)
        for quantity in [Int64(2), 3, 5] {
            let seen = Records.reservation("r", lines: [LineRequest(itemID: 1, quantity: quantity)])
            let verdict = judge(sums(seen), after, before: before)
            #expect(verdict.findings.isEmpty)
            #expect(verdict.moving == 1)
        }
        for quantity in [Int64(1), 6] {
            let seen = Records.reservation("r", lines: [LineRequest(itemID: 1, quantity: quantity)])
            #expect(judge(sums(seen), after, before: before).findings.map(\.invariant) == [7])
        }
    }

    @Test("an item that was made meanwhile is not compared; INV-5: one that is not there, but reserved, is told")
    func newAndMissing() {
        let rules = Records.rules
        #expect(rules.judge(sums(), before: [:], after: [1: Records.item()]).findings.isEmpty)
        let verdict = rules.judge(sums(Records.reservation()), before: [:], after: [:])
        #expect(verdict.findings.map(\.invariant) == [5])
    }

    @Test("INV-6: a reservation is open although it should have expired long ago")
    func expired() {
        let due = Records.now.advanced(by: .seconds(-60))
        let open = Records.reservation("r", .reserved, expiresAt: due)
        #expect(Records.rules.judge(open, readAt: Records.now).only?.invariant == 6)
        let justNow = Records.reservation("r", .reserved, expiresAt: due.advanced(by: .milliseconds(1)))
        #expect(Records.rules.judge(justNow, readAt: Records.now).findings.isEmpty)
        for status in [Reservation.Status.completed, .canceled] {
            let closed = Records.reservation("r", status, expiresAt: due)
            #expect(Records.rules.judge(closed, readAt: Records.now).findings.isEmpty)
        }
    }

    @Test("without grace, a reservation that has not expired is well, and so is one that the sweep is about to take")
    func noGrace() {
        let rules = AuditRules(grace: .zero, keyLife: .seconds(1))
        #expect(rules.judge(Records.reservation("r", .reserved), readAt: Records.now).findings.isEmpty)
        let due = Records.reservation("r", .reserved, expiresAt: Records.now.advanced(by: .seconds(-1)))
        #expect(rules.judge(due, readAt: Records.now).findings.isEmpty)
    }

    @Test("INV-5: a reservation whose lines cannot be read")
    func unreadable() {
        let verdict = Records.rules.judge(Records.reservation("r", lines: nil), readAt: Records.now)
        #expect(verdict.only?.invariant == 5)
    }
}
