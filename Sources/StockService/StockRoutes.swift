import Correlation
import Hummingbird
import Idempotency
import Money
import MoneyJSON
import Resilience
import ServiceKit
import StockAPI
import Storage
import StrictJSON

/// The HTTP routes of Stock: each reads a command, runs it in one transaction together with the record of its key, and
/// writes the outcome.
struct StockRoutes: Sendable {
    let environment: ServiceEnvironment
    let reservationTimeToLive: Duration

    func catalogue() -> RouteCatalogue {
        typealias Described = StockOperations
        var routes = RouteCatalogue(of: Described.service)
        routes.keyedCommand("/reserve", as: Described.reserve, reserve)
        routes.command("/release", as: Described.release) { try await settle($0) { try $0.release(id: $1) } }
        routes.command("/complete", as: Described.complete) { try await settle($0) { try $0.complete(id: $1) } }
        routes.acceptBatches(in: environment)
        routes.get("/reservations/:id", as: Described.reservation, reservation)
        routes.get("/items", as: Described.items, items)
        routes.get("/items/:id", as: Described.getItem, item)
        routes.put("/items/:id", as: Described.putItem, putItem)
        routes.post("/items/:id/restock", as: Described.restock, restock)
        routes.get("/audit/totals", as: .totals, totals)
        StockAudit(environment: environment).add(to: &routes)
        return routes
    }

    // MARK: - Reservations

    private func reserve(_ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        var reader = try ObjectReader(command.body)
        let lines = Cart.lines(from: &reader)
        let reservationID = reader.clientID("reservationId", required: false)
        let ttlSeconds = reader.integer("ttlSeconds", in: 1...Inventory.longestHold, required: false)
        try reader.finish()
        guard let lines else { throw Problem(.validationFailed, "The command has no lines.") }

        let timeToLive = ttlSeconds.map { Duration.seconds($0) } ?? reservationTimeToLive
        let scope = IdempotencyScope(user: command.user, operation: "reserve", key: key)
        if let reservationID, reservationID == key.value {
            return try await reserve(
                reservationID, lines, of: command.user, timeToLive, isStated: ttlSeconds != nil,
                until: command.deadline,
                noting: command.isBatched ? nil : scope)
        }
        let fields = [reservationID, ttlSeconds.map(String.init)] + lines.map { "\($0.itemID):\($0.quantity)" }
        let id = reservationID ?? environment.identifiers.next()
        return try await once(scope, fields, reference: id, until: command.deadline) { transaction, now in
            try Inventory(transaction: transaction, now: now)
                .reserve(
                    id: id, lines: lines, user: command.user, timeToLive: timeToLive,
                    rememberRefusal: reservationID != nil
                )
                .map { $0.reservation.json() }
        }
    }

    /// Reserves under an id that is its own key, as Order does. The reservation says all that a record of the key would, for
    /// ever, so there is none to replay from; a repetition gets the answer of the first time. Not when the goods have gone back since: whoever
    /// repeats it, as Order does when an answer was lost, must not take them for held (docs/contract.md).
    ///
    /// - Parameter scope: the key's, to be noted. Nil in a batch, which only other services send: a key of theirs that is an id is
    ///   never used for anything else, as it may be by whoever comes by the public route (IK-13).
    private func reserve(
        _ id: String, _ lines: [LineRequest], of user: String, _ timeToLive: Duration, isStated: Bool,
        until deadline: Deadline?,
        noting scope: IdempotencyScope?
    ) async throws -> CommandReply {
        let (time, keys) = (environment.time, environment.keys)
        let outcome: Result<Reserved, Problem> = try await environment.store.transaction { transaction in
            if let deadline, deadline.hasPassed(on: time) { return .failure(.tooLate) }
            let now = time.now
            if let scope, try !keys.noteKeyIsID(scope, now: now, in: transaction) { return .failure(.keyReused) }
            let reserved = try Inventory(transaction: transaction, now: now)
                .reserve(id: id, lines: lines, user: user, timeToLive: timeToLive, rememberRefusal: true)
            // Thrown, which undoes the note of the key and the memory of the refusal. Order releases the id, so that a late copy takes nothing.
            if case .failure(let refusal) = reserved, refusal.leavesKeyFree { throw Problem(refusal) }
            return reserved.mapError(Problem.init)
        }
        switch try outcome.get() {
        case .now(let reservation): return .made(reservation.json())
        case .before(var reservation):
            let isSame = reservation.expiresAt == reservation.createdAt.advanced(by: timeToLive)
            guard isSame || !isStated else { throw Problem.keyReused }
            reservation.status = .reserved
            return .replayed(StoredResponse(status: 200, body: reservation.json()))
        }
    }

    private func settle(
        _ command: Command,
        _ settle: @escaping @Sendable (Inventory, _ id: String) throws -> Result<Reservation, StockRefusal>
    ) async throws -> CommandReply {
        var reader = try ObjectReader(command.body)
        let id = reader.earlierID("reservationId")
        try reader.finish()
        guard let id else { throw Problem(.validationFailed, "The command has no reservationId.") }
        let time = environment.time
        let outcome = try await environment.store.transaction { transaction in
            let inventory = Inventory(transaction: transaction, now: time.now)
            if let failure = ValidationFailure(newID: id, at: "#/reservationId"), try inventory.reservation(id) == nil {
                throw failure
            }
            return try settle(inventory, id)
        }
        return .made(try outcome.mapError(Problem.init).get().json())
    }

    private func reservation(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        let time = environment.time
        let found = try await environment.store.transaction { transaction in
            try Inventory(transaction: transaction, now: time.now).reservation(id)
        }
        guard let found else { throw Problem(.reservationNotFound, "There is no reservation with this id.") }
        return .json(found.json())
    }

    // MARK: - Items

    private func items(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let (limit, cursor) = try request.page()
        guard let after = cursor.map({ Int64(cursor: $0) }) ?? 0 else { throw Problem.badCursor }
        let found = try await environment.store.transaction { transaction in
            try Catalogue(transaction: transaction).items(after: after, limit: limit + 1)
        }
        return Page(found, limit: limit) { String($0.id) }.response("items") { item, json in item.write(to: &json) }
    }

    private func item(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try itemID(context)
        let found = try await environment.store.transaction { try Catalogue(transaction: $0).item(id) }
        guard let found else { throw Problem(.itemNotFound, "There is no item \(id).") }
        return .json(found.json())
    }

    private func putItem(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try itemID(context)
        var reader = try ObjectReader(try request.json(context))
        let name = reader.string("name", length: 1...200)
        let price = reader.nested("price") { value throws(ValidationFailure) in
            try Money(json: value, in: 1...Int64.max)
        }
        let onHand = reader.integer("onHand", in: 0...Catalogue.maximumOnHand, required: false)
        try reader.finish()
        guard let name, let price else { throw Problem(.validationFailed, "The item has no name or price.") }
        let (item, isNew) = try await environment.store.transaction { transaction in
            try Catalogue(transaction: transaction).put(id, name: name, price: price, onHand: onHand)
        }
        return .json(item.json(), status: isNew ? .created : .ok)
    }

    private func restock(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try itemID(context)
        let key = try request.optionalIdempotencyKey()
        var reader = try ObjectReader(try request.json(context))
        let quantity = reader.integer("quantity", in: Cart.quantities)
        try reader.finish()
        guard let quantity else { throw Problem(.validationFailed, "The command has no quantity.") }

        let command: @Sendable (any Transaction) throws -> Result<[UInt8], StockRefusal> = { transaction in
            do {
                return .success(try Catalogue(transaction: transaction).restock(id, quantity: quantity).json())
            } catch let refusal as StockRefusal {
                return .failure(refusal)
            }
        }
        guard let key else {
            return .json(try await environment.store.transaction(command).mapError(Problem.init).get())
        }
        let scope = IdempotencyScope(user: context.user, operation: "restock", key: key)
        return .command(
            try await once(scope, [String(id), String(quantity)], reference: String(id)) { transaction, _ in
                try command(transaction)
            })
    }

    private func itemID(_ context: ServiceContext) throws -> Int64 {
        let text = try context.pathParameter("id")
        guard let id = Int64(text), Cart.itemIDs.contains(id), String(id) == text else {
            throw Problem(.itemNotFound, "There is no item with this id; ids are whole numbers from 1.")
        }
        return id
    }

    // MARK: - Audit

    /// What must add up in Stock (INV-5), for the operator; not reachable through nginx.
    private func totals(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let totals = try await StockTotals(in: environment)
        return .json { json in
            json.object { json in
                json.array("items") { json in
                    for item in totals.items {
                        json.object { json in
                            json.integer("itemId", item.id)
                            json.integer("received", item.received)
                            json.integer("available", item.available)
                            json.integer("reserved", item.reserved)
                            json.integer("completed", item.completed)
                        }
                    }
                }
                json.object("reservations") { json in
                    json.integer("reserved", totals.reserved)
                    json.integer("completed", totals.completed)
                    json.integer("canceled", totals.canceled)
                }
            }
        }
    }
}

extension Problem {
    init(_ refusal: StockRefusal) {
        if refusal.code == .invalid {
            self.init(ValidationFailure(refusal.pointer, refusal.detail))
        } else {
            self.init(ProblemKind(rawValue: refusal.code.rawValue) ?? .internalError, refusal.detail)
        }
    }
}
