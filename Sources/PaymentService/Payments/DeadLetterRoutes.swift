import Correlation
import Hummingbird
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What an operator does about payments that were given up. Not reachable through nginx.
struct DeadLetterRoutes: Sendable {
    let environment: ServiceEnvironment
    let payments: Payments

    func add(to routes: inout RouteCatalogue) {
        typealias Described = PaymentsOperations
        routes.get("/operator/dead-letters", as: Described.deadLetters, list)
        routes.get("/operator/dead-letters/:id", as: Described.deadLetter) { _, context in
            .json(try await letter(context))
        }
        routes.post("/operator/dead-letters/:id/retry", as: Described.retry) { _, context in
            let id = try context.parameters.require("id")
            let made = try await payments.retry(deadLetter: id)
            return .json { json in
                json.object { json in
                    json.string("paymentId", id)
                    json.string("retriedAs", made)
                }
            }
        }
        routes.post("/operator/dead-letters/:id/discard", as: Described.discard) { _, context in
            try await payments.discard(deadLetter: try context.parameters.require("id"))
            return .json(try await letter(context))
        }
    }

    private func letter(_ context: ServiceContext) async throws -> [UInt8] {
        let id = try context.parameters.require("id")
        let letter = try await environment.store.transaction { try PaymentRecords(transaction: $0).deadLetter(id) }
        guard let letter else { throw Problem.deadLetterNotFound }
        return JSONWriter.bytes { letter.write(to: &$0) }
    }

    private func list(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let (limit, cursor) = try request.page()
        guard cursor.map(IdentifierSource.isIdentifier) ?? true else { throw Problem.badCursor }
        let found = try await environment.store.transaction { transaction in
            try PaymentRecords(transaction: transaction).openDeadLetters(after: cursor ?? "", limit: limit + 1)
        }
        let page = found.prefix(limit)
        return .json { json in
            json.object { json in
                json.array("deadLetters") { json in page.forEach { $0.write(to: &json) } }
                if found.count > limit, let last = page.last {
                    json.string("nextCursor", last.payment.id)
                } else {
                    json.null("nextCursor")
                }
            }
        }
    }
}

extension DeadLetter {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("reason", reason)
            json.string("diedAt", diedAt.description)
            if let resolution { json.string("resolution", resolution.rawValue) }
            if let resolvedAt { json.string("resolvedAt", resolvedAt.description) }
            if let retriedAs { json.string("retriedAs", retriedAs) }
            json.name("payment")
            payment.write(to: &json)
        }
    }
}
