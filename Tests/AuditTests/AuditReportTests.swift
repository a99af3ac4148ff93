import AuditAPI
import Resilience
import StrictJSON
import Testing

@testable import Audit

@Suite("The report of an audit")
struct AuditReportTests {
    private func report(_ change: (inout FakeSource.State) -> Void = { _ in }) async throws -> AuditReport {
        var state = FakeSource.State.healthy(3)
        change(&state)
        var run = AuditRun(FakeSource(state), rules: Records.rules)
        return try await run.run()
    }

    @Test("a person reads what was compared, the money by currency, and that everything matches")
    func cleanText() async throws {
        let text = try await report().text
        #expect(text.contains("of what had not changed within 60 s"))
        #expect(text.contains("orders        3: completed 3, failed 0, pending 0"))
        #expect(text.contains("60.00 USD completed orders"))
        #expect(text.contains("60.00 USD charged for orders, 0.00 USD of it refunded"))
        #expect(text.hasSuffix("\nEverything matches."))
    }

    @Test("that everything matches is not said while something was too young to be judged")
    func youngText() async throws {
        let text = try await report { state in
            state.orders.append(
                Records.order(
                    FakeSource.State.id(3, "0"), .pending, key: FakeSource.State.id(3, "3").filter { $0 != "-" },
                    createdAt: Records.now, updatedAt: Records.now))
        }.text
        #expect(!text.contains("Everything matches."))
        let judged = "\nEverything that was judged matches. Too young to judge: orders 1, charges 0. Look again in 60 s"
        #expect(text.contains(judged))
    }

    @Test("a person reads each finding with its invariant and records, and how many there are")
    func findingsText() async throws {
        let text = try await report { $0.charges.removeFirst() }.text
        let order = FakeSource.State.id(0, "0")
        let charge = FakeSource.State.id(0, "2")
        #expect(text.contains("\nINV-8  order \(order)  charge \(charge)\n       Order \(order) is completed"))
        #expect(text.contains("\nINV-3  USD\n"))
        #expect(text.hasSuffix("\n2 findings: INV-3: 1, INV-8: 1."))
        #expect(!text.contains("Everything matches"))
    }

    @Test("findings beyond the bound are told as a number")
    func manyText() async throws {
        let text = try await report { state in
            state = .healthy(600)
            state.charges = []
            state.reservations = []
        }.text
        #expect(text.contains("… and 202 findings more."))
    }

    @Test("a program reads one object with the findings, the counts and the totals")
    func json() async throws {
        let report = try await report { $0.charges.removeFirst() }
        let json = try JSONParser.parse(report.json).tree
        guard case .object(let members) = json else {
            Issue.record("not an object")
            return
        }
        #expect(
            members.map(\.name) == [
                "clean", "startedAt", "graceSeconds", "findingCounts", "findings", "counts", "totals",
            ])
        let text = String(decoding: report.json, as: UTF8.self)
        #expect(text.hasPrefix(#"{"clean":false,"startedAt":"2026-"#))
        #expect(text.contains(#""graceSeconds":60,"findingCounts":{"INV-3":1,"INV-8":1}"#))
        #expect(text.contains(#"{"type":"charge","id":"\#(FakeSource.State.id(0, "2"))"}"#))
        #expect(text.contains(#""orders":{"completed":3,"failed":0,"pending":0,"tooYoung":0}"#))
        #expect(text.contains(#""totals":[{"currency":"USD","completedOrders":6000,"capturedForOrders":4000,"#))
        #expect(!text.contains("\n"))
    }

    @Test("amounts are shown with the digits of their currency, however large, and unknown currencies as they are")
    func amounts() {
        #expect(Amount(5, "USD").description == "0.05 USD")
        #expect(Amount(-2005, "USD").description == "-20.05 USD")
        #expect(Amount(500, "JPY").description == "500 JPY")
        #expect(Amount(1250, "KWD").description == "1.250 KWD")
        #expect(Amount(7, "XXX").description == "7 minor units of XXX")
        #expect(Amount.text(2 * Int128(Int64.max), "USD") == "184467440737095516.14 USD")
    }
}
