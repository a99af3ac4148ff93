import AuditAPI
import Resilience

extension AuditRun {
    /// Judges payments through providers, and what is set aside for them.
    ///
    /// - Returns: what the ledger must say of all of them.
    /// - Throws: `AuditError`.
    mutating func readPayments() async throws(AuditError) -> SettlementSums {
        var sums = SettlementSums()
        var cursor: String?
        repeat {
            let page = try await source.page(of: PaymentEntry.self, after: cursor, limit: AuditLimits.page.upperBound)
            page.entries.forEach { sums.add($0) }
            var suspects: [String] = []
            for payment in page.entries where !rules.judge(payment, readAt: page.readAt).isEmpty {
                suspects.append(payment.id)
            }
            while !suspects.isEmpty {
                let ids = Array(suspects.prefix(AuditLimits.ids))
                suspects.removeFirst(ids.count)
                let again = try await source.entries(of: PaymentEntry.self, ids: ids, keys: [])
                for payment in again.entries { report.add(rules.judge(payment, readAt: again.readAt)) }
            }
            report.payments += page.entries.count
            cursor = page.nextCursor
        } while cursor != nil
        repeat {
            let page = try await source.page(of: ClearingEntry.self, after: cursor, limit: AuditLimits.page.upperBound)
            for account in page.entries { report.add(rules.judge(account)) }
            cursor = page.nextCursor
        } while cursor != nil
        return sums
    }
}
