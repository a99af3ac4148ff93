import Correlation
import Idempotency
import Money
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What clients do with their accounts: open them, put money in, take it out, send it to another. Each is one transaction with
/// its entry in the ledger, at once and without a fee. What was opened for a user in nobody's name is claimed by the first of
/// these that comes in the user's own.
///
/// A key is remembered twice: with its answer for as long as all keys are, and for ever with the movement that it made, by a
/// unique constraint. So a key that is used again a month later still moves nothing twice.
struct Wallets: Sendable {
    let environment: ServiceEnvironment

    // MARK: - Commands

    /// Opens an account: one for each user and currency, whatever the key.
    ///
    /// - Throws: `Problem`, or `StoreError`.
    func open(_ request: OpenRequest, by caller: Caller, key: IdempotencyKey?) async throws -> CommandReply {
        let id = environment.identifiers.next()
        let result: Result<CommandReply, Problem> = try await environment.store.transaction {
            [environment] transaction in
            if caller.isTooLate(on: environment.time) { return .failure(.tooLate) }
            let now = environment.time.now
            func open() throws -> Result<[UInt8], Problem> {
                let ledger = Ledger(transaction: transaction)
                let opened = try ledger.openWallet(
                    id: id, user: request.user, openedBy: caller.user, currency: request.currency, at: now)
                guard var wallet = opened else {
                    _ = try ledger.wallet(of: request.user, request.currency, usedBy: caller.user)
                    return .failure(.accountExists(request))
                }
                if request.initialBalance.minorUnits > 0 {
                    try ledger.post(.deposit(id, .opening, into: wallet, request.initialBalance, at: now))
                    wallet = try ledger.wallet(id: id) ?? wallet
                }
                return .success(wallet.json())
            }
            guard let key else { return try open().map { .created($0) } }
            let scope = IdempotencyScope(user: caller.user, operation: "open account", key: key)
            return try environment.once(scope, request.fields, reference: id, now, transaction) {
                try open().map { .created($0) }
            }
        }
        return try result.get()
    }

    /// Puts money into the user's account. - Throws: `Problem`, or `StoreError`.
    func deposit(_ request: MovementRequest, by caller: Caller, key: IdempotencyKey) async throws -> CommandReply {
        try await move(.deposit, caller, key, request.fields, status: 200) { ledger, id, now in
            guard let wallet = try ledger.wallet(of: request.user, request.amount.currency, usedBy: caller.user) else {
                return .failure(.noAccount(in: request.amount.currency, for: caller.user))
            }
            guard wallet.canHold(request.amount) else { return .failure(.balanceLimitExceeded) }
            try ledger.post(.deposit(id, .deposit, into: wallet, request.amount, at: now))
            return .success(
                MovementReceipt(id, .deposit, request.amount, wallet, adding: request.amount.minorUnits, now).json())
        }
    }

    /// Takes money out of the user's account. - Throws: `Problem`, or `StoreError`.
    func withdraw(_ request: MovementRequest, by caller: Caller, key: IdempotencyKey) async throws -> CommandReply {
        try await move(.withdrawal, caller, key, request.fields, status: 200) { ledger, id, now in
            guard let wallet = try ledger.wallet(of: request.user, request.amount.currency, usedBy: caller.user) else {
                return .failure(.noAccount(in: request.amount.currency, for: caller.user))
            }
            guard wallet.balance >= request.amount.minorUnits else { return .failure(.declined(.insufficientFunds)) }
            try ledger.post(.withdrawal(id, from: wallet, request.amount, at: now))
            return .success(
                MovementReceipt(id, .withdrawal, request.amount, wallet, adding: -request.amount.minorUnits, now).json()
            )
        }
    }

    /// Sends money from an account of the caller's to any other in the same currency. - Throws: `Problem`, or `StoreError`.
    func transfer(_ request: TransferRequest, by caller: Caller, key: IdempotencyKey) async throws -> CommandReply {
        try await move(.transfer, caller, key, request.fields, status: 201) { ledger, id, now in
            guard let source = try ledger.wallet(id: request.sourceID), source.isVisible(to: caller.user) else {
                return .failure(
                    Problem(.accountNotFound, "There is no account of yours with the id of sourceAccountId."))
            }
            try ledger.claim(source, for: caller.user)
            guard let destination = try ledger.wallet(id: request.destinationID) else {
                return .failure(Problem(.accountNotFound, "There is no account with the id of destinationAccountId."))
            }
            // Thrown, which undoes the claim of the key: a command that is not valid does not use it up (IK-17).
            if let failure = request.mismatch(source, destination) { throw Problem(failure) }
            guard source.balance >= request.amount.minorUnits else { return .failure(.declined(.insufficientFunds)) }
            guard destination.canHold(request.amount) else { return .failure(.balanceLimitExceeded) }
            try ledger.post(.transfer(id, from: source, to: destination, request.amount, at: now))
            return .success(TransferReceipt(id: id, request: request, at: now).json())
        }
    }

    // MARK: - Keys

    /// Moves money once for a key, now or at any time later.
    ///
    /// - Parameter body: looks first and posts last; what it refuses has moved nothing.
    private func move(
        _ type: PostingType, _ caller: Caller, _ key: IdempotencyKey, _ fields: [String?], status: Int,
        _ body: @escaping @Sendable (Ledger, String, Timestamp) throws -> Result<[UInt8], Problem>
    ) async throws -> CommandReply {
        let id = environment.identifiers.next()
        // Of whoever has sent it, and not of whose account it is about: otherwise a request in nobody's name could have the
        // answers of any user whose key it knows, and use their keys up (IK-14, INV-15).
        let scope = IdempotencyScope(user: caller.user, operation: type.rawValue, key: key)
        let result: Result<CommandReply, Problem> = try await environment.store.transaction {
            [environment] transaction in
            if caller.isTooLate(on: environment.time) { return .failure(.tooLate) }
            let now = environment.time.now
            let movements = Movements(transaction: transaction)
            let fingerprint = Fingerprint(operation: scope.operation, fields: fields)
            return try environment.once(scope, fields, reference: id, now, transaction) {
                if let earlier = try movements.find(scope) {
                    // Thrown, which undoes the claim: the key stands for what it has moved, and never for anything else.
                    guard earlier.fingerprint == fingerprint else { throw Problem.keyReused }
                    return .success(.replayed(earlier.response))
                }
                switch try body(Ledger(transaction: transaction), id, now) {
                case .failure(let problem): return .failure(problem)
                case .success(let receipt):
                    let response = StoredResponse(status: status, body: receipt)
                    try movements.insert(id, type, scope, fingerprint, response, at: now)
                    return .success(status == 201 ? .created(receipt) : .made(receipt))
                }
            }
        }
        return try result.get()
    }
}

/// Who sends a command, and for how long they wait.
struct Caller: Sendable {
    /// The user of `X-User-ID`; empty without one.
    let user: String
    /// Nothing is begun after it (OP-06).
    let deadline: Deadline?
    /// The request's name in the logs (NX-04).
    let requestID: String
    /// Where it stands in its trace (OP-04).
    let trace: TraceContext

    init(_ command: Command) {
        (user, deadline) = (command.user, command.deadline)
        (requestID, trace) = (command.requestID.value, command.trace)
    }

    init(_ context: ServiceContext) {
        (user, deadline) = (context.user, context.deadline)
        (requestID, trace) = (context.requestID.value, context.trace)
    }

    func isTooLate(on time: some TimeSource) -> Bool { deadline?.hasPassed(on: time) ?? false }
}

extension Ledger {
    /// A user's wallet in a currency, unless the caller may not see it.
    func wallet(of user: String, _ currency: Currency, visibleTo caller: String) throws -> Wallet? {
        try wallet(of: user, currency).flatMap { $0.isVisible(to: caller) ? $0 : nil }
    }

    /// The same for a command, by which its user claims it.
    func wallet(of user: String, _ currency: Currency, usedBy caller: String) throws -> Wallet? {
        guard let wallet = try wallet(of: user, currency, visibleTo: caller) else { return nil }
        try claim(wallet, for: caller)
        return wallet
    }
}

extension Wallet {
    /// Whether the balance would still be an amount of money. Refunds are not held to this: they are owed.
    func canHold(_ amount: Money) -> Bool { balance + Int128(amount.minorUnits) <= Int128(Int64.max) }
}

extension TransferRequest {
    /// What is wrong with the currencies.
    fileprivate func mismatch(_ source: Wallet, _ destination: Wallet) -> ValidationFailure? {
        if destination.currency != source.currency {
            return ValidationFailure(
                "#/destinationAccountId",
                "is an account in \(destination.currency), and the source is in \(source.currency)")
        }
        if amount.currency != source.currency {
            return ValidationFailure("#/amount", "must be in the currency of the accounts, \(source.currency)")
        }
        return nil
    }
}

extension Problem {
    /// - Parameter caller: for a request in nobody's name, an account that is its user's alone does not exist either.
    static func noAccount(in currency: Currency, for caller: String) -> Problem {
        Problem(
            .accountNotFound,
            caller.isEmpty
                ? "There is no account of this user in \(currency) that a request without X-User-ID may use."
                : "You have no account in \(currency); POST /accounts opens one.")
    }

    static var balanceLimitExceeded: Problem {
        Problem(.balanceLimitExceeded, "The balance would be more than \(Int64.max) minor units.")
    }

    fileprivate static func accountExists(_ request: OpenRequest) -> Problem {
        Problem(
            .accountExists, "The user has an account in \(request.currency) already; there is one for each currency.")
    }
}
