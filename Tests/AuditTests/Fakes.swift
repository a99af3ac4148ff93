import AuditAPI
import Resilience
import Synchronization

@testable import Audit

/// The three services as dictionaries. A test may change them when they are read, as busy services do.
final class FakeSource: AuditSource {
    struct State: Sendable {
        var orders: [OrderEntry] = []
        var reservations: [ReservationEntry] = []
        var charges: [ChargeEntry] = []
        var items: [ItemEntry] = []
        var accounts: [AccountEntry] = []
        var payments: [PaymentEntry] = []
        var clearing: [ClearingEntry] = []
        var movements: [ProviderMovementEntry] = []
        var ledger = LedgerEntry(entries: 0, faultyEntries: 0)
        /// What each charge lookup was asked for.
        var keys: [[String]] = []
        var reads = 0

        /// Everything that is there of a kind.
        func all<Entry: AuditEntry>(_ kind: Entry.Type) -> [Entry] {
            let records: [any AuditEntry] =
                switch Entry.path {
                case OrderEntry.path: orders
                case ReservationEntry.path: reservations
                case ChargeEntry.path: charges
                case LedgerEntry.path: [ledger]
                case AccountEntry.path: accounts.sorted { $0.number < $1.number }
                case ProviderMovementEntry.path: movements
                case PaymentEntry.path: payments
                case ClearingEntry.path: clearing
                default: items.sorted { $0.itemID < $1.itemID }
                }
            let entries = records.compactMap { $0 as? Entry }
            let isByNumber = [ItemEntry.path, AccountEntry.path, ProviderMovementEntry.path].contains(Entry.path)
            return isByNumber ? entries : entries.sorted { $0.id < $1.id }
        }
    }

    private let state: Mutex<State>
    private let beforeRead: @Sendable (_ path: String, _ read: Int, inout State) -> Void
    private let pageSize: Int

    /// A source of these records.
    ///
    /// - Parameters:
    ///   - pageSize: pages have fewer entries than are asked for, as those of large entries do.
    ///   - beforeRead: what happens to the records before each read; reads count from 1.
    init(
        _ state: State, pageSize: Int = 2,
        beforeRead: @escaping @Sendable (_ path: String, _ read: Int, inout State) -> Void = { _, _, _ in }
    ) {
        self.state = Mutex(state)
        self.pageSize = pageSize
        self.beforeRead = beforeRead
    }

    var keys: [[String]] { state.withLock { $0.keys } }
    var reads: Int { state.withLock { $0.reads } }

    func page<Entry: AuditEntry>(
        of kind: Entry.Type, after cursor: String?, limit: Int
    ) async throws(AuditError) -> AuditPage<Entry> {
        let entries = read(kind)
        let start = cursor.flatMap { cursor in entries.firstIndex { $0.id == cursor }.map { $0 + 1 } } ?? 0
        let page = Array(entries[start...].prefix(min(limit, pageSize)))
        let hasMore = start + page.count < entries.count
        return AuditPage(readAt: Records.now, entries: page, nextCursor: hasMore ? page.last?.id : nil)
    }

    func entries<Entry: AuditEntry>(
        of kind: Entry.Type, ids: [String], keys: [String]
    ) async throws(AuditError) -> AuditPage<Entry> {
        if kind == ChargeEntry.self { state.withLock { $0.keys.append(keys) } }
        return AuditPage(readAt: Records.now, entries: read(kind).filter { ids.contains($0.id) })
    }

    private func read<Entry: AuditEntry>(_ kind: Entry.Type) -> [Entry] {
        state.withLock { state in
            state.reads += 1
            beforeRead(Entry.path, state.reads, &state)
            return state.all(kind)
        }
    }
}

extension FakeSource.State {
    /// So many healthy checkouts, each with records of its own.
    static func healthy(_ count: Int) -> FakeSource.State {
        var state = FakeSource.State()
        for number in 0..<count { state.addCheckout(number) }
        let sold = Int64(2 * count)
        state.items = [Records.item(received: 10_000, available: 10_000 - sold, completed: sold)]
        return state
    }

    mutating func addCheckout(_ number: Int) {
        let reservation = Self.id(number, "1")
        let charge = Self.id(number, "2")
        orders.append(
            Records.order(
                Self.id(number, "0"), key: Self.id(number, "3").filter { $0 != "-" }, reservationID: reservation,
                chargeID: charge))
        reservations.append(Records.reservation(reservation))
        charges.append(Records.charge(charge, of: Self.id(number, "0")))
    }

    static func id(_ number: Int, _ kind: String) -> String {
        let digits = String(number, radix: 16)
        return "01a1fc67-dc5f-7000-8\(kind)00-" + String(repeating: "0", count: 12 - digits.count) + digits
    }
}
