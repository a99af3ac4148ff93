import Money
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What a payment must have to be made.
extension Payments {
    /// The wallet that a payment is of, which its user claims by it.
    func find(_ request: PaymentRequest, _ caller: String, _ ledger: Ledger) throws -> Result<Wallet, Problem> {
        switch request.source {
        case .account(let id):
            guard let wallet = try ledger.wallet(id: id), wallet.isVisible(to: caller) else {
                return .failure(
                    Problem(.accountNotFound, "There is no account of yours with the id of sourceAccountId."))
            }
            try ledger.claim(wallet, for: caller)
            return .success(wallet)
        case .user(let user):
            let currency = request.amount.currency
            guard let wallet = try ledger.wallet(of: user, currency, usedBy: caller) else {
                return .failure(.noAccount(in: currency, for: caller))
            }
            return .success(wallet)
        }
    }

    func mismatch(_ request: PaymentRequest, _ wallet: Wallet) -> ValidationFailure? {
        if wallet.currency != request.amount.currency {
            return ValidationFailure("#/amount", "must be in the currency of the account, \(wallet.currency)")
        }
        let fee = request.kind.hasFee ? fee.share(of: request.amount).amount.minorUnits : 0
        guard !request.amount.minorUnits.addingReportingOverflow(fee).overflow else {
            return ValidationFailure("#/amount", "is too large with its fee")
        }
        return nil
    }

    func newPayment(
        _ id: String, _ request: PaymentRequest, _ wallet: Wallet, by caller: Caller, at now: Timestamp
    ) -> Payment {
        let share = request.kind.hasFee ? fee.share(of: request.amount) : nil
        return Payment(
            id: id, kind: request.kind, direction: request.kind == .deposit ? .inwards : .outwards, wallet,
            madeBy: caller.user, request.provider, request.amount, fee: share?.amount.minorUnits ?? 0,
            feeRemainder: share?.remainderBillionths ?? 0, token: request.token, origin: origin(caller), at: now)
    }
}
