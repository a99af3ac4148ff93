import AuditAPI
import Resilience
import StockAPI

/// What an audit found.
public struct AuditReport: Sendable {
    /// How many findings are kept to be told one by one; more are only counted. A store that was lost altogether makes one
    /// for each of its records.
    public static let maximumFindings = 1000

    /// The findings, at most `maximumFindings`.
    public private(set) var findings: [Finding] = []
    /// How many findings there are in all, by the number of their invariant.
    public private(set) var findingCounts: [Int: Int] = [:]
    /// How many orders there are by status.
    public internal(set) var orders: [OrderEntry.Status: Int] = [:]
    /// How many orders were not judged because they changed within the grace.
    public internal(set) var youngOrders = 0
    /// How many reservations there are by status.
    public internal(set) var reservations: [Reservation.Status: Int] = [:]
    /// How many charges there are by status.
    public internal(set) var charges: [ChargeEntry.Status: Int] = [:]
    /// How many charges were not judged because they were made within the grace.
    public internal(set) var youngCharges = 0
    /// How many reservations an order names; the others are of clients of Stock.
    public internal(set) var orderReservations = 0
    /// How many charges an order names, or name an order as Order does; the others are of clients of Payment.
    public internal(set) var orderCharges = 0
    /// How many items there are.
    public internal(set) var items = 0
    /// How many accounts the ledger has.
    public internal(set) var accounts = 0
    /// How many movements of money the providers' books have; nil if they were not read.
    public internal(set) var movements: Int?
    /// How many payments and refunds through providers there are.
    public internal(set) var payments = 0
    /// How many items moved while they were looked at, so that what is reserved of them could not be compared.
    public internal(set) var movingItems = 0
    /// Money by currency, of the orders and charges that were judged.
    public internal(set) var money = MoneyFlows()
    /// When the audit began, by Order's clock.
    public internal(set) var startedAt = Timestamp(milliseconds: 0)
    /// How old a change had to be to count.
    public let grace: Duration

    init(grace: Duration) {
        self.grace = grace
    }

    /// Whether everything matches.
    public var isClean: Bool { findingCounts.isEmpty }
    /// How many findings there are in all.
    public var findingCount: Int { findingCounts.values.reduce(0, +) }

    mutating func add(_ more: [Finding]) {
        for finding in more {
            findingCounts[finding.invariant, default: 0] += 1
            if findings.count < Self.maximumFindings { findings.append(finding) }
        }
    }
}
