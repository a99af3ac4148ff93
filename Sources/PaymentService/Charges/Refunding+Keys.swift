import Idempotency
import Money
import Resilience
import ServiceKit
import Storage

/// What a refund has to do with the key that it is asked for under.
extension Refunding {
    /// The key has given money back before and is forgotten since: it gives none back again (decision 15), and stands
    /// for no other command.
    ///
    /// - Throws: `Problem`, which undoes the claim, when the command is another or the refund has no outcome yet.
    func repeated(
        _ earlier: Refund, _ request: RefundRequest, _ fingerprint: Fingerprint, _ scope: IdempotencyScope,
        reference: String, now: Timestamp, in transaction: any Transaction
    ) throws -> MoneyReply {
        let charge = try ChargeBook(transaction: transaction).charge(earlier.chargeID)
        guard earlier.isFrom(request, fingerprint), let charge else { throw Problem.keyReused }
        guard earlier.status == .succeeded else { throw Problem.inProgress }
        let response = StoredResponse(status: 200, body: RefundReceipt(earlier, of: charge).json())
        try environment.keys.succeed(scope, reference: reference, response: response, now: now, in: transaction)
        return .replayed(response)
    }
}

extension Refund {
    /// Whether this command has made it. Of a refund of an older version is known what was given back, and not how it was asked
    /// for.
    fileprivate func isFrom(_ request: RefundRequest, _ fingerprint: Fingerprint) -> Bool {
        if let made = self.fingerprint { return made == fingerprint }
        return chargeID == request.chargeID && request.amount.map { $0.minorUnits == amount } ?? true
    }
}
