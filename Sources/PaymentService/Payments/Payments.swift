import Correlation
import Idempotency
import Money
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What clients and operators do with payments through providers: make them, give them back, cancel them, make them anew. Each
/// is one transaction; the worker does the rest.
///
/// A key is remembered twice: with its answer for as long as all keys are, and for ever with the payment that it made, by a
/// unique constraint.
struct Payments: Sendable {
    let environment: ServiceEnvironment
    /// `TRANSACTION_FEE`.
    let fee: Rate
    let metrics: PaymentMetrics
    /// Called when there is something to do at once.
    let wake: @Sendable () -> Void

    // MARK: - Commands

    /// Takes a payment on; money that goes out is set aside. - Throws: `Problem`, or `StoreError`.
    func create(
        _ request: PaymentRequest, operation: String, by caller: Caller, key: IdempotencyKey
    ) async throws -> CommandReply {
        let id = environment.identifiers.next()
        return try await carryOut(operation, caller, key, request.fields, id) { records, claim, now in
            let wallet: Wallet
            switch try find(request, caller.user, records.ledger) {
            case .success(let found): wallet = found
            case .failure(let problem): return .failure(problem)
            }
            // Thrown, which undoes the claim of the key: a command that is not valid does not use it up (IK-17).
            if let failure = mismatch(request, wallet) { throw Problem(failure) }
            let payment = newPayment(id, request, wallet, by: caller, at: now)
            return try insert(payment, wallet, records, claim)
        }
    }

    /// Gives all or a part of a payment back. - Throws: `Problem`, or `StoreError`.
    ///
    /// - Parameter read: the request, once the payment's currency is known.
    func refund(
        _ id: String, by caller: Caller, key: IdempotencyKey,
        _ read: @escaping @Sendable (Currency) throws -> PaymentRefundRequest
    ) async throws -> CommandReply {
        let known = try await environment.store.transaction {
            try PaymentRecords(transaction: $0).payment(id, visibleTo: caller.user)
        }
        guard let known else { throw Problem.paymentNotFound }
        let request = try read(known.amount.currency)
        let refundID = environment.identifiers.next()
        let fields = [id, request.amount.map { String($0.minorUnits) }]
        return try await carryOut("refund payment", caller, key, fields, refundID) { records, claim, now in
            guard let payment = try records.payment(id, visibleTo: caller.user) else {
                return .failure(.paymentNotFound)
            }
            return try refund(
                payment, request.amount?.minorUnits, as: refundID, madeBy: caller.user, origin: origin(caller), records,
                claim, at: now)
        }
    }

    /// Cancels a payment that its provider cannot have taken; repeated, it answers the same. - Throws: `Problem`, or `StoreError`.
    func cancel(_ id: String, caller: String) async throws -> Payment {
        let result: Result<(Payment, Bool), Problem> = try await environment.store.transaction {
            [environment] transaction in
            let records = PaymentRecords(transaction: transaction)
            guard let payment = try records.payment(id, visibleTo: caller) else {
                return .failure(.paymentNotFound)
            }
            if payment.status == .canceled { return .success((payment, false)) }
            guard try records.cancel(payment, at: environment.time.now), let canceled = try records.payment(id) else {
                return .failure(
                    .paymentConflict(
                        "The payment is \(payment.status.rawValue); only one that the provider cannot have taken is canceled."
                    ))
            }
            return .success((canceled, true))
        }
        let (payment, isNow) = try result.get()
        if isNow { metrics.count(payment, .canceled) }
        return payment
    }

    /// Makes a payment anew that was given up, under an id of its own: under the old one the provider takes nothing any more.
    ///
    /// - Returns: the id of the payment that was made. - Throws: `Problem` when the plan is not the one that would be made now, or
    ///   the money is not there any more; or `StoreError`. Nothing was done then.
    func retry(deadLetter id: String, _ command: OperatorCommand) async throws -> String {
        let newID = environment.identifiers.next()
        let (plan, made) = try await environment.store.transaction { [environment] transaction in
            let records = PaymentRecords(transaction: transaction)
            let now = environment.time.now
            let plan = try DeadLetterPlan(.retry, of: id, in: transaction)
            try command.check(plan.id)
            // Thrown, which undoes whatever was written before it turned out that it cannot be.
            let made = try remake(plan.letter.payment, as: newID, records, at: now).get()
            try resolve(plan, .retried, command, at: now, records)
            return (plan, made)
        }
        metrics.count(made, .new)
        wake()
        command.tell(environment.logger, "retry", of: ("payment_id", id), plan: plan.id)
        return newID
    }

    /// Lets a dead letter be. - Throws: `Problem` when the plan is not the one that would be made now, or `StoreError`.
    func discard(deadLetter id: String, _ command: OperatorCommand) async throws {
        let plan = try await environment.store.transaction { [environment] transaction in
            let plan = try DeadLetterPlan(.discard, of: id, in: transaction)
            try command.check(plan.id)
            try resolve(
                plan, .discarded, command, at: environment.time.now, PaymentRecords(transaction: transaction))
            return plan
        }
        command.tell(environment.logger, "discard", of: ("payment_id", id), plan: plan.id)
    }

    /// In the transaction that made the plan.
    private func resolve(
        _ plan: DeadLetterPlan, _ resolution: DeadLetter.Resolution, _ command: OperatorCommand, at now: Timestamp,
        _ records: PaymentRecords
    ) throws {
        guard try records.resolve(plan.letter, resolution, at: now) else {
            throw StoreError.failed("dead letter \(plan.letter.payment.id) was looked at and is resolved")
        }
        try OperatorLog(records.transaction).record(
            command.action(plan.action.rawValue, plan: plan.id, at: now), on: plan.letter.payment.id)
    }

    // MARK: - Steps

    func origin(_ caller: Caller) -> PaymentOrigin {
        PaymentOrigin(requestID: caller.requestID, trace: environment.traces == nil ? nil : caller.trace)
    }

    /// Makes a payment once for a key, which is the caller's (IK-14).
    private func carryOut(
        _ operation: String, _ caller: Caller, _ key: IdempotencyKey, _ fields: [String?], _ id: String,
        _ body: @escaping @Sendable (PaymentRecords, PaymentRecords.Claim, Timestamp) throws -> Result<Payment, Problem>
    ) async throws -> CommandReply {
        let scope = IdempotencyScope(user: caller.user, operation: operation, key: key)
        let (result, made): (Result<CommandReply, Problem>, Payment?) = try await environment.store.transaction {
            [environment] transaction in
            if caller.isTooLate(on: environment.time) { return (.failure(.tooLate), nil) }
            let now = environment.time.now
            let records = PaymentRecords(transaction: transaction)
            let fingerprint = Fingerprint(operation: scope.operation, fields: fields)
            var made: Payment?
            let result = try environment.once(scope, fields, reference: id, now, transaction) {
                if let (payment, earlier) = try records.payment(madeBy: scope) {
                    // Thrown, which undoes the claim: the key stands for what it has made, and never for anything else.
                    guard earlier == fingerprint else { throw Problem.keyReused }
                    return .success(.replayed(StoredResponse(status: 202, body: payment.receiptJSON())))
                }
                return try body(records, PaymentRecords.Claim(scope: scope, fingerprint: fingerprint), now).map {
                    made = $0
                    return .accepted($0.receiptJSON(), location: "", isReplay: false)
                }
            }
            return (result, made)
        }
        if let made {
            metrics.count(made, .new)
            wake()
        }
        return try result.get()
    }

    private func insert(
        _ payment: Payment, _ wallet: Wallet, _ records: PaymentRecords, _ claim: PaymentRecords.Claim?
    ) throws -> Result<Payment, Problem> {
        if payment.direction == .inwards, payment.kind != .refund, !wallet.canHold(payment.amount) {
            return .failure(.balanceLimitExceeded)
        }
        guard wallet.balance >= payment.holdFromWallet else { return .failure(.declined(.insufficientFunds)) }
        try records.insert(payment, claim)
        return .success(payment)
    }

    /// - Parameter part: minor units; nil is all that is left.
    private func refund(
        _ payment: Payment, _ part: Int64?, as id: String, madeBy caller: String, retryOf: String? = nil,
        origin: PaymentOrigin?, _ records: PaymentRecords, _ claim: PaymentRecords.Claim?, at now: Timestamp
    ) throws -> Result<Payment, Problem> {
        guard payment.kind != .refund, payment.status.isRefundable else {
            return .failure(
                .paymentConflict(
                    "The \(payment.kind.rawValue) is \(payment.status.rawValue); nothing can be given back."))
        }
        let part = part ?? payment.refundable
        guard part > 0, part <= payment.refundable else {
            return .failure(
                Problem(
                    .refundExceedsPayment, "Of the payment, \(payment.refundable) minor units are left to give back."))
        }
        guard let wallet = try records.ledger.wallet(id: payment.accountID) else { return .failure(.accountNotFound) }
        try records.ledger.claim(wallet, for: caller)
        let refund = Payment(
            id: id, kind: .refund, direction: payment.direction == .inwards ? .outwards : .inwards, wallet,
            madeBy: caller, payment.provider, Money(minorUnits: part, currency: payment.amount.currency),
            fee: payment.feeBack(for: part), feeRemainder: 0, token: nil, refundOf: payment.id, retryOf: retryOf,
            origin: origin, at: now)
        let made = try insert(refund, wallet, records, claim)
        guard case .success = made else { return made }
        guard try records.setAside(refund, of: payment) else {
            throw StoreError.failed("refund \(id) was looked at and does not fit")
        }
        return made
    }

    private func remake(
        _ dead: Payment, as id: String, _ records: PaymentRecords, at now: Timestamp
    ) throws -> Result<Payment, Problem> {
        if let refunded = dead.refundOf {
            guard let payment = try records.payment(refunded) else { return .failure(.paymentNotFound) }
            return try refund(
                payment, dead.amount.minorUnits, as: id, madeBy: dead.madeBy, retryOf: dead.id,
                origin: dead.origin, records, nil, at: now)
        }
        guard let wallet = try records.ledger.wallet(id: dead.accountID) else { return .failure(.accountNotFound) }
        let payment = Payment(
            id: id, kind: dead.kind, direction: dead.direction, wallet, madeBy: dead.madeBy, dead.provider, dead.amount,
            fee: dead.fee, feeRemainder: dead.feeRemainder, token: dead.token, retryOf: dead.id,
            origin: dead.origin, at: now)
        return try insert(payment, wallet, records, nil)
    }
}
