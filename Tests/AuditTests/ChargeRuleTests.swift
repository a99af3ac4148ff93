import AuditAPI
import Resilience
import Testing

@testable import Audit

@Suite("What an audit says of a charge")
struct ChargeRuleTests {
    private static let other = "01a1fc67-dc5f-7555-912e-482e7058eb49"
    private static let lostOrder = "01a1fc67-0000-7229-9f7b-3f1897ccbcb2"

    private func judge(_ charge: ChargeEntry, _ order: OrderEntry? = Records.order()) -> Verdict {
        Records.rules.judge(ChargeCase(charge: charge, order: order, readAt: Records.now))
    }

    @Test("an order's own charge is well here and counted with its order, whatever became of that")
    func own() {
        for status in [OrderEntry.Status.completed, .failed, .pending] {
            let verdict = judge(Records.charge(), Records.order(Records.orderID, status))
            #expect(verdict == Verdict())
        }
    }

    @Test("a charge for no order is its client's own business, and counted apart")
    func direct() {
        let verdict = judge(Records.charge("c-1", of: nil, refunded: 500, isKeyedByID: false), nil)
        #expect(verdict.findings.isEmpty)
        #expect(verdict.money.byCurrency["USD"]?.capturedDirectly == 2000)
        #expect(verdict.money.byCurrency["USD"]?.refundedDirectly == 500)
        #expect(verdict.money.byCurrency["USD"]?.captured == 0)
        #expect(verdict.money.findings().isEmpty)
    }

    @Test("a charge for an order that Order cannot have made is its client's own business")
    func foreignOrderID() {
        for charge in [
            Records.charge(of: "shop-17"),
            // A client with ids like Order's, that does not charge as Order does.
            Records.charge(of: Self.lostOrder, isKeyedByID: false), Records.charge("mine", of: Self.lostOrder),
        ] {
            let verdict = judge(charge, nil)
            #expect(verdict.findings.isEmpty)
            #expect(verdict.money.byCurrency["USD"]?.capturedDirectly == 2000)
        }
    }

    @Test("INV-4: a charge made as Order makes them, for an order that Order does not know")
    func lost() {
        let verdict = judge(Records.charge(of: Self.lostOrder), nil)
        #expect(verdict.only?.invariant == 4)
        #expect(verdict.only?.subjects == [.charge(Records.chargeID), .order(Self.lostOrder)])
        #expect(verdict.only?.explanation.contains("restore") == true)
        #expect(verdict.money.findings().count == 1)
    }

    @Test("a charge of a lost order that took nothing, or gave all back, is no matter of money")
    func lostWithoutMoney() {
        for charge in [
            Records.charge(Records.chargeID, .failed, of: Self.lostOrder),
            Records.charge(Records.chargeID, .canceled, of: Self.lostOrder),
            Records.charge(of: Self.lostOrder, refunded: 2000),
        ] {
            let verdict = judge(charge, nil)
            #expect(verdict.findings.isEmpty)
            #expect(verdict.money.findings().isEmpty)
        }
    }

    @Test("INV-4: a second charge that names an order and keeps money, whoever made it")
    func second() {
        for isKeyedByID in [true, false] {
            let verdict = judge(Records.charge(Self.other, refunded: 500, isKeyedByID: isKeyedByID))
            #expect(verdict.only?.invariant == 4)
            #expect(
                verdict.only?.subjects == [.order(Records.orderID), .charge(Self.other), .charge(Records.chargeID)])
            #expect(verdict.only?.explanation.contains("keeps 15.00 USD") == true)
            #expect(verdict.money.byCurrency["USD"]?.surplus == 1500)
        }
    }

    @Test("a second charge that was declined or given back whole is well")
    func secondWithoutMoney() {
        #expect(judge(Records.charge(Self.other, .failed)).findings.isEmpty)
        #expect(judge(Records.charge(Self.other, refunded: 2000)).findings.isEmpty)
    }

    @Test("a charge of an order that cannot be read is left to the finding about that order")
    func unreadableOrder() {
        #expect(judge(Records.charge(), Records.order(isReadable: false)).findings.isEmpty)
    }

    @Test("INV-4: more was given back than was taken")
    func refundedTooMuch() {
        for charge in [
            Records.charge(refunded: 2001), Records.charge(refunded: 2000, refundRecords: 2001),
            Records.charge(Records.chargeID, .failed, refunded: 1),
        ] {
            #expect(judge(charge).only?.invariant == 4)
        }
    }

    @Test("INV-4: a charge and its refunds tell different sums")
    func refundsDiffer() {
        let verdict = judge(Records.charge(refunded: 500, refundRecords: 400))
        #expect(verdict.only?.invariant == 4)
        #expect(verdict.only?.explanation.contains("5.00 USD") == true)
        #expect(verdict.only?.explanation.contains("4.00 USD") == true)
    }

    @Test("INV-6: a charge, or a refund, without an answer for longer than the grace, whoever asked for it")
    func pending() {
        let charge = Records.charge("c-1", .pending, of: nil, isKeyedByID: false)
        #expect(judge(charge, nil).only?.invariant == 6)
        let refund = Records.charge(refunded: 500, refundPendingSince: Records.now.advanced(by: .seconds(-60)))
        #expect(judge(refund).only?.invariant == 6)
        let young = Records.charge(refunded: 500, refundPendingSince: Records.now.advanced(by: .seconds(-59)))
        #expect(judge(young).findings.isEmpty)
    }

    @Test("a charge that was made within the grace is not judged")
    func young() {
        let charge = Records.charge(of: Self.lostOrder, createdAt: Records.now.advanced(by: .seconds(-1)))
        #expect(judge(charge, nil) == .tooYoung)
    }
}
