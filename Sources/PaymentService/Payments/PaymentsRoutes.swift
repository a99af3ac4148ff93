import Correlation
import Hummingbird
import Idempotency
import Money
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// The HTTP routes of payments through providers, and of the providers' messages.
struct PaymentsRoutes: Sendable {
    let environment: ServiceEnvironment
    let payments: Payments
    let inbox: WebhookInbox
    /// When a provider can be asked at the earliest.
    let earliest: @Sendable (Provider) -> Timestamp

    func add(to routes: inout RouteCatalogue) {
        typealias Described = PaymentsOperations
        routes.keyedCommand("/payments", as: Described.create) { command, key in
            let request = try PaymentRequest(json: command.body)
            return try await payments.create(request, operation: "payment", by: Caller(command), key: key)
                .located(at: "payments/")
        }
        for (kind, operation) in [(Payment.Kind.deposit, Described.deposit), (.withdraw, Described.withdraw)] {
            routes.keyedCommand("/payments/\(kind.rawValue)", as: operation) { command, key in
                let request = try PaymentRequest(kind, json: command.body, caller: command.user)
                let name = "payment by \(kind.rawValue)"
                return try await payments.create(request, operation: name, by: Caller(command), key: key).located(
                    at: "")
            }
        }
        routes.get("/payments", as: Described.list, list)
        routes.get("/payments/:id", as: Described.get) { request, context in
            let payment = try await payment(context)
            return .json(payment.json(earliest: earliest(payment.provider)))
        }
        routes.get("/payments/:id/events", as: Described.events, events)
        routes.keyedPost("/payments/:id/refund", as: Described.refund) { request, context, key in
            let id = try context.pathParameter("id")
            let json = try request.json(context)
            let reply = try await payments.refund(id, by: Caller(context), key: key) { currency in
                try PaymentRefundRequest(json: json, currency)
            }
            return .command(reply.located(at: "../"))
        }
        routes.post("/payments/:id/cancel", as: Described.cancel) { request, context in
            let id = try context.pathParameter("id")
            return .json(try await payments.cancel(id, caller: context.user).json())
        }
        routes.post("/webhooks/:provider", as: Described.webhook) { request, context in
            guard let provider = Provider(rawValue: try context.pathParameter("provider")) else {
                throw Problem(.notFound, "There is no provider of this name.")
            }
            try await inbox.receive(request, context, from: provider)
            return Response(status: .noContent, headers: [.cacheControl: "no-store"])
        }
    }

    private func payment(_ context: ServiceContext) async throws -> Payment {
        let id = try context.pathParameter("id")
        let payment = try await environment.store.transaction {
            try PaymentRecords(transaction: $0).payment(id, visibleTo: context.user)
        }
        guard let payment else { throw Problem.paymentNotFound }
        return payment
    }

    /// The caller's payments, newest first: `?status=`, `?limit=`, `?cursor=`.
    private func list(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let (limit, cursor, status) = try request.paymentPage()
        let user = context.user
        let page = try await environment.store.transaction { transaction in
            try PaymentRecords(transaction: transaction).page(user: user, status: status, before: cursor, limit: limit)
        }
        return page.response("payments") { payment, json in
            payment.write(to: &json, earliest: earliest(payment.provider))
        }
    }

    private func events(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let (limit, cursor) = try request.page()
        guard let after = cursor.map({ Int64(cursor: $0) }) ?? 0 else { throw Problem.badCursor }
        let payment = try await payment(context)
        let found = try await environment.store.transaction { transaction in
            try PaymentRecords(transaction: transaction).events(of: payment.id, after: after, limit: limit + 1)
        }
        return .events(found, limit: limit, payment.amount.currency, codeName: "reason")
    }
}

extension CommandReply {
    /// The same with the place where the payment is shown. - Parameter place: relative to the request's address, before its id.
    fileprivate func located(at place: String) -> CommandReply {
        let json = try? JSONParser.parse(body)
        guard let id = ["refundId", "paymentId"].lazy.compactMap({ json?.member($0)?.string }).first else {
            return self
        }
        let isReplay = if case .replayed = self { true } else { false }
        return .accepted(body, location: place + id, isReplay: isReplay)
    }
}

extension Request {
    /// What a list of payments is asked for. - Throws: `Problem` for a bad value.
    fileprivate func paymentPage() throws -> (limit: Int, cursor: String?, status: Payment.Status?) {
        var (limit, status) = (20, Payment.Status?.none)
        var cursor: String?
        try checkQueryHasNoRepetition()
        for (name, value) in uri.queryParameters {
            switch name {
            case "limit":
                guard let number = Int(value), Self.pageLimits.contains(number) else {
                    throw Problem(.invalidParameter, "limit must be a whole number from 1 to 100.")
                }
                limit = number
            case "cursor":
                guard IdentifierSource.isIdentifier(String(value)) else { throw Problem.badCursor }
                cursor = String(value)
            case "status":
                guard let word = Payment.Status(rawValue: String(value)) else {
                    let words = Payment.Status.allCases.map(\.rawValue).joined(separator: ", ")
                    throw Problem(.invalidParameter, "status must be one of \(words).")
                }
                status = word
            default: throw Problem(.invalidParameter, "The only query parameters are limit, cursor and status.")
            }
        }
        return (limit, cursor, status)
    }
}
