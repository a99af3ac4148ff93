import AuditAPI
import Correlation
import Hummingbird
import Idempotency
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// The HTTP routes of the mock provider: the same for each provider, under its name.
struct MockProviderRoutes: Sendable {
    let environment: ServiceEnvironment
    let configuration: MockProviderConfiguration
    let outbox: WebhookOutbox
    private let faults: Faults

    init(environment: ServiceEnvironment, configuration: MockProviderConfiguration, outbox: WebhookOutbox) {
        self.environment = environment
        self.configuration = configuration
        self.outbox = outbox
        faults = Faults(environment: environment, configuration: configuration)
    }

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue(of: MockProviderOperations.service)
        for provider in Provider.allCases {
            let operations = MockProviderOperations(provider: provider)
            let root = "/\(provider.rawValue)/v1"
            routes.keyedCommand("\(root)/payments", as: operations.pay) { try await pay(provider, $0, $1) }
            routes.get("\(root)/payments", as: operations.list) { request, _ in try await list(provider, request) }
            routes.get("\(root)/payments/:reference", as: operations.payment) { _, context in
                try await show(provider, try Self.reference(context))
            }
            routes.post("\(root)/payments/:reference/cancel", as: operations.cancel) { _, context in
                try await cancel(provider, try Self.reference(context))
            }
            routes.keyedCommand("\(root)/refunds", as: operations.makeRefund) { try await refund(provider, $0, $1) }
            routes.get("\(root)/refunds/:reference", as: operations.refund) { _, context in
                try await showRefund(provider, try Self.reference(context))
            }
        }
        routes.get(
            ProviderMovementEntry.path, as: .audit("auditMovements", "Movements of money", byID: false), movements)
        return routes
    }

    // MARK: - Payments

    private func pay(_ provider: Provider, _ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        let payment = try ProviderCommand(json: command.body)
        try Self.check(payment.reference, key)
        let asking = faults.asking(provider, "pay", payment.reference, token: payment.token, movesMoney: true)
        let id = "pp_\(environment.identifiers.next())"
        return .made(
            try await faults.meet(asking) {
                let taking = try await books(provider) { books in
                    try books.take(
                        payment, configuration.behaviour.verdict(on: payment), id: id,
                        settleAt: books.now.advanced(by: configuration.settleTime))
                }
                switch taking {
                case .taken(let payment): return Faults.Answer(body: try Self.answer(payment))
                // Its loss was that of the first answer.
                case .known(let payment): return Faults.Answer(body: try Self.answer(payment), isFirst: false)
                case .canceled:
                    throw Problem(.paymentCanceled, "The reference was canceled before anything was taken under it.")
                case .otherCommand: throw Problem.keyReused
                case .full: throw Self.full
                }
            })
    }

    /// A decline is an error towards the caller, however often it asks.
    private static func answer(_ payment: ProviderPayment) throws -> [UInt8] {
        guard payment.status == .declined else { return payment.json() }
        throw Problem(
            .paymentDeclined, "The payment was declined. Nothing was taken, and this reference stays declined.",
            declineCode: payment.declineCode)
    }

    private func show(_ provider: Provider, _ reference: String) async throws -> Response {
        let asking = faults.asking(provider, "show", reference)
        let body = try await faults.meet(asking) {
            guard let entry = try await books(provider, { try $0.entry(reference) }) else { throw Self.notFound }
            return Faults.Answer(body: entry.json(reference))
        }
        return .json(body)
    }

    private func cancel(_ provider: Provider, _ reference: String) async throws -> Response {
        let asking = faults.asking(provider, "cancel", reference)
        let id = "pp_\(environment.identifiers.next())"
        let body = try await faults.meet(asking) {
            guard let entry = try await books(provider, { try $0.cancel(reference, id: id) }) else { throw Self.full }
            return Faults.Answer(body: entry.json(reference))
        }
        return .json(body)
    }

    /// What was taken, oldest first. Spared from every fault: it is for whoever checks the books.
    private func list(_ provider: Provider, _ request: Request) async throws -> Response {
        let (limit, cursor) = try request.page()
        let after = try Self.number(cursor, or: 0)
        let found = try await books(provider) { try $0.payments(after: after, limit: limit + 1) }
        return Page(found, limit: limit) { String($0.number) }.response("payments") { found, json in
            found.payment.write(to: &json)
        }
    }

    // MARK: - Refunds

    private func refund(_ provider: Provider, _ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        let refund = try ProviderRefundCommand(json: command.body)
        try Self.check(refund.reference, key)
        let asking = faults.asking(provider, "refund", refund.reference, movesMoney: true)
        let id = "rf_\(environment.identifiers.next())"
        return .made(
            try await faults.meet(asking) {
                switch try await books(provider, { try $0.refund(refund, id: id) }) {
                case .made(let refund): return Faults.Answer(body: refund.json())
                case .known(let refund): return Faults.Answer(body: refund.json(), isFirst: false)
                case .otherCommand: throw Problem.keyReused
                case .noPayment: throw Problem(.notFound, "Nothing was taken under the payment's reference.")
                case .otherCurrency: throw ValidationFailure("#/amount/currency", "must be that of the payment")
                case .exceeds(let left):
                    throw Problem(.refundExceedsPayment, "\(left) of the payment can be given back.")
                case .full: throw Self.full
                }
            })
    }

    private func showRefund(_ provider: Provider, _ reference: String) async throws -> Response {
        let asking = faults.asking(provider, "showRefund", reference)
        let body = try await faults.meet(asking) {
            guard let refund = try await books(provider, { try $0.refund(reference) }) else { throw Self.notFound }
            return Faults.Answer(body: refund.json())
        }
        return .json(body)
    }

    // MARK: - Books

    private func movements(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.auditSelection(byID: false)
        let after = try Self.number(selection.cursor, or: 0)
        let time = environment.time
        let (now, found) = try await environment.store.transaction { transaction in
            (
                time.now,
                try ProviderBooks.movements(after: after, limit: selection.limit + 1, in: transaction)
            )
        }
        return .audit(selection, readAt: now, found: found)
    }

    private func books<T: Sendable>(
        _ provider: Provider, _ body: @escaping @Sendable (ProviderBooks) throws -> T
    ) async throws -> T {
        try await environment.store.transaction { [environment, configuration, outbox] transaction in
            try body(
                ProviderBooks(
                    transaction: transaction, provider: provider, outbox: outbox, now: environment.time.now,
                    maximumReferences: configuration.maximumReferences))
        }
    }

    // MARK: - Parts

    private static let notFound = Problem(.notFound, "Nothing was taken under this reference.")
    private static let full = Problem(.overloaded, "The provider remembers as many references as it can.")

    private static func check(_ reference: String, _ key: IdempotencyKey) throws(ValidationFailure) {
        guard reference == key.value else { throw ValidationFailure("#/reference", "must be the Idempotency-Key") }
    }

    /// What can be no reference stands for nothing, and is not remembered either.
    private static func reference(_ context: ServiceContext) throws -> String {
        let reference = try context.pathParameter("reference")
        guard ProviderReference.isValid(reference) else { throw notFound }
        return reference
    }

    private static func number(_ cursor: String?, or start: Int64) throws(Problem) -> Int64 {
        guard let number = cursor.map({ Int64(cursor: $0) }) ?? start else { throw Problem.badCursor }
        return number
    }
}

extension ProviderBooks.Entry {
    fileprivate func json(_ reference: String) -> [UInt8] {
        switch self {
        case .payment(let payment): payment.json()
        case .canceled: ProviderPayment.canceledJSON(reference)
        }
    }
}
