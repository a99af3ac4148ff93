import AuditAPI
import Resilience
import StrictJSON
import Testing

@testable import Audit

@Suite("What an audit says of payments through providers")
struct PaymentRuleTests {
    private func payment(
        _ status: String = "succeeded", refunded: Int64 = 0, refundRecords: Int64 = 0, age: Duration = .seconds(3600)
    ) -> PaymentEntry {
        PaymentEntry(
            id: "p", kind: "withdraw", status: status, isInwards: false, provider: "stripe",
            amount: Amount(1000, "USD"),
            refunded: refunded, refundRecords: refundRecords, createdAt: Records.now.advanced(by: .zero - age))
    }

    private func judge(_ payment: PaymentEntry) -> [Int] {
        Records.rules.judge(payment, readAt: Records.now).map(\.invariant)
    }

    @Test("one that has ended is well, and one that was made just now may be open")
    func well() {
        for status in ["succeeded", "failed", "canceled"] { #expect(judge(payment(status)) == []) }
        #expect(judge(payment("partially_refunded", refunded: 400, refundRecords: 400)) == [])
        #expect(judge(payment("processing", age: .seconds(1))) == [])
    }

    @Test("one that is open for longer than the grace is a finding", arguments: ["new", "processing"])
    func hanging(_ status: String) {
        #expect(judge(payment(status)) == [6])
    }

    @Test("refunds that do not add up, or are more than the payment, are a finding")
    func refunds() {
        #expect(judge(payment(refunded: 400, refundRecords: 300)) == [4])
        #expect(judge(payment(refunded: 1001, refundRecords: 1001)) == [4])
        #expect(judge(payment(refunded: 0, refundRecords: 2000)) == [4])
    }

    @Test("clearing that holds other than the open payments do is a finding that says what that means")
    func clearing() {
        func judge(_ balance: Int128, _ held: Int128) -> [Finding] {
            Records.rules.judge(ClearingEntry(id: "clearing:stripe:USD", currency: "USD", balance: balance, held: held))
        }
        #expect(judge(-500, 500).isEmpty)
        #expect(
            judge(-700, 500).first?.explanation.contains("2.00 USD of customers' money is held for nothing") == true)
        #expect(judge(-300, 500).first?.explanation.contains("2.00 USD that is about to be paid out") == true)
        #expect(judge(-300, 500).map(\.invariant) == [11])
    }

    private func settlement(debits: Int128, credits: Int128 = 0) -> AccountEntry {
        Records.account(
            "settlement:stripe:USD", kind: "settlement", balance: debits - credits, debits: debits, credits: credits)
    }

    @Test(
        "a payment that was entered twice, or never, is a finding; one that is carried out meanwhile is none (INV-11)")
    func entered() {
        var sums = SettlementSums()
        for status in ["succeeded", "failed", "processing", "partially_refunded"] { sums.add(payment(status)) }
        let key = Settlement("stripe", "USD")
        func judge(_ before: Int128, _ after: Int128) -> [Finding] {
            Records.rules.judge(
                sums, before: [key: settlement(debits: 0, credits: before)],
                after: [key: settlement(debits: 0, credits: after)])
        }
        #expect(judge(2000, 2000).isEmpty)
        #expect(judge(1000, 3000).isEmpty)
        let twice = judge(3000, 3000)
        #expect(twice.map(\.subjects) == [[.account("settlement:stripe:USD")]])
        #expect(twice.first?.explanation.contains("30.00 USD were paid out by stripe") == true)
        #expect(twice.first?.explanation.contains("10.00 USD stand in it twice") == true)
        #expect(judge(0, 1000).first?.explanation.contains("10.00 USD were never entered") == true)
        #expect(Records.rules.judge(sums, before: [:], after: [:]).map(\.invariant) == [11])
    }

    @Test("a payment that nobody has taken up yet was not sent, and the finding says so")
    func neverSent() {
        let findings = Records.rules.judge(payment("new"), readAt: Records.now)
        #expect(findings.first?.explanation.hasSuffix("stripe has not been asked yet.") == true)
    }

    @Test("what Payment writes is what the audit reads")
    func json() throws {
        let written = JSONWriter.bytes { payment(refunded: 1).write(to: &$0) }
        #expect(try PaymentEntry(json: try JSONParser.parse(written)) == payment(refunded: 1))
        let clearing = ClearingEntry(id: "clearing:stripe:USD", currency: "USD", balance: -(1 << 70), held: 1 << 70)
        let bytes = JSONWriter.bytes { clearing.write(to: &$0) }
        #expect(try ClearingEntry(json: try JSONParser.parse(bytes)) == clearing)
    }

    @Test("a payment that seems wrong is looked at once more, and every page is read")
    func run() async throws {
        var state = FakeSource.State.healthy(1)
        state.payments = (0..<5).map { number in
            PaymentEntry(
                id: "p\(number)", kind: "deposit", status: number == 3 ? "processing" : "succeeded", isInwards: true,
                provider: "stripe", amount: Amount(1000, "USD"), refunded: 0, refundRecords: 0,
                createdAt: Records.now.advanced(by: .seconds(-3600)))
        }
        state.accounts = [settlement(debits: 4000)]
        state.clearing = [ClearingEntry(id: "clearing:paypal:USD", currency: "USD", balance: -5, held: 0)]
        var audit = AuditRun(FakeSource(state), rules: Records.rules)
        let report = try await audit.run()
        #expect(report.findings.map(\.invariant) == [6, 11])
        #expect(report.findings.first?.subjects == [.payment("p3")])
        #expect(report.payments == 5)
    }
}
