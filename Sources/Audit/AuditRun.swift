import AuditAPI
import Resilience
import StockAPI

/// One audit: reads the three services page by page, judges each record together with those that belong to it, and looks a
/// second time at whatever seems wrong.
///
/// The services are read one after the other while they work. That is sound because each record is read before those that
/// it depends on: an order before its reservation and charge, a charge before its order. What still seems wrong is read
/// again, in the same order, and only what is wrong then too is a finding.
///
/// Memory: two pages, the findings (`AuditReport.maximumFindings`), `KeyUses` for the orders of one key's life, two sums for each
/// currency, `ReservedGoodsSums`, what was sold of each item, and two lists of all items. Time: for a million orders some hundred thousand requests, one after the
/// other.
public struct AuditRun {
    /// How many orders or charges are read at once: as many as can be asked for by id.
    static let pageSize = AuditLimits.ids

    let source: any AuditSource
    let rules: AuditRules
    private let readsProvider: Bool
    /// Of each item, what completed orders have taken by their reservations.
    private var sold: [Int64: Int64] = [:]
    var report: AuditReport

    /// An audit. - Parameter readsProvider: whether the providers' own books are compared with the ledger.
    public init(_ source: any AuditSource, rules: AuditRules, readsProvider: Bool = false) {
        self.source = source
        self.rules = rules
        self.readsProvider = readsProvider
        report = AuditReport(grace: rules.grace)
    }

    /// Makes the audit. - Throws: `AuditError` when a service cannot be read.
    public mutating func run() async throws(AuditError) -> AuditReport {
        report = AuditReport(grace: rules.grace)
        sold = [:]
        try await readOrders()
        let soldBefore = try await salesAccounts()
        let sales = try await readCharges()
        report.add(rules.judge(sales, before: soldBefore, after: try await salesAccounts()))
        try await readStock()
        let settledBefore = try await settlementAccounts()
        let settlements = try await readPayments()
        report.add(rules.judge(settlements, before: settledBefore, after: try await settlementAccounts()))
        try await readLedger()
        if readsProvider { try await readProvider() }
        report.add(report.money.findings())
        return report
    }

    // MARK: - Orders

    private mutating func readOrders() async throws(AuditError) {
        var uses = KeyUses(keyLife: rules.keyLife)
        var cursor: String?
        var isFirst = true
        repeat {
            let page = try await source.page(of: OrderEntry.self, after: cursor, limit: Self.pageSize)
            if isFirst { report.startedAt = page.readAt }
            isFirst = false
            try await judge(page)
            for order in page.entries {
                report.orders[order.status, default: 0] += 1
                guard let earlier = uses.note(order) else { continue }
                try await judgeKey(earlier, order.id)
            }
            cursor = page.nextCursor
        } while cursor != nil
    }

    private mutating func judge(_ page: AuditPage<OrderEntry>) async throws(AuditError) {
        var suspects: [String] = []
        for orderCase in try await cases(page) {
            if orderCase.reservation != nil { report.orderReservations += 1 }
            let verdict = rules.judge(orderCase)
            guard verdict.findings.isEmpty else {
                suspects.append(orderCase.order.id)
                continue
            }
            take(verdict, young: \.youngOrders)
        }
        guard !suspects.isEmpty else { return }
        let again = try await source.entries(of: OrderEntry.self, ids: suspects, keys: [])
        for orderCase in try await cases(again) { take(rules.judge(orderCase), young: \.youngOrders) }
    }

    /// The orders with what they name, read now.
    private func cases(_ page: AuditPage<OrderEntry>) async throws(AuditError) -> [OrderCase] {
        let records = page.entries.compactMap(\.record)
        let reservations = try await byID(ReservationEntry.self, records.map(\.reservationID))
        let charges = try await byID(ChargeEntry.self, records.map(\.chargeID), keys: records.map(\.refundID))
        return page.entries.map { order in
            OrderCase(
                order: order, reservation: order.record.flatMap { reservations[$0.reservationID] },
                charge: order.record.flatMap { charges[$0.chargeID] }, readAt: page.readAt)
        }
    }

    private mutating func judgeKey(_ earlier: String, _ later: String) async throws(AuditError) {
        let orders = try await byID(OrderEntry.self, [earlier, later])
        guard let one = orders[earlier], let other = orders[later] else { return }
        report.add(rules.judge(one, other))
    }

    // MARK: - Charges

    /// - Returns: what the ledger must say of all of them.
    private mutating func readCharges() async throws(AuditError) -> SalesSums {
        var sums = SalesSums()
        var cursor: String?
        repeat {
            let page = try await source.page(of: ChargeEntry.self, after: cursor, limit: Self.pageSize)
            page.entries.forEach { sums.add($0) }
            var suspects: [String] = []
            for chargeCase in try await cases(page) {
                report.charges[chargeCase.charge.status, default: 0] += 1
                if chargeCase.order != nil || chargeCase.charge.orderOfOrder != nil { report.orderCharges += 1 }
                let verdict = rules.judge(chargeCase)
                if verdict.findings.isEmpty {
                    take(verdict, young: \.youngCharges)
                } else {
                    suspects.append(chargeCase.charge.id)
                }
            }
            if !suspects.isEmpty {
                let again = try await source.entries(of: ChargeEntry.self, ids: suspects, keys: [])
                for chargeCase in try await cases(again) { take(rules.judge(chargeCase), young: \.youngCharges) }
            }
            cursor = page.nextCursor
        } while cursor != nil
        return sums
    }

    private func cases(_ page: AuditPage<ChargeEntry>) async throws(AuditError) -> [ChargeCase] {
        let orders = try await byID(OrderEntry.self, page.entries.compactMap(\.nameableOrder))
        return page.entries.map { charge in
            ChargeCase(charge: charge, order: charge.nameableOrder.flatMap { orders[$0] }, readAt: page.readAt)
        }
    }

    // MARK: - Stock

    private mutating func readStock() async throws(AuditError) {
        let first = try await readReservations(isFirst: true)
        report.movingItems = first.moving
        report.add(first.findings)
        guard !first.doubts.isEmpty else { return }
        // The sums of goods that move are read again as a whole: what is wrong in the same way both times is wrong.
        let second = try await readReservations(isFirst: false)
        report.add(second.doubts.filter { first.doubts.contains($0) })
    }

    private mutating func readReservations(isFirst: Bool) async throws(AuditError) -> ItemsVerdict {
        let before = try await items()
        var sums = ReservedGoodsSums()
        var cursor: String?
        repeat {
            let page = try await source.page(
                of: ReservationEntry.self, after: cursor, limit: AuditLimits.page.upperBound)
            page.entries.forEach { sums.add($0) }
            if isFirst { try await judge(page) }
            cursor = page.nextCursor
        } while cursor != nil
        let after = try await items()
        report.items = after.count
        return rules.judge(sums, before: before, after: after, sold: sold)
    }

    private mutating func judge(_ page: AuditPage<ReservationEntry>) async throws(AuditError) {
        var suspects: [String] = []
        for reservation in page.entries {
            report.reservations[reservation.status, default: 0] += 1
            if !rules.judge(reservation, readAt: page.readAt).findings.isEmpty { suspects.append(reservation.id) }
        }
        while !suspects.isEmpty {
            let ids = Array(suspects.prefix(AuditLimits.ids))
            suspects.removeFirst(ids.count)
            let again = try await source.entries(of: ReservationEntry.self, ids: ids, keys: [])
            for reservation in again.entries { report.add(rules.judge(reservation, readAt: again.readAt).findings) }
        }
    }

    private func items() async throws(AuditError) -> [Int64: ItemEntry] {
        var items: [Int64: ItemEntry] = [:]
        var cursor: String?
        repeat {
            let page = try await source.page(of: ItemEntry.self, after: cursor, limit: AuditLimits.page.upperBound)
            for item in page.entries { items[item.itemID] = item }
            cursor = page.nextCursor
        } while cursor != nil
        return items
    }

    // MARK: - Ledger

    /// The ledger's accounts of what was sold, by currency.
    private func salesAccounts() async throws(AuditError) -> [String: AccountEntry] {
        var found: [String: AccountEntry] = [:]
        for account in try await systemAccounts() where account.kind == "sales" { found[account.currency] = account }
        return found
    }

    /// The ledger's accounts of what providers hold for us.
    private func settlementAccounts() async throws(AuditError) -> [Settlement: AccountEntry] {
        var found: [Settlement: AccountEntry] = [:]
        for account in try await systemAccounts() {
            if let settlement = Settlement(account) { found[settlement] = account }
        }
        return found
    }

    /// The system's own accounts, which come before all wallets.
    private func systemAccounts() async throws(AuditError) -> [AccountEntry] {
        var found: [AccountEntry] = []
        var cursor: String?
        repeat {
            let page = try await source.page(of: AccountEntry.self, after: cursor, limit: AuditLimits.page.upperBound)
            found += page.entries.prefix { $0.number < 0 }
            cursor = page.entries.last.map { $0.number > 0 } ?? true ? nil : page.nextCursor
        } while cursor != nil
        return found
    }

    private mutating func readLedger() async throws(AuditError) {
        let ledger = try await source.page(of: LedgerEntry.self, after: nil, limit: 1)
        for entry in ledger.entries { report.add(rules.judge(entry)) }
        var cursor: String?
        repeat {
            let page = try await source.page(of: AccountEntry.self, after: cursor, limit: AuditLimits.page.upperBound)
            report.accounts += page.entries.count
            for account in page.entries { report.add(rules.judge(account)) }
            cursor = page.nextCursor
        } while cursor != nil
    }

    /// Compares the ledger with the providers' books. Its accounts are read just before those, however long all else has taken: what
    /// moves between the two is judged by its age when the books are read.
    private mutating func readProvider() async throws(AuditError) {
        let settlements = try await settlementAccounts().mapValues(\.balance)
        var sums = ProviderSums()
        var count = 0
        var cursor: String?
        var begun: Timestamp?
        repeat {
            let page = try await source.page(
                of: ProviderMovementEntry.self, after: cursor, limit: AuditLimits.page.upperBound)
            let readAt = begun ?? page.readAt
            begun = readAt
            for movement in page.entries { sums.add(movement, isOld: rules.isOld(movement.movedAt, at: readAt)) }
            count += page.entries.count
            cursor = page.nextCursor
        } while cursor != nil
        report.movements = count
        report.add(rules.judge(ledger: settlements, books: sums))
    }

    // MARK: - Parts

    private mutating func take(_ verdict: Verdict, young: WritableKeyPath<AuditReport, Int>) {
        if verdict.isTooYoung { report[keyPath: young] += 1 }
        report.add(verdict.findings)
        report.money.add(verdict.money)
        for line in verdict.goods { sold[line.itemID, default: 0] += line.quantity }
    }

    /// The records that there are of these, by id. - Parameter ids: at most `AuditLimits.ids`, perhaps repeated.
    private func byID<Entry: AuditEntry>(
        _ kind: Entry.Type, _ ids: [String], keys: [String] = []
    ) async throws(AuditError) -> [String: Entry] {
        guard !ids.isEmpty else { return [:] }
        let page = try await source.entries(of: kind, ids: Array(Set(ids)).sorted(), keys: keys)
        var found: [String: Entry] = [:]
        for entry in page.entries { found[entry.id] = entry }
        return found
    }
}
