import Idempotency
import Money
import Resilience
import Storage

extension ChargeBook {
    static let selectCharge = """
        SELECT charge_id, user_id, order_id, method, amount, currency, refunded, status, decline_code, operation_key,
            created_at, wallet, fingerprint FROM charges
        """

    static let selectRefund =
        "SELECT refund_id, charge_id, user_id, amount, status, operation_key, created_at, fingerprint FROM refunds"

    static func charge(_ row: any SQLRow) throws -> Charge {
        guard let currency = Currency(code: row.text(5)), let status = Charge.Status(rawValue: row.text(7)) else {
            throw StoreError.failed(
                "charge \(row.text(0)) has the currency \(row.text(5)) and the status \(row.text(7))")
        }
        return Charge(
            id: row.text(0), user: row.text(1), orderID: row.optionalText(2), method: row.text(3),
            amount: Money(minorUnits: row.integer(4), currency: currency), refunded: row.integer(6), status: status,
            declineCode: row.optionalText(8).flatMap { DeclineCode(rawValue: $0) }, key: row.optionalText(9),
            createdAt: Timestamp(milliseconds: row.integer(10)), wallet: row.optionalInteger(11),
            fingerprint: fingerprint(row, 12))
    }

    static func refund(_ row: any SQLRow) throws -> Refund {
        guard let status = Refund.Status(rawValue: row.text(4)) else {
            throw StoreError.failed("refund \(row.text(0)) has the status \(row.text(4))")
        }
        return Refund(
            id: row.text(0), chargeID: row.text(1), user: row.text(2), amount: row.integer(3), status: status,
            key: row.text(5), createdAt: Timestamp(milliseconds: row.integer(6)), fingerprint: fingerprint(row, 7))
    }

    /// None where none was stored.
    private static func fingerprint(_ row: any SQLRow, _ column: Int) -> Fingerprint? {
        let bytes = row.blob(column)
        return bytes.isEmpty ? nil : Fingerprint(bytes: bytes)
    }

    // MARK: - By key

    /// The charge that has taken money under a key other than its id, or is about to. The conditions are those of the unique
    /// index that it is found by.
    func charge(takenUnder key: IdempotencyKey, by user: String) throws -> Charge? {
        try transaction.first(
            "\(Self.selectCharge) WHERE user_id = ? AND operation_key = ? AND \(KeysForEver.ofCharges)",
            [.text(user), .text(key.value)], Self.charge)
    }

    /// The refund that was made under a key, or is about to be.
    func refund(madeUnder key: IdempotencyKey, by user: String) throws -> Refund? {
        try transaction.first(
            "\(Self.selectRefund) WHERE user_id = ? AND operation_key = ? AND \(KeysForEver.ofRefunds)",
            [.text(user), .text(key.value)], Self.refund)
    }
}
