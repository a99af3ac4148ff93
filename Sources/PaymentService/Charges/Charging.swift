import Correlation
import Idempotency
import Logging
import Money
import Resilience
import ServiceKit
import Storage

/// An answer to a command that moves money: made now, or given before.
enum MoneyReply: Sendable {
    case made(StoredResponse)
    case replayed(StoredResponse)
    case problem(Problem)
}

/// Takes money: once for each key, and at most once for each charge id whatever key it comes with.
///
/// A charge whose answer needs no remote call is one transaction. Any other is stored as an intent first, then the
/// provider is asked, outside the request's task, then the answer is stored; whoever finds an intent without an answer asks
/// again with the same id (hazards 4, 14 and 19).
struct Charging: Sendable {
    let environment: ServiceEnvironment
    let provider: any CardProvider
    let inFlight: InFlight

    private enum Beginning: Sendable {
        case reply(MoneyReply)
        /// - isFirst: whether the provider has never been asked for this charge.
        case ask(Charge, isFirst: Bool)
    }

    /// Carries a command out.
    ///
    /// - Parameters:
    ///   - deadline: when the caller stops waiting; no money is taken after it (OP-06).
    ///   - mayAskProvider: false when others wait for the answer; a command that would have to ask the provider then throws
    ///     `NotInBatch`, without effect.
    func charge(
        _ request: ChargeRequest, user: String, key: IdempotencyKey, deadline: Deadline? = nil,
        mayAskProvider: Bool = true
    ) async throws -> MoneyReply {
        let id = request.chargeID ?? environment.identifiers.next()
        let beginning = try await environment.store.transaction { transaction in
            if let deadline, deadline.hasPassed(on: environment.time) { return Beginning.reply(.problem(.tooLate)) }
            let beginning = try begin(
                request, id: id, user: user, key: key, isBatched: !mayAskProvider, in: transaction)
            // Thrown inside the transaction, which undoes the beginning.
            if case .ask = beginning, !mayAskProvider { throw NotInBatch() }
            return beginning
        }
        switch beginning {
        case .reply(let reply): return reply
        case .ask(let charge, let isFirst):
            return await environment.detach { await ask(charge, isFirst: isFirst) }.value
        }
    }

    /// Asks the provider about a charge without an answer, unless that is being done already.
    func resume(_ id: String) async throws {
        guard inFlight.begin(id) else { return }
        let charge: Charge?
        do {
            // Read only now: the charge may have ended since it was listed, and one that was dropped because nothing was
            // taken must not be taken after all.
            charge = try await environment.store.transaction { transaction in
                try ChargeBook(transaction: transaction).beginAsking(charge: id, now: environment.time.now)
            }
        } catch {
            inFlight.end(id)
            throw error
        }
        guard let charge else { return inFlight.end(id) }
        _ = await ask(charge, isFirst: false)
    }

    // MARK: - Steps

    /// - Parameter isBatched: only other services send batches. A key of theirs that is the charge's id is never used for anything
    ///   else; whoever comes by the public route may do that, and so it is noted (IK-13).
    private func begin(
        _ request: ChargeRequest, id: String, user: String, key: IdempotencyKey, isBatched: Bool,
        in transaction: any Transaction
    ) throws -> Beginning {
        let now = environment.time.now
        let scope = Self.scope(user, key)
        let book = ChargeBook(transaction: transaction)
        if id == key.value {
            // A key that has taken money under another id, and is forgotten since, takes none again.
            if !isBatched, try book.charge(takenUnder: key, by: user) != nil { return .reply(.problem(.keyReused)) }
            guard try isBatched || environment.keys.noteKeyIsID(scope, now: now, in: transaction) else {
                return .reply(.problem(.keyReused))
            }
            let known = try book.charge(id)
            return try known.map { repeated($0, request, user: user, in: transaction) }
                ?? make(request, id: id, user: user, key: key, now: now, in: transaction)
        }
        let fingerprint = request.fingerprint
        switch try claim(scope, fingerprint, for: request, reference: id, now: now, in: transaction) {
        case .replay(let response): return .reply(.replayed(response))
        case .mismatch: return .reply(.problem(.keyReused))
        case .inProgress(let reference):
            guard let charge = try book.charge(reference), charge.status == .pending else {
                return .reply(.problem(.inProgress))
            }
            return take(charge, in: transaction)
        case .started: break
        }
        if let earlier = try book.charge(takenUnder: key, by: user) {
            return .reply(try repeated(earlier, request, fingerprint, scope, reference: id, now: now, in: transaction))
        }
        if let known = try book.charge(id) {
            return .reply(try reply(for: known, to: request, user: user, scope: scope, now: now, in: transaction))
        }
        // The key is the id of a charge that was made under it, of which there is no note or none any more. Thrown, which undoes
        // the claim.
        if let known = try book.charge(key.value), known.isMade(by: user, under: key) {
            throw Problem.keyReused
        }
        return try make(request, id: id, user: user, key: key, fingerprint, now: now, in: transaction)
    }

    /// A command came again whose charge's id is its key, as Order's commands do. The charge says all that a record of the
    /// key would, for ever, so there is none to replay from.
    private func repeated(
        _ known: Charge, _ request: ChargeRequest, user: String, in transaction: any Transaction
    ) -> Beginning {
        guard known.status == .canceled || known.isFor(request, user: user) else {
            let isSameKey = known.isMade(by: user, under: IdempotencyKey(stored: known.id))
            return .reply(.problem(isSameKey ? .keyReused : .chargeIDReused))
        }
        return known.status == .pending ? take(known, in: transaction) : .reply(Self.outcome(of: known, isReplay: true))
    }

    /// Records a charge that nobody has heard of before. - Parameter fingerprint: of the command, if its key is not the id.
    private func make(
        _ request: ChargeRequest, id: String, user: String, key: IdempotencyKey, _ fingerprint: Fingerprint? = nil,
        now: Timestamp, in transaction: any Transaction
    ) throws -> Beginning {
        let book = ChargeBook(transaction: transaction)
        let means = try ChargeMeans(for: request, user: user, book.ledger)
        var charge = Charge(
            id: id, user: user, orderID: request.orderID, method: means.method, amount: request.amount, refunded: 0,
            status: .pending, declineCode: nil, key: key.value, createdAt: now, wallet: means.wallet,
            fingerprint: fingerprint)
        let answer = means.immediateAnswer(to: charge, provider)
        switch answer {
        case .approved, .declined:
            charge = charge.settled(by: answer)
            try book.insert(charge)
            let isItsOwnKey = id == key.value
            return .reply(isItsOwnKey ? Self.outcome(of: charge) : try settleKey(of: charge, now: now, in: transaction))
        case .unavailable, .unknown, nil:
            // Before anything is stored: an earlier asking under this id, of which nothing is left, may not be over yet. Stored all the same, the
            // charge would be pending, and nobody would ask for it a first time. Thrown, which undoes the claim.
            guard case .ask(let taken, let isFirst) = take(charge, isFirst: true, in: transaction) else {
                throw Problem.inProgress
            }
            try book.insert(taken)
            return .ask(taken, isFirst: isFirst)
        }
    }

    private func take(_ charge: Charge, isFirst: Bool = false, in transaction: any Transaction) -> Beginning {
        guard inFlight.begin(charge.id) else { return .reply(.problem(.inProgress)) }
        transaction.onRollback { inFlight.end(charge.id) }
        return .ask(charge, isFirst: isFirst)
    }

    /// Asks the provider and stores what it says. The caller has taken the charge.
    private func ask(_ charge: Charge, isFirst: Bool) async -> MoneyReply {
        defer { inFlight.end(charge.id) }
        let answer = await provider.charge(charge.cardCharge)
        do {
            return try await environment.store.transaction { transaction in
                try settle(charge, answer, isFirst: isFirst, in: transaction)
            }
        } catch {
            environment.logger.error(
                "a provider's answer could not be stored; the charge stays pending and is asked about again",
                metadata: [
                    "charge_id": .string(charge.id), "order_id": .string(charge.orderID ?? ""),
                    "error": .string("\(error)"),
                ])
            return .problem(.chargeUnknown)
        }
    }

    private func settle(
        _ charge: Charge, _ answer: CardAnswer, isFirst: Bool, in transaction: any Transaction
    ) throws -> MoneyReply {
        let now = environment.time.now
        let book = ChargeBook(transaction: transaction)
        let settled = charge.settled(by: answer)
        switch answer {
        case .approved, .declined: try book.settle(settled, at: now)
        case .unavailable where isFirst:
            try book.dropPendingCharge(charge, at: now)
            if let key = charge.key {
                try environment.keys.fail(
                    Self.scope(charge.user, IdempotencyKey(stored: key)), reference: charge.id, now: now,
                    in: transaction)
            }
            return .problem(
                Problem(.providerUnavailable, "The payment provider is not available; nothing was charged."))
        // A provider that is not available now says nothing of what became of an earlier asking (hazard 4).
        case .unavailable, .unknown: return .problem(.chargeUnknown)
        }
        return try settleKey(of: settled, now: now, in: transaction)
    }
}

extension Charge {
    /// Whether it was this user's key that it was made under.
    func isMade(by user: String, under key: IdempotencyKey) -> Bool {
        self.user == user && self.key == key.value
    }

    func isFor(_ request: ChargeRequest, user: String) -> Bool {
        self.user == user && amount == request.amount && orderID == request.orderID && request.accepts(method: method)
    }

    /// The charge after a provider's definite answer; unchanged by any other.
    fileprivate func settled(by answer: CardAnswer?) -> Charge {
        let (status, code): (Status, DeclineCode?)
        switch answer {
        case .approved: (status, code) = (.succeeded, nil)
        case .declined(let declineCode): (status, code) = (.failed, declineCode)
        case .unavailable, .unknown, nil: return self
        }
        return Charge(
            id: id, user: user, orderID: orderID, method: method, amount: amount, refunded: refunded, status: status,
            declineCode: code, key: key, createdAt: createdAt, wallet: wallet, fingerprint: fingerprint)
    }
}
