import Correlation
import Idempotency
import Logging
import Money
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// Gives money back: never more than was taken, and once for each key. The twin of `Charging`; read that first.
struct Refunding: Sendable {
    let environment: ServiceEnvironment
    let provider: any CardProvider
    let inFlight: InFlight

    private enum Beginning: Sendable {
        case reply(MoneyReply)
        /// - isFirst: whether the provider has never been asked for this refund.
        case ask(Refund, Charge, isFirst: Bool)
    }

    /// Carries a command out.
    ///
    /// - Parameter mayAskProvider: false when others wait for the answer; a command that would have to ask the provider
    ///   then throws `NotInBatch`, without effect.
    func refund(
        _ request: RefundRequest, user: String, key: IdempotencyKey, mayAskProvider: Bool = true
    ) async throws -> MoneyReply {
        let id = environment.identifiers.next()
        let beginning = try await environment.store.transaction { transaction in
            let beginning = try begin(request, id: id, user: user, key: key, in: transaction)
            // Thrown inside the transaction, which undoes the beginning.
            if case .ask = beginning, !mayAskProvider { throw NotInBatch() }
            return beginning
        }
        switch beginning {
        case .reply(let reply): return reply
        case .ask(let refund, let charge, let isFirst):
            return await environment.detach { await ask(refund, of: charge, isFirst: isFirst) }.value
        }
    }

    /// Asks the provider about a refund without an answer, unless that is being done already.
    func resume(_ id: String) async throws {
        guard inFlight.begin(id) else { return }
        let pending: (Refund, Charge)?
        do {
            // Read only now, for the reason given in `Charging.resume`.
            pending = try await environment.store.transaction { transaction in
                let book = ChargeBook(transaction: transaction)
                guard let refund = try book.beginAsking(refund: id, now: environment.time.now) else { return nil }
                return try book.charge(refund.chargeID).map { (refund, $0) }
            }
        } catch {
            inFlight.end(id)
            throw error
        }
        guard let (refund, charge) = pending else { return inFlight.end(id) }
        _ = await ask(refund, of: charge, isFirst: false)
    }

    // MARK: - Steps

    private func begin(
        _ request: RefundRequest, id: String, user: String, key: IdempotencyKey, in transaction: any Transaction
    ) throws -> Beginning {
        let now = environment.time.now
        let scope = Self.scope(user, key)
        let book = ChargeBook(transaction: transaction)
        let fingerprint = Fingerprint(operation: scope.operation, fields: request.fields)
        let claim = try environment.keys.claim(
            scope, fingerprint: fingerprint, reference: id, now: now, in: transaction)
        switch claim {
        case .replay(let response): return .reply(.replayed(response))
        case .mismatch: return .reply(.problem(.keyReused))
        case .inProgress(let reference):
            guard let refund = try book.refund(reference), refund.status == .pending,
                let charge = try book.charge(refund.chargeID)
            else { return .reply(.problem(.inProgress)) }
            return take(refund, charge, in: transaction)
        case .started: break
        }

        func succeeded(_ receipt: RefundReceipt) throws -> Beginning {
            let response = StoredResponse(status: 200, body: receipt.json())
            try environment.keys.succeed(scope, reference: id, response: response, now: now, in: transaction)
            return .reply(.made(response))
        }
        func failed(_ problem: Problem) throws -> Beginning {
            try environment.keys.fail(scope, reference: id, now: now, in: transaction)
            return .reply(.problem(problem))
        }

        if let earlier = try book.refund(madeUnder: key, by: user) {
            return .reply(try repeated(earlier, request, fingerprint, scope, reference: id, now: now, in: transaction))
        }
        guard let charge = try book.charge(request.chargeID) else {
            if let failure = ValidationFailure(newID: request.chargeID, at: "#/chargeId") { throw failure }
            guard request.orCancel else { return try failed(.chargeNotFound) }
            // A tombstone: a charge that arrives after its cancellation takes nothing (hazard 5).
            let tombstone = Charge(
                id: request.chargeID, user: user, orderID: nil, method: ChargeRequest.defaultMethod,
                amount: .zero(.usd),
                refunded: 0, status: .canceled, declineCode: nil, key: nil, createdAt: now)
            try book.insert(tombstone)
            return try succeeded(.nothing(id: id, charge: tombstone))
        }
        guard charge.user == user else { return try failed(.chargeNotFound) }
        switch charge.status {
        // Thrown, so that the key is not recorded: nothing was decided yet.
        case .pending: throw Problem.chargePending
        case .failed, .canceled:
            if request.orCancel { return try succeeded(.nothing(id: id, charge: charge)) }
            return try failed(Problem(.chargeStateConflict, "The charge took no money; there is nothing to refund."))
        case .succeeded: break
        }

        if let amount = request.amount, amount.currency != charge.amount.currency {
            // Thrown as well: a command that is not valid does not use its key up (IK-17).
            throw ValidationFailure("#/amount/currency", "must be that of the charge, \(charge.amount.currency)")
        }
        // A part that has no answer yet may still be dropped: the whole is not given back before that is known.
        if request.amount == nil, try book.hasPendingRefund(ofCharge: charge.id) { throw Problem.refundPending }
        if request.amount == nil, charge.refundable == 0, let latest = try book.latestRefund(ofCharge: charge.id) {
            return try succeeded(RefundReceipt(latest, of: charge))
        }
        let wanted = request.amount?.minorUnits ?? charge.refundable
        let approvedAtOnce = { (refund: Refund) in
            // Money that came from a wallet goes back there, and no provider is asked.
            charge.wallet != nil || provider.immediateAnswer(to: refund.cardRefund(of: charge)) == .approved
        }
        var refund = Refund(
            id: id, chargeID: charge.id, user: user, amount: wanted, status: .pending, key: key.value, createdAt: now,
            fingerprint: fingerprint)
        if approvedAtOnce(refund) { refund = refund.succeeded() }
        guard try book.insert(refund, of: charge) else {
            return try failed(
                Problem(.refundExceedsCharge, "Of the charge, \(charge.refundable) minor units are left to refund."))
        }
        guard refund.status == .pending else { return try succeeded(RefundReceipt(refund, of: charge)) }
        return take(refund, charge, isFirst: true, in: transaction)
    }

    private func take(
        _ refund: Refund, _ charge: Charge, isFirst: Bool = false, in transaction: any Transaction
    ) -> Beginning {
        guard inFlight.begin(refund.id) else { return .reply(.problem(.inProgress)) }
        transaction.onRollback { inFlight.end(refund.id) }
        return .ask(refund, charge, isFirst: isFirst)
    }

    /// Asks the provider and stores what it says. The caller has taken the refund.
    private func ask(_ refund: Refund, of charge: Charge, isFirst: Bool) async -> MoneyReply {
        defer { inFlight.end(refund.id) }
        let answer = await provider.refund(refund.cardRefund(of: charge))
        do {
            return try await environment.store.transaction { transaction in
                try settle(refund, of: charge, answer, isFirst: isFirst, in: transaction)
            }
        } catch {
            environment.logger.error(
                "a provider's answer could not be stored; the refund stays pending and is asked about again",
                metadata: [
                    "refund_id": .string(refund.id), "charge_id": .string(charge.id),
                    "order_id": .string(charge.orderID ?? ""), "error": .string("\(error)"),
                ])
            return .problem(.chargeUnknown)
        }
    }

    private func settle(
        _ refund: Refund, of charge: Charge, _ answer: CardAnswer, isFirst: Bool, in transaction: any Transaction
    ) throws -> MoneyReply {
        let now = environment.time.now
        let book = ChargeBook(transaction: transaction)
        let scope = Self.scope(refund.user, IdempotencyKey(stored: refund.key))
        switch answer {
        case .unknown: return .problem(.chargeUnknown)
        // As for a charge: it says nothing of an earlier asking.
        case .unavailable where !isFirst: return .problem(.chargeUnknown)
        case .approved:
            try book.settle(refund.succeeded(), of: charge, at: now)
            let response = StoredResponse(status: 200, body: RefundReceipt(refund.succeeded(), of: charge).json())
            try environment.keys.succeed(scope, reference: refund.id, response: response, now: now, in: transaction)
            return .made(response)
        case .unavailable, .declined:
            try book.dropPendingRefund(refund, at: now)
            try environment.keys.fail(scope, reference: refund.id, now: now, in: transaction)
            return .problem(
                Problem(.providerUnavailable, "The payment provider did not refund; nothing was given back."))
        }
    }

    private static func scope(_ user: String, _ key: IdempotencyKey) -> IdempotencyScope {
        IdempotencyScope(user: user, operation: "refund", key: key)
    }
}

extension Refund {
    fileprivate func succeeded() -> Refund {
        Refund(
            id: id, chargeID: chargeID, user: user, amount: amount, status: .succeeded, key: key, createdAt: createdAt,
            fingerprint: fingerprint)
    }

    fileprivate func cardRefund(of charge: Charge) -> CardRefund {
        CardRefund(
            refundID: id, charge: charge.cardCharge,
            amount: Money(minorUnits: amount, currency: charge.amount.currency))
    }
}

extension RefundReceipt {
    init(_ refund: Refund, of charge: Charge) {
        self.init(
            refundID: refund.id, chargeID: charge.id, status: "succeeded",
            amount: Money(minorUnits: refund.amount, currency: charge.amount.currency))
    }

    fileprivate static func nothing(id: String, charge: Charge) -> RefundReceipt {
        RefundReceipt(refundID: id, chargeID: charge.id, status: "canceled", amount: .zero(charge.amount.currency))
    }
}

extension Problem {
    static var chargeNotFound: Problem { Problem(.chargeNotFound, "There is no charge with this id.") }

    /// Neither the charge's outcome nor that of its refunds is the matter of this request's key.
    fileprivate static var chargePending: Problem {
        Problem(
            .requestInProgress, "The charge has no outcome yet, so nothing can be refunded; send the refund again soon."
        )
    }

    fileprivate static var refundPending: Problem {
        Problem(
            .requestInProgress,
            "An earlier refund of the charge has no outcome yet, so what is left is not known; send the refund again soon."
        )
    }
}
