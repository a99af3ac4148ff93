import ServiceKit
import Storage

extension PaymentRecords {
    /// How many payments are looked at for one page of those that were made in nobody's name. Those of accounts that were claimed
    /// since are among them and not shown, so a page may have fewer than its limit, or none, and still a next one.
    static let maximumScanned = 500

    /// Payments of a user, newest first, without their refunds.
    ///
    /// - Parameters:
    ///   - user: empty for those that were made in nobody's name.
    ///   - cursor: only payments with a smaller id.
    func page(user: String, status: Payment.Status?, before cursor: String?, limit: Int) throws -> Page<Payment> {
        var conditions = ["refund_of IS NULL", user.isEmpty ? "made_by = ''" : Self.visible(to: user)]
        var arguments = Self.named(user)
        if let status {
            conditions.append("status = ?")
            arguments.append(.text(status.rawValue))
        }
        if let cursor {
            conditions.append("payment_id < ?")
            arguments.append(.text(cursor))
        }
        var last: String?
        if user.isEmpty {
            last = try transaction.first(
                Self.last(of: conditions), arguments + [.integer(Int64(Self.maximumScanned - 1))]
            ) { $0.text(0) }
            conditions.append(Self.visible(to: user))
            if let last {
                conditions.append("payment_id >= ?")
                arguments.append(.text(last))
            }
        }
        let found = try transaction.all(
            "\(Self.select) WHERE \(conditions.joined(separator: " AND ")) ORDER BY payment_id DESC LIMIT ?",
            arguments + [.integer(Int64(limit + 1))], Self.payment)
        return Page(found, limit: limit, scannedTo: last, id: \.id)
    }

    /// The last payment that is looked at, if there are so many.
    private static func last(of conditions: [String]) -> String {
        let condition = conditions.joined(separator: " AND ")
        return "SELECT payment_id FROM payments WHERE \(condition) ORDER BY payment_id DESC LIMIT 1 OFFSET ?"
    }
}
