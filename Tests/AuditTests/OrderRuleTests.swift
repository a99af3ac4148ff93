import AuditAPI
import Resilience
import StockAPI
import Testing

@testable import Audit

@Suite("What an audit says of an order")
struct OrderRuleTests {
    private static let subjects = (
        charge: [Finding.Subject.order(Records.orderID), .charge(Records.chargeID)],
        reservation: [Finding.Subject.order(Records.orderID), .reservation(Records.reservationID)]
    )

    @Test("a completed order with its goods gone and its money taken is well, and its money adds up")
    func completed() {
        let verdict = Records.judge(Records.order())
        #expect(verdict.findings.isEmpty)
        #expect(verdict.money.byCurrency["USD"]?.sold == 2000)
        #expect(verdict.money.byCurrency["USD"]?.captured == 2000)
        #expect(verdict.money.findings().isEmpty)
    }

    @Test("a failed order is well with nothing, with a canceled reservation, and with a charge that kept nothing")
    func failed() {
        let order = Records.order(Records.orderID, .failed)
        #expect(Records.judge(order, nil, nil).findings.isEmpty)
        for charge in [
            Records.charge(Records.chargeID, .failed), Records.charge(Records.chargeID, .canceled, of: nil),
            Records.charge(refunded: 2000, byOrder: 2000),
        ] {
            let verdict = Records.judge(order, Records.reservation(Records.reservationID, .canceled), charge)
            #expect(verdict.findings.isEmpty)
            #expect(verdict.money.findings().isEmpty)
        }
    }

    @Test("a pending order is well until the grace is over, and then INV-6 says what is in limbo")
    func pending() {
        let order = Records.order(Records.orderID, .pending)
        let young = Records.judge(order, nil, nil, at: Records.made.advanced(by: .milliseconds(59_999)))
        #expect(young == .tooYoung)
        let old = Records.judge(order, nil, nil, at: Records.made.advanced(by: .seconds(60)))
        #expect(old.only?.invariant == 6)
        #expect(old.only?.explanation.contains("no goods are set aside for it, and nothing was charged for it") == true)
        #expect(old.money == MoneyFlows())
    }

    @Test("what has moved for a pending order Stock and Payment know, and not the step at which it was stored")
    func movedForPending() {
        func said(
            _ reservation: Reservation.Status?, _ charge: ChargeEntry.Status?, refunded: Int64 = 0,
            refundPendingSince: Timestamp? = nil, step: String = "reserving"
        ) -> String {
            let verdict = Records.judge(
                Records.order(Records.orderID, .pending, step: step),
                reservation.map { Records.reservation(Records.reservationID, $0) },
                charge.map {
                    Records.charge(
                        Records.chargeID, $0, refunded: refunded, byOrder: refunded,
                        refundPendingSince: refundPendingSince)
                })
            return verdict.findings.first { $0.invariant == 6 }?.explanation ?? "nothing"
        }
        #expect(said(.completed, .succeeded).hasSuffix("its goods have left, and 20.00 USD were taken for it."))
        #expect(said(.reserved, .pending).hasSuffix("whether the money was taken is not known."))
        #expect(said(.canceled, .failed).hasSuffix("its goods are back, and no money was taken for it."))
        #expect(said(.canceled, .succeeded, refunded: 2000).hasSuffix("and its money was given back."))
        #expect(
            said(.canceled, .succeeded, refunded: 2000, refundPendingSince: Records.made)
                .hasSuffix("its money is being given back, and whether it is back is not known."))
        #expect(said(.reserved, nil, step: "releasing").hasSuffix("It is going to fail."))
    }

    @Test("an order that ended within the grace is not judged, however odd it looks")
    func young() {
        let order = Records.order(updatedAt: Records.now.advanced(by: .seconds(-59)))
        #expect(Records.judge(order, nil, nil) == .tooYoung)
        let future = Records.order(updatedAt: Records.now.advanced(by: .seconds(5)))
        #expect(Records.judge(future, nil, nil) == .tooYoung)
        let noGrace = AuditRules(grace: .zero, keyLife: .seconds(1))
        let verdict = noGrace.judge(OrderCase(order: future, reservation: nil, charge: nil, readAt: Records.now))
        #expect(verdict.findings.count == 2)
    }

    @Test("INV-1: an order whose column and saga differ contradicts itself")
    func contradiction() {
        let verdict = Records.judge(Records.order(column: .failed))
        #expect(verdict.only?.invariant == 1)
        #expect(verdict.only?.subjects == [.order(Records.orderID)])
    }

    @Test("INV-1: an order that cannot be read is told, and nothing is said of its money")
    func unreadable() {
        let verdict = Records.judge(Records.order(isReadable: false), nil, nil)
        #expect(verdict.only?.invariant == 1)
        #expect(verdict.money == MoneyFlows())
    }

    @Test("INV-3: an order that sums count with another total than it was sold for is told")
    func columnTotal() {
        #expect(Records.judge(Records.order(columnTotal: Amount(1, "USD"))).only?.invariant == 3)
        #expect(Records.judge(Records.order(columnTotal: .some(nil))).only?.invariant == 3)
    }

    // MARK: - A completed order's charge

    @Test("INV-8: a completed order without its charge was never paid, and INV-3 says how much")
    func chargeMissing() {
        let verdict = Records.judge(Records.order(), Records.reservation(), nil)
        #expect(verdict.only?.invariant == 8)
        #expect(verdict.only?.subjects == Self.subjects.charge)
        #expect(verdict.only?.explanation.contains("nothing was paid") == true)
        let sums = verdict.money.findings()
        #expect(sums.map(\.invariant) == [3])
        #expect(sums.first?.explanation.contains("20.00 USD of what was sold was not paid") == true)
    }

    @Test("INV-8: a completed order whose charge took nothing", arguments: ["pending", "failed", "canceled"])
    func chargeNotTaken(_ status: String) throws {
        let status = try #require(ChargeEntry.Status(rawValue: status))
        let verdict = Records.judge(Records.order(), Records.reservation(), Records.charge(Records.chargeID, status))
        #expect(verdict.only?.invariant == 8)
        #expect(verdict.only?.subjects == Self.subjects.charge)
    }

    @Test("INV-8: a charge of another amount or currency than the order", arguments: [("USD", 1999), ("EUR", 2000)])
    func amount(_ currency: String, _ minorUnits: Int64) {
        let charge = Records.charge(amount: Amount(minorUnits, currency))
        let verdict = Records.judge(Records.order(), Records.reservation(), charge)
        #expect(verdict.only?.invariant == 8)
        #expect(!verdict.money.findings().isEmpty)
    }

    @Test("INV-8: a charge that is another user's, or for another order or none")
    func foreignCharge() {
        for charge in [
            Records.charge(user: "bob"), Records.charge(of: nil),
            Records.charge(of: "01a1fc67-0000-7229-9f7b-3f1897ccbcb2"),
        ] {
            #expect(Records.judge(Records.order(), Records.reservation(), charge).only?.invariant == 8)
        }
    }

    @Test("INV-8: a completed order that Order itself refunded")
    func refundedByOrder() {
        let charge = Records.charge(refunded: 2000, byOrder: 2000)
        let verdict = Records.judge(Records.order(), Records.reservation(), charge)
        #expect(verdict.only?.invariant == 8)
        #expect(verdict.only?.explanation.contains("both goods and money") == true)
        #expect(verdict.money.findings().count == 1)
    }

    @Test("a completed order that a client of Payment refunded is that client's business, and its money adds up")
    func refundedByClient() {
        for refunded in [Int64(1), 2000] {
            let verdict = Records.judge(Records.order(), Records.reservation(), Records.charge(refunded: refunded))
            #expect(verdict.findings.isEmpty)
            #expect(verdict.money.byCurrency["USD"]?.returned == Int128(refunded))
            #expect(verdict.money.findings().isEmpty)
        }
    }

    // MARK: - A completed order's reservation

    @Test(
        "INV-8: a completed order whose reservation is missing, open or canceled",
        arguments: ["", "reserved", "canceled"])
    func reservationNotCompleted(_ status: String) {
        let reservation = Reservation.Status(rawValue: status).map { Records.reservation(Records.reservationID, $0) }
        let verdict = Records.judge(Records.order(), reservation)
        #expect(verdict.only?.invariant == 8)
        #expect(verdict.only?.subjects == Self.subjects.reservation)
    }

    @Test("INV-8: a reservation of other goods, another quantity or another price than the order")
    func otherGoods() {
        for reservation in [
            Records.reservation(lines: [LineRequest(itemID: 2, quantity: 2)]),
            Records.reservation(lines: [LineRequest(itemID: 1, quantity: 3)]),
            Records.reservation(lines: []), Records.reservation(lines: nil),
            Records.reservation(total: Amount(2001, "USD")), Records.reservation(total: nil),
        ] {
            let verdict = Records.judge(Records.order(), reservation)
            #expect(verdict.only?.invariant == 8)
            #expect(verdict.only?.subjects == Self.subjects.reservation)
        }
    }

    // MARK: - A failed order

    @Test("INV-4: a failed order whose charge keeps money, whole or in part")
    func keptMoney() {
        for (refunded, kept) in [(Int64(0), "20.00 USD"), (1999, "0.01 USD")] {
            let charge = Records.charge(refunded: refunded)
            let verdict = Records.judge(Records.order(Records.orderID, .failed), nil, charge)
            #expect(verdict.only?.invariant == 4)
            #expect(verdict.only?.subjects == Self.subjects.charge)
            #expect(verdict.only?.explanation.contains(kept) == true)
            #expect(verdict.money.findings().count == 1)
        }
    }

    @Test("INV-4: a failed order whose charge may yet take money")
    func pendingCharge() {
        let charge = Records.charge(Records.chargeID, .pending)
        #expect(Records.judge(Records.order(Records.orderID, .failed), nil, charge).only?.invariant == 4)
    }

    @Test("INV-6: a failed order that still holds goods; INV-8: one whose goods have left")
    func keptGoods() {
        let order = Records.order(Records.orderID, .failed)
        let held = Records.judge(order, Records.reservation(Records.reservationID, .reserved), nil)
        #expect(held.only?.invariant == 6)
        #expect(held.only?.subjects == Self.subjects.reservation)
        let gone = Records.judge(order, Records.reservation(Records.reservationID, .completed), nil)
        #expect(gone.only?.invariant == 8)
        #expect(gone.only?.explanation.contains("2 of item 1") == true)
    }
}
