import AuditAPI
import Resilience
import StockAPI

/// What the reservations hold and have taken of each item. Some 100 bytes for each item that was ever reserved.
public struct ReservedGoodsSums: Sendable {
    struct Sums: Equatable, Sendable {
        var held: Int64 = 0
        var completed: Int64 = 0
    }

    private(set) var items: [Int64: Sums] = [:]

    /// Nothing.
    public init() {}

    /// Adds a reservation.
    public mutating func add(_ reservation: ReservationEntry) {
        for line in reservation.lines ?? [] {
            switch reservation.status {
            case .reserved: items[line.itemID, default: Sums()].held += line.quantity
            case .completed: items[line.itemID, default: Sums()].completed += line.quantity
            case .canceled: break
            }
        }
    }
}

/// What was found of Stock's items.
public struct ItemsVerdict: Equatable, Sendable {
    /// What is wrong.
    public var findings: [Finding] = []
    /// What is wrong unless goods have moved to and fro meanwhile: wrong if a second reading says the same.
    public var doubts: [Finding] = []
    /// How many items were moved while the reservations were read, so that what they hold could not be compared.
    public var moving = 0
}

extension AuditRules {
    /// Stock looks for expired reservations every second; with so much patience, none that it is just about to cancel counts.
    static let sweepTime = Duration.seconds(10)

    /// Whether a reservation that is still open is one that may be (INV-6), and can be read (INV-5).
    public func judge(_ reservation: ReservationEntry, readAt: Timestamp) -> Verdict {
        var verdict = Verdict()
        if reservation.lines == nil {
            verdict.find(
                5, [.reservation(reservation.id)],
                """
                The lines of reservation \(reservation.id) (\(reservation.status.rawValue)) cannot be read: which goods it \
                holds or has taken is not known.
                """)
        }
        if reservation.status == .reserved {
            let due = reservation.expiresAt ?? reservation.createdAt
            if due.advanced(by: max(grace, Self.sweepTime)) <= readAt {
                verdict.find(
                    6, [.reservation(reservation.id)],
                    """
                    Reservation \(reservation.id) is still open, although it was to expire at \(due): its goods are \
                    neither sold nor for sale. Stock's sweep does not work.
                    """)
            }
        }
        return verdict
    }

    /// Whether every item adds up (INV-5), and its goods have moved once for each reservation that says so (INV-7).
    ///
    /// The reservations are read page by page while goods move. What has left the stock only grows, so the reservations must
    /// account for no less than before they were read and no more than after; what they hold is compared only of items
    /// that stand as they stood before.
    ///
    /// - Parameters:
    ///   - before: the items before the reservations were read.
    ///   - after: the items after that.
    ///   - sold: of each item, what completed orders have taken by their reservations, which were read before. Two orders that name one reservation
    ///     have taken it twice (INV-8).
    public func judge(
        _ sums: ReservedGoodsSums, before: [Int64: ItemEntry], after: [Int64: ItemEntry], sold: [Int64: Int64] = [:]
    ) -> ItemsVerdict {
        var verdict = ItemsVerdict()
        for item in after.values.sorted(by: { $0.itemID < $1.itemID }) {
            if let finding = addsUp(item) { verdict.findings.append(finding) }
            guard let old = before[item.itemID] else { continue }
            let seen = sums.items[item.itemID] ?? ReservedGoodsSums.Sums()
            if !(min(old.completed, item.completed)...max(old.completed, item.completed)).contains(seen.completed) {
                verdict.findings.append(
                    Finding(
                        7, [.item(item.itemID)],
                        """
                        \(item.completed) of item \(item.itemID) are counted as gone, but completed reservations account \
                        for \(seen.completed): goods have left twice, or not at all, or a reservation is missing.
                        """))
            }
            if let sold = sold[item.itemID], sold > seen.completed {
                verdict.findings.append(
                    Finding(
                        8, [.item(item.itemID)],
                        """
                        \(sold) of item \(item.itemID) were sold by completed orders, but completed reservations account for \
                        \(seen.completed): several orders name one reservation, and goods that were paid for are on sale.
                        """))
            }
            if old != item {
                verdict.moving += 1
            } else if seen.held != item.reserved {
                let meaning =
                    seen.held > item.reserved
                    ? "more may be sold than is there" : "goods that nobody holds cannot be sold"
                verdict.doubts.append(
                    Finding(
                        7, [.item(item.itemID)],
                        """
                        \(item.reserved) of item \(item.itemID) are counted as reserved, but open reservations hold \
                        \(seen.held): \(meaning).
                        """))
            }
        }
        for itemID in sums.items.keys.sorted() where after[itemID] == nil {
            verdict.findings.append(
                Finding(
                    5, [.item(itemID)],
                    "Reservations hold or have taken goods of item \(itemID), which Stock does not have."))
        }
        return verdict
    }

    private func addsUp(_ item: ItemEntry) -> Finding? {
        let parts = [item.available, item.reserved, item.completed]
        let sum = parts.reduce(Int128(0)) { $0 + Int128($1) }
        guard sum != Int128(item.received) || parts.contains(where: { $0 < 0 }) else { return nil }
        return Finding(
            5, [.item(item.itemID)],
            """
            Of item \(item.itemID), \(item.received) were received, but \(item.available) available, \(item.reserved) \
            reserved and \(item.completed) gone make \(sum): goods have appeared or vanished.
            """)
    }
}
