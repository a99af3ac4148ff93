import AuditAPI
import StrictJSON
import Testing

@testable import Audit

@Suite("What an audit says of the ledger")
struct LedgerRuleTests {
    private func judge(_ account: AccountEntry) -> [Finding] { Records.rules.judge(account) }

    @Test("an account whose balance is the sum of its entries is well, on whichever side it grows")
    func well() {
        #expect(judge(Records.account("sales:USD", balance: 500, debits: 100, credits: 600)).isEmpty)
        #expect(
            judge(Records.account("cash_in:USD", kind: "cash_in", balance: -500, debits: 100, credits: 600)).isEmpty)
        #expect(judge(Records.account("w", kind: "wallet", balance: 0, debits: 0, credits: 0)).isEmpty)
    }

    @Test("an account whose balance is not the sum of its entries is a finding that says by how much")
    func wrong() {
        let findings = judge(Records.account("sales:USD", balance: 501, debits: 100, credits: 600))
        #expect(findings.map(\.invariant) == [11])
        #expect(findings.first?.subjects == [.account("sales:USD")])
        #expect(findings.first?.explanation.contains("5.01 USD") == true)
        #expect(findings.first?.explanation.contains("0.01 USD") == true)
        #expect(
            judge(Records.account("cash_in:USD", kind: "cash_in", balance: 500, debits: 100, credits: 600)).count == 1)
    }

    @Test("a wallet below zero is a finding though its entries say the same")
    func overdrawn() {
        let findings = judge(Records.account("w", kind: "wallet", balance: -1, debits: 101, credits: 100))
        #expect(findings.map(\.invariant) == [11])
        #expect(findings.first?.explanation.contains("overdrawn by 0.01 USD") == true)
    }

    @Test(
        "what the charges add up to must lie between what was entered before they were read and after",
        arguments: [
            (4000, 4000, 4000, 0), (3999, 4000, 4000, 1), (4001, 4000, 4000, 1), (4500, 4000, 5000, 0),
            (3999, 4000, 5000, 1),
            (5001, 4000, 5000, 1),
        ] as [(Int64, Int128, Int128, Int)])
    func sales(captured: Int64, before: Int128, after: Int128, findings: Int) {
        func accounts(_ sold: Int128) -> [String: AccountEntry] {
            ["USD": Records.account("sales:USD", balance: sold, debits: 0, credits: sold)]
        }
        var sums = SalesSums()
        sums.add(Records.charge(amount: Amount(captured, "USD"), refundedInLedger: 0))
        sums.add(Records.charge(amount: Amount(77, "USD")))
        let found = Records.rules.judge(sums, before: accounts(before), after: accounts(after))
        #expect(found.count == findings)
        #expect(Records.rules.judge(sums, before: [:], after: accounts(Int128(captured))).isEmpty)
        #expect(Records.rules.judge(sums, before: [:], after: [:]).count == 1)
    }

    @Test("an account is read as it was written, however large its sums are")
    func wire() throws {
        let account = Records.account(
            "sales:USD", balance: Int128(Int64.max) * 1000, debits: 0, credits: Int128(Int64.max) * 1000)
        let bytes = JSONWriter.bytes { account.write(to: &$0) }
        #expect(try AccountEntry(json: try JSONParser.parse(bytes)) == account)
        #expect(throws: ValidationFailure.self) {
            try AccountEntry(json: try JSONParser.parse(#"{"number":1,"accountId":"x","balance":5}"#.utf8))
        }
    }
}
