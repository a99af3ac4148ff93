import Correlation
import Hummingbird
import Idempotency
import Money
import MoneyJSON
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import StrictJSON

/// The HTTP routes of Order.
struct OrderRoutes: Sendable {
    let environment: ServiceEnvironment
    let log: SagaLog
    let runner: SagaRunner
    let checkoutTimeout: Duration

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue()
        routes.post("/checkout", checkout)
        routes.get("/orders", orders)
        routes.get("/orders/:id", order)
        routes.get("/audit/totals", totals)
        OrderAudit(log: log).add(to: &routes)
        return routes
    }

    // MARK: - Checkout

    private func checkout(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let key = try request.idempotencyKey()
        let command = try CheckoutCommand(json: try await request.json())
        let deadline = deadline(context)
        let order = newOrder(command, user: context.user, key: key)
        let orderID = order.record.plan.orderID

        guard runner.admit(orderID) else {
            throw Problem(.overloaded, "As many checkouts are under way as are allowed; nothing was executed.")
        }
        let claim: Claim
        do {
            claim = try await log.begin(order, fingerprint: command.fingerprint)
        } catch {
            runner.dismiss(orderID)
            throw error
        }
        switch claim {
        case .started:
            return try response(await runner.run(order, isResumed: false, context.callContext(deadline: deadline)))
        case .replay(let stored):
            runner.dismiss(orderID)
            return .replay(stored)
        case .inProgress:
            runner.dismiss(orderID)
            throw Problem.inProgress
        case .mismatch:
            runner.dismiss(orderID)
            throw Problem.keyReused
        }
    }

    private func deadline(_ context: ServiceContext) -> Deadline {
        let own = Deadline(after: checkoutTimeout, on: environment.time)
        guard let callers = context.deadline, callers.uptime < own.uptime else { return own }
        return callers
    }

    /// Every id that the checkout will need, made before anything is done.
    private func newOrder(_ command: CheckoutCommand, user: String, key: IdempotencyKey) -> Order {
        let now = environment.time.now
        let plan = OrderPlan(
            orderID: environment.identifiers.next(), reservationID: environment.identifiers.next(),
            chargeID: environment.identifiers.next(), refundID: environment.identifiers.next(),
            user: user, lines: command.lines, method: command.method)
        let record = SagaRecord(plan: plan, step: .reserving, history: [HistoryEntry(at: now, event: "created")])
        return Order(record: record, key: key.value, createdAt: now, updatedAt: now)
    }

    private func response(_ result: CheckoutResult) throws -> Response {
        switch result {
        case .completed(let stored): .json(stored.body)
        case .failed(let failure): throw Problem(failure)
        case .unknown:
            throw Problem(
                .outcomeUnknown,
                "The checkout goes on by itself; send the same request again to learn its outcome.")
        }
    }

    // MARK: - Orders

    private func orders(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let (limit, cursor) = try request.page()
        guard cursor.map(IdentifierSource.isIdentifier) ?? true else {
            throw Problem(.invalidParameter, "cursor must be the nextCursor of an earlier page.")
        }
        let found = try await log.orders(user: context.user, before: cursor, limit: limit + 1)
        let page = found.prefix(limit)
        return .json { json in
            json.object { json in
                json.array("orders") { json in page.forEach { $0.write(to: &json, withHistory: false) } }
                if found.count > limit, let last = page.last {
                    json.string("nextCursor", last.record.plan.orderID)
                } else {
                    json.null("nextCursor")
                }
            }
        }
    }

    private func order(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.parameters.require("id")
        guard let order = try await log.order(id, user: context.user) else {
            throw Problem(.orderNotFound, "There is no order with this id.")
        }
        return .json { order.write(to: &$0, withHistory: true) }
    }

    /// What must agree with Stock and Payment (INV-3), for the operator; not reachable through nginx.
    private func totals(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let totals = try await log.totals()
        return .json { json in
            json.object { json in
                json.object("orders") { json in
                    for status in ["pending", "completed", "failed"] {
                        json.integer(status, totals.orders[status] ?? 0)
                    }
                }
                json.array("completedTotals") { json in
                    for total in totals.completed {
                        json.object { json in
                            json.string("currency", total.currency)
                            json.integer("amount", total.amount)
                        }
                    }
                }
            }
        }
    }
}

/// What a client orders.
struct CheckoutCommand: Equatable, Sendable {
    let lines: [LineRequest]
    let method: String?

    /// Reads a command. - Throws: `ValidationFailure`.
    init(json: JSONValue) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let lines = Cart.lines(from: &reader)
        method = reader.string("method", length: 1...64, required: false)
        try reader.finish()
        guard let lines else { throw ValidationFailure("#/lines", "is required") }
        self.lines = lines
    }

    var fingerprint: Fingerprint {
        Fingerprint(operation: "checkout", fields: [method] + lines.map { "\($0.itemID):\($0.quantity)" })
    }
}

extension Problem {
    /// The failure of a checkout as its client sees it.
    init(_ failure: Failure) {
        switch (failure.kind, ProblemKind(rawValue: failure.code)) {
        case (.refused, .paymentDeclined): self.init(.paymentDeclined, failure.detail, declineCode: failure.declineCode)
        case (.refused, .validationFailed):
            self.init(.validationFailed, failure.detail, issues: [ValidationIssue("#", failure.detail)])
        case (.refused, let kind?) where kind == .itemNotFound || kind == .insufficientStock:
            self.init(kind, failure.detail)
        case (.garbled, _): self.init(.badGateway, "\(failure.detail) Nothing was charged.")
        case (.timedOut, _), (.deadline, _): self.init(.gatewayTimeout, "\(failure.detail) Nothing was charged.")
        case (.refused, _), (.unavailable, _), (.reservationLost, _):
            self.init(.checkoutUnavailable, "\(failure.detail) You owe nothing; send the same request again.")
        }
    }
}
