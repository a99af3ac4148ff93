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
