import Hummingbird
import Idempotency
import Money
import ServiceKit
import Storage
import StrictJSON

/// The HTTP routes of Payment.
struct PaymentRoutes: Sendable {
    let environment: ServiceEnvironment
    let charging: Charging
    let refunding: Refunding
    let payments: PaymentsRoutes
    let ledgerCheck: LedgerCheck

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue(of: PaymentOperations.service)
        routes.keyedCommand("/charge", as: PaymentOperations.charge, charge)
        routes.keyedCommand("/refund", as: PaymentOperations.refund, refund)
        routes.acceptBatches(in: environment)
        routes.get("/charges/:id", as: PaymentOperations.getCharge, showCharge)
        routes.get("/charges/:id/events", as: PaymentOperations.events, events)
        WalletRoutes(environment, ledgerCheck).add(to: &routes)
        payments.add(to: &routes)
        routes.get("/audit/totals", as: .totals, totals)
        PaymentAudit(environment: environment, ledgerCheck: ledgerCheck).add(to: &routes)
        return routes
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
            let book = PaymentBook(transaction: transaction)
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
            let book = PaymentBook(transaction: transaction)
            let events = try book.events(of: id, for: context.user, after: after, limit: limit + 1)
            return (try book.charge(id), events)
        }
        guard let charge, charge.user == context.user else { throw Problem.chargeNotFound }
        return .events(found, limit: limit, charge.amount.currency)
    }

    /// What was captured and refunded in all (INV-3), for the operator; not reachable through nginx.
    private func totals(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let totals = try await PaymentTotals(in: environment)
        return .json { json in
            json.object { json in
                json.array("currencies") { json in
                    for (currency, total) in totals.byCurrency.sorted(by: { $0.key < $1.key }) {
                        json.object { json in
                            json.string("currency", currency)
                            json.integer("captured", total.captured)
                            json.integer("refunded", total.refunded)
                            json.integer("net", total.captured - total.refunded)
                        }
                    }
                }
            }
        }
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
