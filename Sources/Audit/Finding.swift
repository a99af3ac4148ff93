import AuditAPI
import StockAPI

/// Something that does not match between the services, or within one.
public struct Finding: Hashable, Sendable {
    /// What a finding is about.
    public enum Subject: Hashable, Sendable {
        case order(String)
        case reservation(String)
        case charge(String)
        /// Through a provider.
        case payment(String)
        case item(Int64)
        case currency(String)
        /// Of the ledger.
        case account(String)
    }

    /// The number of the invariant that is broken: 1 to 8 of INV-1 to INV-8, or 11 of INV-11.
    public let invariant: Int
    /// The records concerned, the one that was looked at first.
    public let subjects: [Subject]
    /// What is wrong and what it means for money or goods, in plain English for an operator.
    public let explanation: String

    /// A finding.
    public init(_ invariant: Int, _ subjects: [Subject], _ explanation: String) {
        self.invariant = invariant
        self.subjects = subjects
        self.explanation = explanation
    }
}

/// What comes of looking at one record together with those that belong to it.
public struct Verdict: Equatable, Sendable {
    /// What is wrong.
    public var findings: [Finding] = []
    /// What the record adds to the sums of money.
    public var money = MoneyFlows()
    /// The goods that a completed order's reservation has taken.
    public var goods: [LineRequest] = []
    /// Whether the record changed so lately that nothing can be said yet.
    public var isTooYoung = false

    /// Nothing wrong and nothing moved.
    public init() {}

    static let tooYoung: Verdict = {
        var verdict = Verdict()
        verdict.isTooYoung = true
        return verdict
    }()

    mutating func find(_ invariant: Int, _ subjects: [Finding.Subject], _ explanation: String) {
        findings.append(Finding(invariant, subjects, explanation))
    }
}

/// Money that has moved in one currency, in minor units.
public struct MoneyFlow: Equatable, Sendable {
    /// What the completed orders are worth.
    public var sold: Int128 = 0
    /// What was charged for orders, completed or not.
    public var captured: Int128 = 0
    /// What of `captured` was given back, by whomever.
    public var refunded: Int128 = 0
    /// What of `refunded` a client of Payment gave back of a completed order: a return or a favour, and no matter of Order.
    public var returned: Int128 = 0
    /// What clients of Payment have charged by themselves, for no order of Order.
    public var capturedDirectly: Int128 = 0
    /// What of `capturedDirectly` was given back.
    public var refundedDirectly: Int128 = 0

    /// By how much the charges made for orders hold more than the completed orders are worth; 0 if all is well (INV-3).
    public var surplus: Int128 { captured - refunded + returned - sold }

    static func + (left: MoneyFlow, right: MoneyFlow) -> MoneyFlow {
        var sum = left
        sum.sold += right.sold
        sum.captured += right.captured
        sum.refunded += right.refunded
        sum.returned += right.returned
        sum.capturedDirectly += right.capturedDirectly
        sum.refundedDirectly += right.refundedDirectly
        return sum
    }
}

/// Money that has moved, by currency.
public struct MoneyFlows: Equatable, Sendable {
    /// By currency code.
    public private(set) var byCurrency: [String: MoneyFlow] = [:]

    /// Nothing.
    public init() {}

    mutating func add(_ currency: String, _ change: (inout MoneyFlow) -> Void) {
        change(&byCurrency[currency, default: MoneyFlow()])
    }

    mutating func add(_ other: MoneyFlows) {
        byCurrency.merge(other.byCurrency, uniquingKeysWith: +)
    }

    /// What is wrong with the sums (INV-3), by currency.
    public func findings() -> [Finding] {
        byCurrency.sorted { $0.key < $1.key }.compactMap { currency, flow in
            guard flow.surplus != 0 else { return nil }
            func text(_ minorUnits: Int128) -> String { Amount.text(minorUnits, currency) }
            let meaning =
                flow.surplus > 0
                ? "\(text(flow.surplus)) too much was taken from customers"
                : "\(text(-flow.surplus)) of what was sold was not paid"
            return Finding(
                3, [.currency(currency)],
                """
                Completed orders are worth \(text(flow.sold)), and the charges made for orders hold \
                \(text(flow.surplus + flow.sold)): \(meaning). The other findings say where.
                """)
        }
    }
}
