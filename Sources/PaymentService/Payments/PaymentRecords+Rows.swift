import Correlation
import Money
import ProviderAPI
import Resilience
import Storage

extension PaymentRecords {
    static let select = """
        SELECT payment_id, kind, direction, user_id, made_by, account_number, account_id, provider, amount, currency, fee,
            fee_remainder, token, refund_of, retry_of, status, phase, attempts, rounds, may_be_taken, due_at, lease_owner,
            epoch, held, refunding, refunded, fee_back, last_error, decline_code, created_at, updated_at, fingerprint,
            last_detail, request_id, traceparent, said_moved
        FROM payments
        """
    static let fingerprintColumn = 31

    static func payment(_ row: any SQLRow) throws -> Payment {
        guard let kind = Payment.Kind(rawValue: row.text(1)), let direction = Payment.Direction(rawValue: row.text(2)),
            let provider = Provider(rawValue: row.text(7)), let currency = Currency(code: row.text(9)),
            let status = Payment.Status(rawValue: row.text(15)), let phase = ProviderTask.Phase(rawValue: row.text(16))
        else {
            throw StoreError.failed(
                "payment \(row.text(0)) is a \(row.text(1)) through \(row.text(7)) in \(row.text(9)) with the status \(row.text(15))"
            )
        }
        return Payment(
            id: row.text(0), kind: kind, direction: direction, user: row.text(3), madeBy: row.text(4),
            wallet: row.integer(5), accountID: row.text(6), provider: provider,
            amount: Money(minorUnits: row.integer(8), currency: currency), fee: row.integer(10),
            feeRemainder: row.integer(11), token: row.optionalText(12), refundOf: row.optionalText(13),
            retryOf: row.optionalText(14), createdAt: Timestamp(milliseconds: row.integer(29)),
            origin: row.optionalText(33).map {
                PaymentOrigin(requestID: $0, trace: row.optionalText(34).flatMap { TraceContext(of: $0) })
            },
            status: status,
            task: ProviderTask(
                phase: phase, attempts: row.integer(17), rounds: row.integer(18), mayBeTaken: row.integer(19) == 1,
                isRefund: kind == .refund),
            dueAt: Timestamp(milliseconds: row.integer(20)), leaseOwner: row.optionalText(21), epoch: row.integer(22),
            held: row.integer(23), refunding: row.integer(24), refunded: row.integer(25), feeBack: row.integer(26),
            lastError: row.optionalText(27), declineCode: row.optionalText(28),
            updatedAt: Timestamp(milliseconds: row.integer(30)), lastDetail: row.optionalText(32),
            isSaidToHaveMoved: row.integer(35) == 1)
    }
}
