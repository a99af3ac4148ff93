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
    let configuration: OrderConfiguration

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue(of: OrderOperations.service)
        routes.keyedCommand("/checkout", as: OrderOperations.checkout, checkout)
        routes.get("/orders", as: OrderOperations.orders, orders)
        routes.get("/orders/:id", as: OrderOperations.getOrder, order)
        routes.get("/audit/totals", as: .totals, totals)
        OrderAudit(log: log).add(to: &routes)
        return routes
    }

    // MARK: - Checkout

    private func checkout(_ command: Command, _ key: IdempotencyKey) async throws -> CommandReply {
        let request = try CheckoutRequest(json: command.body)
        let deadline = deadline(command)
        let order = newOrder(request, user: command.user, key: key)
        let lease = SagaLog.firstLease(order.record.plan.orderID)

        guard runner.admit(lease) else {
            throw Problem(.overloaded, "As many checkouts are under way as are allowed; nothing was executed.")
        }
        let claim: CheckoutClaim
        do {
            let begun = try await log.begin(order, orRefuse: knownTrouble, origin: origin(command))
            claim = begun.claim
            // Also of a repetition: whoever has only its request's id finds the order by it.
            command.notes?.orderID = begun.orderID
        } catch {
            runner.lose([lease])
            throw error
        }
        if claim != .started { runner.lose([lease]) }
        switch claim {
        case .started:
            let context = CallContext(
                requestID: command.requestID, trace: command.trace, user: command.user, deadline: deadline)
            return try reply(to: await runner.run(order, lease, context))
        case .completed(let receipt): return .replayed(StoredResponse(status: 200, body: receipt))
        case .withdrawn: throw Problem.orderWithdrawn(isReplay: true)
        case .mismatch: throw Problem.keyReused
        case .inProgress: throw Problem.inProgress
        }
    }

    private func origin(_ command: Command) -> SagaOrigin {
        SagaOrigin(requestID: command.requestID, trace: environment.traces == nil ? nil : command.trace)
    }

    /// Why no checkout may begin now: a service that every checkout needs is known to be in trouble (HT-13).
    private var knownTrouble: Problem? {
        runner.refusesFor.map { wait in
            Problem(
                .checkoutUnavailable, "A service that a checkout needs does not answer; nothing was executed.",
                retryAfterSeconds: max(1, Int(wait.inSeconds.rounded(.up))))
        }
    }

    private func deadline(_ command: Command) -> Deadline {
        let own = Deadline(after: configuration.checkoutTimeout, on: environment.time)
        guard let callers = command.deadline, callers.uptime < own.uptime else { return own }
        return callers
    }

    /// Every id that the checkout will need, made before anything is done.
    private func newOrder(_ request: CheckoutRequest, user: String, key: IdempotencyKey) -> Order {
        let now = environment.time.now
        let plan = OrderPlan(
            orderID: environment.identifiers.next(), reservationID: environment.identifiers.next(),
            chargeID: environment.identifiers.next(), refundID: environment.identifiers.next(),
            user: user, lines: request.lines,
            holdSeconds: Int64(configuration.reservationTimeToLive.inSeconds.rounded(.up)), method: request.method)
        let record = SagaRecord(plan: plan, step: .reserving, history: [HistoryEntry(at: now, event: "created")])
        return Order(record: record, key: key.value, createdAt: now, updatedAt: now)
    }

    private func reply(to result: CheckoutResult) throws -> CommandReply {
        switch result {
        case .completed(let receipt): .made(receipt)
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
        guard cursor.map(IdentifierSource.isIdentifier) ?? true else { throw Problem.badCursor }
        let found = try await log.orders(user: context.user, before: cursor, limit: limit + 1)
        return Page(found, limit: limit, id: \.id).response("orders") { listed, json in
            listed.order?.write(to: &json, withHistory: false)
        }
    }

    private func order(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        guard let order = try await log.order(id, user: context.user) else {
            throw Problem(.orderNotFound, "There is no order with this id.")
        }
        return .json { order.write(to: &$0, withHistory: true) }
    }

    /// What must agree with Stock and Payment (INV-3), for the operator; not reachable through nginx.
    private func totals(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let totals = try await OrderTotals(in: environment)
        return .json { json in
            json.object { json in
                json.object("orders") { json in
                    json.integer("pending", totals.pending)
                    json.integer("completed", totals.completed)
                    json.integer("failed", totals.failed)
                    json.integer("parked", totals.parked)
                }
                json.array("completedTotals") { json in
                    for (currency, amount) in totals.worth.sorted(by: { $0.key < $1.key }) {
                        json.object { json in
                            json.string("currency", currency)
                            json.integer("amount", amount)
                        }
                    }
                }
            }
        }
    }
}

/// What a client orders.
struct CheckoutRequest: Equatable, Sendable {
    let lines: [LineRequest]
    let method: String?

    /// Reads a command. - Throws: `ValidationFailure`.
    init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let lines = Cart.lines(from: &reader)
        method = reader.string("method", length: 1...64, required: false)
        try reader.finish()
        guard let lines else { throw ValidationFailure("#/lines", "is required") }
        self.lines = lines
    }
}

extension Problem {
    /// A client whose order was withdrawn must not be told to send the same again: that would order anew what the shop has just taken
    /// back, and charge for it.
    static func orderWithdrawn(isReplay: Bool) -> Problem {
        Problem(
            .orderWithdrawn,
            """
            The shop has withdrawn this order. You owe nothing: whatever was paid for it is given back. To order again, use a new \
            Idempotency-Key.
            """, isReplay: isReplay)
    }

    /// The failure of a checkout as its client sees it.
    init(_ failure: Failure) {
        switch (failure.kind, ProblemKind(rawValue: failure.code)) {
        case (.refused, .paymentDeclined): self.init(.paymentDeclined, failure.detail, declineCode: failure.declineCode)
        case (.refused, .validationFailed):
            self =
                failure.fault.map(Problem.init)
                ?? Problem(.validationFailed, failure.detail, issues: [ValidationIssue("#", failure.detail)])
        case (.refused, let kind?) where kind == .itemNotFound || kind == .insufficientStock:
            self.init(kind, failure.detail)
        case (.garbled, _): self.init(.badGateway, "\(failure.detail) Nothing was charged.")
        case (.timedOut, _), (.deadline, _): self.init(.gatewayTimeout, "\(failure.detail) Nothing was charged.")
        case (.withdrawn, _): self = .orderWithdrawn(isReplay: false)
        case (.refused, _), (.unavailable, _), (.reservationLost, _):
            self.init(.checkoutUnavailable, "\(failure.detail) You owe nothing; send the same request again.")
        }
    }
}
