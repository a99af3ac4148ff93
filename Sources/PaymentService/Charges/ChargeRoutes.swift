import Hummingbird
import Idempotency
import Money
import ServiceKit
import Storage

/// Payment's routes for charges and their refunds, which checkouts use.
struct ChargeRoutes: Sendable {
    let environment: ServiceEnvironment
    let charging: Charging
    let refunding: Refunding

    func add(to routes: inout RouteCatalogue) {
        routes.keyedCommand("/charge", as: ChargeOperations.charge, charge)
        routes.keyedCommand("/refund", as: ChargeOperations.refund, refund)
        routes.get("/charges/:id", as: ChargeOperations.getCharge, showCharge)
        routes.get("/charges/:id/events", as: ChargeOperations.events, events)
    }

    private func charge(_ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        let request = try ChargeRequest(json: command.body)
        command.notes?.orderID = request.orderID
        return try await charging.charge(
            request, user: command.user, key: key, deadline: command.deadline,
            mayAskProvider: !command.isBatched
        ).get()
    }

    private func refund(_ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        try await refunding.refund(
            try RefundRequest(json: command.body), user: command.user, key: key, mayAskProvider: !command.isBatched
        ).get()
    }

    private func showCharge(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        let (charge, refunding) = try await environment.store.transaction { transaction in
            let book = ChargeBook(transaction: transaction)
            return (try book.charge(id), try book.refunding(ofCharge: id))
        }
        // Another user's charge reads as one that does not exist (INV-15).
        guard let charge, charge.user == context.user else { throw Problem.chargeNotFound }
        return .json(charge.json(refunding: refunding))
    }

    /// What became of a charge, oldest first.
    private func events(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let (limit, cursor) = try request.page()
        guard let after = cursor.map({ Int64(cursor: $0) }) ?? 0 else { throw Problem.badCursor }
        let id = try context.pathParameter("id")
        let (charge, found) = try await environment.store.transaction { transaction in
            let book = ChargeBook(transaction: transaction)
            let events = try book.events(of: id, for: context.user, after: after, limit: limit + 1)
            return (try book.charge(id), events)
        }
        guard let charge, charge.user == context.user else { throw Problem.chargeNotFound }
        return .events(found, limit: limit, charge.amount.currency)
    }
}

extension Response {
    /// A page of events. - Parameters: found: one more than the page may have when there are more. codeName: what their code is.
    static func events(
        _ found: [RecordedEvent], limit: Int, _ currency: Currency, codeName: StaticString = "declineCode"
    ) -> Response {
        Page(found, limit: limit) { String($0.sequence) }.response("events") { event, json in
            event.write(to: &json, currency: currency, codeName: codeName)
        }
    }
}

extension MoneyReply {
    fileprivate func get() throws -> CommandReply {
        switch self {
        case .made(let stored): .made(stored.body)
        case .replayed(let stored): .replayed(stored)
        case .problem(let problem): throw problem
        }
    }
}
