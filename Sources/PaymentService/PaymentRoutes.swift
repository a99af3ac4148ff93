import Hummingbird
import Idempotency
import ServiceKit
import Storage
import StrictJSON

/// The HTTP routes of Payment.
struct PaymentRoutes: Sendable {
    let environment: ServiceEnvironment
    let charging: Charging
    let refunding: Refunding

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue()
        routes.keyedCommand("/charge", charge)
        routes.keyedCommand("/refund", refund)
        routes.acceptBatches(in: environment)
        routes.get("/charges/:id", showCharge)
        routes.get("/audit/totals", totals)
        PaymentAudit(environment: environment).add(to: &routes)
        return routes
    }

    private func charge(_ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        try await charging.charge(
            try ChargeRequest(json: command.body), user: command.user, key: key, deadline: command.deadline,
            mayAskProvider: !command.isBatched
        ).get()
    }

    private func refund(_ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        try await refunding.refund(
            try RefundRequest(json: command.body), user: command.user, key: key, mayAskProvider: !command.isBatched
        ).get()
    }

    private func showCharge(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.parameters.require("id")
        let charge = try await environment.store.transaction { transaction in
            try PaymentBook(transaction: transaction).charge(id)
        }
        // Another user's charge reads as one that does not exist (INV-15).
        guard let charge, charge.user == context.user else { throw Problem.chargeNotFound }
        return .json(charge.json())
    }

    /// What was captured and refunded in all (INV-3), for the operator; not reachable through nginx.
    private func totals(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let totals = try await environment.store.transaction { transaction in
            try PaymentBook(transaction: transaction).totals()
        }
        return .json { json in
            json.object { json in
                json.array("currencies") { json in
                    for total in totals {
                        json.object { json in
                            json.string("currency", total.currency)
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

extension MoneyReply {
    fileprivate func get() throws -> CommandReply {
        switch self {
        case .made(let stored): .made(stored.body)
        case .replayed(let stored): .replayed(stored)
        case .problem(let problem): throw problem
        }
    }
}
