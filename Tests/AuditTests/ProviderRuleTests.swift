import AuditAPI
import Resilience
import StrictJSON
import Testing

@testable import Audit

@Suite("What an audit says of the providers' books")
struct ProviderRuleTests {
    private func settlement(_ balance: Int128, of provider: String = "stripe") -> AccountEntry {
        let debits = balance > 0 ? balance : 0
        return Records.account(
            "settlement:\(provider):USD", kind: "settlement", balance: balance, debits: debits,
            credits: debits - balance)
    }

    private func movement(
        _ number: Int64, _ minorUnits: Int64, _ provider: String = "stripe", kind: String = "charge",
        at movedAt: Timestamp = Records.made
    ) -> ProviderMovementEntry {
        ProviderMovementEntry(
            number: number, provider: provider, kind: kind, reference: "ref-\(number)",
            amount: Amount(minorUnits, "USD"), movedAt: movedAt)
    }

    private func audit(
        _ accounts: [AccountEntry], _ movements: [ProviderMovementEntry], readsProvider: Bool = true
    ) async throws -> AuditReport {
        var state = FakeSource.State()
        state.accounts = accounts
        // Payments that say what the ledger says: here the two are compared with the books.
        state.payments = accounts.compactMap { account in
            guard let settlement = Settlement(account), account.balance != 0 else { return nil }
            return PaymentEntry(
                id: account.account, kind: "deposit", status: "succeeded", isInwards: account.balance > 0,
                provider: settlement.provider, amount: Amount(Int64(account.balance.magnitude), "USD"), refunded: 0,
                refundRecords: 0, createdAt: Records.made)
        }
        state.movements = movements
        var run = AuditRun(FakeSource(state), rules: Records.rules, readsProvider: readsProvider)
        return try await run.run()
    }

    @Test("a ledger that has entered every movement of each provider is well")
    func well() async throws {
        let report = try await audit(
            [settlement(1250), settlement(-300, of: "paypal"), settlement(77, of: "simulated")],
            [movement(1, 2000), movement(2, -700), movement(3, -300, "paypal"), movement(4, -50)])
        #expect(report.findings.isEmpty)
        #expect(report.movements == 4)
        #expect(report.text.contains("movements     4"))
    }

    @Test("money that a provider took and nobody has is a finding that says how much")
    func unknownCharge() async throws {
        let report = try await audit([settlement(2000)], [movement(1, 2000), movement(2, 999)])
        #expect(report.findings.map(\.invariant) == [11])
        #expect(report.findings.first?.subjects == [.account("settlement:stripe:USD")])
        let explanation = try #require(report.findings.first?.explanation)
        #expect(explanation.contains("holds 20.00 USD") && explanation.contains("say 29.99 USD"))
        #expect(explanation.contains("9.99 USD that the provider took"))
    }

    @Test("a deposit that was credited and never taken is a finding")
    func unpaidDeposit() async throws {
        let report = try await audit([settlement(2000)], [])
        #expect(
            report.findings.first?.explanation.contains("20.00 USD is in accounts here that the provider never took")
                == true)
    }

    @Test("a payout made twice is a finding, also where the ledger has no such account yet")
    func doublePayout() async throws {
        let report = try await audit([], [movement(1, -500, kind: "payout"), movement(2, -500, kind: "payout")])
        #expect(report.findings.count == 1)
        #expect(report.findings.first?.explanation.contains("-10.00 USD") == true)
    }

    @Test("what moved within the grace may be entered or not, but nothing else may differ")
    func grace() async throws {
        let young = Records.now.advanced(by: .seconds(-59))
        let books = [
            movement(1, 2000), movement(2, 500, at: young), movement(3, -300, kind: "payout", at: young),
        ]
        for balance: Int128 in [1700, 2000, 2200, 2500] {
            #expect(try await audit([settlement(balance)], books).findings.isEmpty, "\(balance)")
        }
        for balance: Int128 in [1699, 2501] {
            #expect(try await audit([settlement(balance)], books).findings.count == 1, "\(balance)")
        }
    }

    @Test("the books are read after the ledger, and only when they are asked for")
    func notRead() async throws {
        let report = try await audit([settlement(2000)], [], readsProvider: false)
        #expect(report.findings.isEmpty)
        #expect(report.movements == nil)
        #expect(!report.text.contains("movements"))
    }

    @Test("a movement is read as it was written")
    func wire() throws {
        let bytes = JSONWriter.bytes { movement(1, -5).write(to: &$0) }
        #expect(try ProviderMovementEntry(json: try JSONParser.parse(bytes)) == movement(1, -5))
    }
}
