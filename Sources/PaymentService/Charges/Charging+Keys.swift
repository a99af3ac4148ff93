import Idempotency
import Money
import Resilience
import ServiceKit
import Storage

/// What a charge has to do with the key that it is asked for under.
extension Charging {
    /// Claims the key. A record of the version before, which is remembered for its time to live, knows a command that names no
    /// method as one that names the card.
    func claim(
        _ scope: IdempotencyScope, _ fingerprint: Fingerprint, for request: ChargeRequest, reference: String,
        now: Timestamp, in transaction: any Transaction
    ) throws -> Claim {
        func claim(_ fingerprint: Fingerprint) throws -> Claim {
            try environment.keys.claim(
                scope, fingerprint: fingerprint, reference: reference, now: now, in: transaction)
        }
        let claimed = try claim(fingerprint)
        guard claimed == .mismatch else { return claimed }
        return try claim(Fingerprint(operation: scope.operation, fields: request.fieldsOfVersionBefore))
    }

    /// The key has taken money before and is forgotten since: it takes none again (decision 15), and stands for no
    /// other command.
    ///
    /// - Throws: `Problem`, which undoes the claim, when the command is another or the charge has no outcome yet.
    func repeated(
        _ earlier: Charge, _ request: ChargeRequest, _ fingerprint: Fingerprint, _ scope: IdempotencyScope,
        reference: String, now: Timestamp, in transaction: any Transaction
    ) throws -> MoneyReply {
        guard earlier.isFrom(request, fingerprint) else { throw Problem.keyReused }
        guard case .replayed(let response) = Self.outcome(of: earlier, isReplay: true) else { throw Problem.inProgress }
        try environment.keys.succeed(scope, reference: reference, response: response, now: now, in: transaction)
        return .replayed(response)
    }

    /// A charge with this id exists, made under another key, or under this one when that is forgotten: its outcome is final. Under
    /// another key it is that key's first answer and no replay, although no more money is taken.
    func reply(
        for known: Charge, to request: ChargeRequest, user: String, scope: IdempotencyScope, now: Timestamp,
        in transaction: any Transaction
    ) throws -> MoneyReply {
        let isSame = known.status == .canceled || known.isFor(request, user: user)
        let reply = isSame ? Self.outcome(of: known) : .problem(.chargeIDReused)
        if case .made(let response) = reply {
            try environment.keys.succeed(scope, reference: known.id, response: response, now: now, in: transaction)
        } else {
            try environment.keys.fail(scope, reference: known.id, now: now, in: transaction)
        }
        return reply
    }

    static func outcome(of charge: Charge, isReplay: Bool = false) -> MoneyReply {
        switch charge.status {
        case .succeeded:
            let response = StoredResponse(status: 200, body: charge.receiptJSON())
            return isReplay ? .replayed(response) : .made(response)
        case .failed: return .problem(.declined(charge))
        case .pending: return .problem(.inProgress)
        case .canceled:
            return .problem(Problem(.chargeStateConflict, "The charge was canceled; its id cannot be charged again."))
        }
    }

    /// Settles the record of the key, if there is one.
    func settleKey(of charge: Charge, now: Timestamp, in transaction: any Transaction) throws -> MoneyReply {
        let reply = Self.outcome(of: charge)
        let scope = Self.scope(charge.user, IdempotencyKey(stored: charge.key ?? ""))
        if case .made(let response) = reply {
            try environment.keys.succeed(scope, reference: charge.id, response: response, now: now, in: transaction)
        } else {
            try environment.keys.fail(scope, reference: charge.id, now: now, in: transaction)
        }
        return reply
    }

    static func scope(_ user: String, _ key: IdempotencyKey) -> IdempotencyScope {
        IdempotencyScope(user: user, operation: "charge", key: key)
    }
}

extension Charge {
    /// Whether this command has made it. Of a charge of an older version is known what was taken, and not how it was asked for.
    fileprivate func isFrom(_ request: ChargeRequest, _ fingerprint: Fingerprint) -> Bool {
        if let made = self.fingerprint { return made == fingerprint }
        return isFor(request, user: user) && (request.chargeID.map { $0 == id } ?? true)
    }
}
