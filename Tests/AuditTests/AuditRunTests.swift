import AuditAPI
import Resilience
import StockAPI
import Testing

@testable import Audit

@Suite("An audit of the three services", .timeLimit(.minutes(5)))
struct AuditRunTests {
    private func audit(_ source: FakeSource) async throws -> AuditReport {
        var run = AuditRun(source, rules: Records.rules)
        return try await run.run()
    }

    @Test("an empty system is clean")
    func empty() async throws {
        let report = try await audit(FakeSource(FakeSource.State()))
        #expect(report.isClean)
        #expect(report.orders.isEmpty)
    }

    @Test("a healthy system of many pages is clean, and everything in it is counted")
    func healthy() async throws {
        var state = FakeSource.State.healthy(7)
        state.orders.append(Records.order(FakeSource.State.id(9, "0"), .failed, key: "99"))
        state.charges.append(Records.charge("mine", of: nil, isKeyedByID: false))
        state.reservations.append(Records.reservation("mine", .canceled))
        let report = try await audit(FakeSource(state))
        #expect(report.findings.isEmpty)
        #expect(report.isClean)
        #expect(report.orders == [.completed: 7, .failed: 1])
        #expect(report.reservations == [.completed: 7, .canceled: 1])
        #expect(report.orderReservations == 7)
        #expect(report.charges == [.succeeded: 8])
        #expect(report.orderCharges == 7)
        #expect(report.items == 1)
        #expect(report.startedAt == Records.now)
        #expect(report.money.byCurrency["USD"]?.sold == 14_000)
        #expect(report.money.byCurrency["USD"]?.captured == 14_000)
        #expect(report.money.byCurrency["USD"]?.capturedDirectly == 2000)
    }

    @Test("a charge that is gone is found once, with what is missing in the sums")
    func chargeGone() async throws {
        var state = FakeSource.State.healthy(5)
        let gone = state.charges.remove(at: 3)
        let report = try await audit(FakeSource(state))
        #expect(report.findings.map(\.invariant) == [8, 3])
        #expect(report.findings.first?.subjects == [.order(FakeSource.State.id(3, "0")), .charge(gone.id)])
        #expect(report.findingCounts == [8: 1, 3: 1])
    }

    @Test("every kind of record is found by its own part of the audit")
    func eachKind() async throws {
        var state = FakeSource.State.healthy(3)
        state.reservations[0] = Records.reservation(state.reservations[0].id, .canceled)
        state.charges.append(Records.charge("a1a1fc67-dc5f-7000-2000-00000000000f", of: state.orders[1].id))
        state.reservations.append(Records.reservation("old", .reserved, lines: [], expiresAt: Records.made))
        let report = try await audit(FakeSource(state))
        // The order's reservation, the second charge, the open reservation, the item's sum, the sum of money.
        #expect(report.findings.map(\.invariant) == [8, 4, 6, 7, 3])
    }

    @Test("Order's own refund of a completed order is told from a client's by the key, which is asked for")
    func refundKeys() async throws {
        let source = FakeSource(FakeSource.State.healthy(1))
        _ = try await audit(source)
        #expect(source.keys.contains([Records.refundID]))
    }

    @Test("two orders of one key are looked at once more, together")
    func oneKey() async throws {
        var state = FakeSource.State.healthy(2)
        let key = state.orders[0].key
        state.addCheckout(2)
        let last = state.orders.removeLast()
        state.orders.append(
            OrderEntry(
                id: last.id, user: last.user, status: last.status, total: last.total, key: key, command: last.command,
                record: last.record, createdAt: last.createdAt, updatedAt: last.updatedAt))
        state.items = [Records.item(received: 100, available: 94, completed: 6)]
        let report = try await audit(FakeSource(state))
        #expect(report.findings.map(\.invariant) == [1])
        #expect(report.findings.first?.subjects == [.order(state.orders[0].id), .order(last.id)])
    }

    @Test("every account of the ledger is looked at, page by page")
    func ledger() async throws {
        var state = FakeSource.State.healthy(1)
        state.accounts = (0..<7).map { number in
            Records.account(
                "account-\(number)", kind: "fees", number: number - 3, balance: number == 5 ? 7 : 10, debits: 0,
                credits: 10)
        }
        let report = try await audit(FakeSource(state))
        #expect(report.accounts == 7)
        #expect(report.findings.map(\.subjects) == [[.account("account-5")]])
        #expect(report.findingCounts == [11: 1])
        #expect(report.text.contains("INV-11  account account-5"))
        #expect(String(decoding: report.json, as: UTF8.self).contains(#""accounts":{"total":7}"#))
    }

    @Test("faulty entries of the ledger are a finding, and so is a charge that was entered twice")
    func enteredTwice() async throws {
        var state = FakeSource.State.healthy(0)
        state.charges = ["a", "b"].map {
            Records.charge($0, of: nil, refunded: 500, isKeyedByID: false, refundedInLedger: 500)
        }
        state.accounts = [Records.account("sales:USD", balance: 3000, debits: 1000, credits: 4000)]
        #expect(try await audit(FakeSource(state)).findings.isEmpty)
        state.ledger = LedgerEntry(entries: 5, faultyEntries: 1)
        state.accounts = [Records.account("sales:USD", balance: 5000, debits: 1000, credits: 6000)]
        let report = try await audit(FakeSource(state))
        #expect(report.findings.map(\.subjects) == [[.currency("USD")], []])
        #expect(report.findings.map(\.invariant) == [11, 11])
        #expect(report.findings.first?.explanation.contains("20.00 USD stand in it twice") == true)
    }

    @Test("a charge that is made and entered while the audit reads is no finding")
    func enteredMeanwhile() async throws {
        var state = FakeSource.State.healthy(0)
        state.accounts = [Records.account("sales:USD", balance: 0, debits: 0, credits: 0)]
        for read in 3...5 {
            let source = FakeSource(state) { _, number, state in
                guard number == read else { return }
                state.charges = [Records.charge("a", of: nil, isKeyedByID: false, refundedInLedger: 0)]
                state.accounts = [Records.account("sales:USD", balance: 2000, debits: 0, credits: 2000)]
            }
            #expect(try await audit(source).findings.isEmpty, "\(read)")
        }
    }

    // MARK: - A busy system

    @Test("what looks wrong for a moment and is right when read again is no finding")
    func passing() async throws {
        let healthy = FakeSource.State.healthy(1)
        var odd = healthy
        odd.charges[0] = Records.charge(odd.charges[0].id, .pending, of: odd.orders[0].id)
        odd.reservations[0] = Records.reservation(odd.reservations[0].id, .reserved)
        // 1 the orders, 2 and 3 what they name; then again.
        let source = FakeSource(odd) { _, read, state in
            if read == 4 { state = healthy }
        }
        let report = try await audit(source)
        #expect(report.findings.isEmpty)
        #expect(report.money.byCurrency["USD"]?.surplus == 0)
    }

    @Test("a charge that looks wrong for a moment and is right when read again is no finding")
    func passingCharge() async throws {
        let healthy = FakeSource.State.healthy(1)
        let charge = healthy.charges[0]
        let source = FakeSource(healthy) { _, read, state in
            // Read 4 is of the accounts of sales, 5 the page of charges; after it they are as they were.
            guard read == 5 || read == 7 else { return }
            state.charges[0] =
                read == 5
                ? Records.charge(charge.id, of: charge.orderID, refunded: 5, refundRecords: 0) : charge
        }
        #expect(try await audit(source).findings.isEmpty)
    }

    @Test("sums of goods that are wrong once and right the next time are no finding")
    func passingSums() async throws {
        // 9 is the first reading of the reservations, between two of the items.
        let source = FakeSource(FakeSource.State.healthy(1)) { _, read, state in
            if read == 9 { state.reservations.append(Records.reservation("passing", .reserved)) }
            if read == 10 { state.reservations.removeLast() }
        }
        let report = try await audit(source)
        #expect(report.findings.isEmpty)
        // The last are of the payments through providers, of clearing, of the ledger and of its accounts.
        #expect(source.reads == 19)
    }

    @Test("goods that are gone are a finding, however much of the item is sold while the audit reads (INV-7)")
    func busyItem() async throws {
        var state = FakeSource.State.healthy(1)
        state.items = [Records.item(received: 100, available: 48, completed: 52)]
        let source = FakeSource(state) { path, _, state in
            guard path == ItemEntry.path, let item = state.items.first else { return }
            // One more is sold before each reading of the items.
            state.items = [
                Records.item(received: 100, available: item.available - 1, completed: item.completed + 1)
            ]
            state.reservations.append(
                Records.reservation("sold-\(item.completed)", lines: [LineRequest(itemID: 1, quantity: 1)]))
        }
        let report = try await audit(source)
        #expect(report.findings.map(\.invariant) == [7])
        #expect(report.findings.first?.subjects == [.item(1)])
    }

    @Test("two completed orders that name one reservation are a finding, although each by itself looks well (INV-8)")
    func sharedReservation() async throws {
        var state = FakeSource.State.healthy(2)
        #expect(try await audit(FakeSource(state)).findings.isEmpty)
        // The second's own was canceled, and its goods went back.
        let order = state.orders[1]
        state.orders[1] = Records.order(
            order.id, key: order.key, reservationID: state.reservations[0].id, chargeID: state.charges[1].id)
        state.reservations[1] = Records.reservation(state.reservations[1].id, .canceled)
        let item = state.items[0]
        state.items[0] = Records.item(
            received: item.received, available: item.available + 2, completed: item.completed - 2)
        let report = try await audit(FakeSource(state))
        #expect(report.findings.map(\.invariant) == [8])
        #expect(report.findings.first?.subjects == [.item(item.itemID)])
    }

    @Test("what is younger than the grace is counted and not judged")
    func young() async throws {
        var state = FakeSource.State.healthy(1)
        let at = Records.now.advanced(by: .seconds(-5))
        state.orders.append(Records.order(FakeSource.State.id(8, "0"), .pending, key: "8", createdAt: at))
        state.charges.append(Records.charge("c", .pending, of: nil, isKeyedByID: false, createdAt: at))
        let report = try await audit(FakeSource(state))
        #expect(report.isClean)
        #expect(report.youngOrders == 1)
        #expect(report.youngCharges == 1)
    }

    @Test("a store that is lost altogether makes more findings than are kept, and all of them are counted")
    func bounded() async throws {
        var state = FakeSource.State.healthy(700)
        state.charges = []
        state.reservations = []
        let report = try await audit(FakeSource(state, pageSize: 64))
        #expect(report.findings.count == AuditReport.maximumFindings)
        #expect(report.findingCounts == [8: 1400, 7: 1, 3: 1])
    }

    @Test("a service that cannot be read ends the audit")
    func unreadable() async throws {
        let source = BrokenSource()
        var run = AuditRun(source, rules: Records.rules)
        let error = await #expect(throws: AuditError.self) { try await run.run() }
        #expect(error?.service == .order)
    }
}

private struct BrokenSource: AuditSource {
    func page<Entry: AuditEntry>(
        of kind: Entry.Type, after cursor: String?, limit: Int
    ) async throws(AuditError) -> AuditPage<Entry> {
        throw AuditError(Entry.service, url: "http://none", reason: "gone", mayPass: true)
    }

    func entries<Entry: AuditEntry>(
        of kind: Entry.Type, ids: [String], keys: [String]
    ) async throws(AuditError) -> AuditPage<Entry> {
        throw AuditError(Entry.service, url: "http://none", reason: "gone", mayPass: true)
    }
}
