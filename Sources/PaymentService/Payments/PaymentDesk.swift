import Correlation
import Hummingbird
import Money
import MoneyJSON
import OpenAPI
import ProviderAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// Payment's routes for operators about payments through providers: what is open, how far it is, and asking the provider now.
struct PaymentDesk: Sendable {
    /// How many events of one payment are shown, the last ones: what both sides say now.
    static let eventLimit = 200

    let environment: ServiceEnvironment
    let payments: Payments
    let wake: @Sendable () -> Void
    /// For how long a provider is left alone because it has failed; nil if it is not.
    let openFor: @Sendable (Provider) -> Duration?

    static let states =
        [PaymentRecords.openState] + Payment.Status.allCases.filter { !$0.isOpen }.map(\.rawValue)

    func add(to routes: inout RouteCatalogue) {
        routes.get("/payments", as: Self.list, list)
        routes.get("/payments/:id", as: Self.show, show)
        routes.post("/payments/:id/settle", as: Self.settleOperation, settle)
        routes.get("/payments/:id/plan", as: Self.plan, plan)
        routes.post("/payments/:id/moved", as: Self.moved) { try await end($0, $1, .moved) }
        routes.post("/payments/:id/not-moved", as: Self.notMoved) { try await end($0, $1, .notMoved) }
    }

    // MARK: - Routes

    private func list(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.operatorSelection(
            Self.states, now: environment.time.now, isID: IdentifierSource.isIdentifier)
        let page = try await environment.store.transaction { try PaymentRecords(transaction: $0).page(selection) }
        return page.response("payments") { payment, json in json.object { payment.writeForOperators(to: &$0) } }
    }

    private func show(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        return .json(try await environment.store.transaction { try Self.file(id, in: $0) }.json())
    }

    /// Makes it due now. The worker asks, so that no two ask at once, and the answer is there a moment later.
    private func settle(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        let command = try request.operatorCommand(context)
        let file = try await environment.store.transaction { [environment] transaction in
            let records = PaymentRecords(transaction: transaction)
            guard let payment = try records.payment(id) else { throw Problem.paymentNotFound }
            let now = environment.time.now
            guard payment.status.isOpen else {
                throw Problem.paymentConflict("The payment is \(payment.status.rawValue); there is nothing to ask.")
            }
            let pauseEnd = try records.pauseEnd(of: payment.provider, at: now)
            let breakerEnd = openFor(payment.provider).map { now.advanced(by: $0) }
            if let end = [pauseEnd, breakerEnd].compactMap({ $0 }).max() {
                throw Problem.paymentConflict(
                    """
                    \(payment.provider.rawValue) is left alone until \(end), because it has failed or asked for that; then the payment is asked \
                    about by itself. Nothing was done.
                    """)
            }
            try records.askNow(payment, at: now)
            try OperatorLog(transaction).record(command.action("settle", plan: nil, at: now), on: id)
            return try Self.file(id, in: transaction)
        }
        command.tell(environment.logger, "settle", of: ("payment_id", id), plan: nil)
        wake()
        return .json(file.json())
    }

    private func plan(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let verdict: PaymentVerdict = try request.plannedAction()
        let id = try context.pathParameter("id")
        let plan = try await environment.store.transaction { try PaymentVerdictPlan(verdict, of: id, in: $0) }
        return .json { plan.write(to: &$0) }
    }

    private func end(
        _ request: Request, _ context: ServiceContext, _ verdict: PaymentVerdict
    ) async throws -> Response {
        let id = try context.pathParameter("id")
        try await payments.end(id, verdict, try request.operatorCommand(context))
        return .json(try await environment.store.transaction { try Self.file(id, in: $0) }.json())
    }

    private static func file(_ id: String, in transaction: any Transaction) throws -> PaymentFile {
        let records = PaymentRecords(transaction: transaction)
        guard let payment = try records.payment(id) else { throw Problem.paymentNotFound }
        return PaymentFile(
            payment: payment, events: try records.lastEvents(of: id, limit: eventLimit),
            actions: try OperatorLog(transaction).actions(on: id))
    }

    // MARK: - Descriptions

    private static let members =
        Payment.members + [
            .required(
                "phase",
                .word(
                    "What the provider is asked: the command, where it stands, or to take nothing any more.",
                    of: ["send", "ask", "close"])),
            .required("mayBeTaken", .boolean()), .required("isBeingAsked", .boolean()),
            .optional("requestId", .string("By which request it was made; its lines in the log name it.")),
            .required(
                "feeRemainder", .integer("What the rounding of the fee left over, in billionths of a minor unit.")),
            .optional("lastDetail", .string("What the provider said at the last asking, in its own words.")),
            .optional("dueAt", .string("When it is asked next.", format: "date-time")),
        ]

    private static let payment = Schema.object(
        "A payment through a provider, whoever's it is, and how far it is.", members
    ).named("ListedPayment")

    private static let paymentFile = Schema.object(
        "A payment with its past.",
        members + [
            .required("events", .array(of: PaymentsOperations.event)),
            .required("actions", .array(of: OperatorAction.schema)),
        ]
    ).named("PaymentFile")

    private static let list = APIOperation(
        "listPayments", "Payments through providers by state, age and user",
        "Open ones by id, and so by age; others in the opposite order.", for: .operators,
        parameters: OperatorSelection.parameters(states),
        answers: [
            .init(
                "A page.",
                .object([.required("payments", .array(of: payment)), .required("nextCursor", .string().orNull)]))
        ])

    private static let show = APIOperation(
        "showPayment", "One payment with its events, and what operators did to it", for: .operators,
        parameters: [.id("The payment.")], answers: [.init("The payment.", paymentFile)], problems: [.paymentNotFound])

    private static let settleOperation = APIOperation(
        "settlePayment", "Have the provider asked now about a payment",
        "It is asked under the payment's own id, so that nothing is paid twice. Refused while its breaker is open or it wants to be left alone.",
        for: .operators, parameters: [.id("The payment.")], body: OperatorCommand.schema,
        answers: [.init("The payment before the answer.", paymentFile)],
        problems: [.paymentNotFound, .paymentStateConflict])

    private static let plan = APIOperation(
        "planPaymentEnd", "What it would do to end an open payment by hand, without doing it", for: .operators,
        parameters: [
            .id("The payment."), .query("action", "The verdict.", .word(of: PaymentVerdict.allCases.map(\.rawValue))),
        ],
        answers: [.init("The plan.", OperatorPlan.schema("paymentId"))],
        problems: [.paymentNotFound, .paymentStateConflict])

    private static let moved = end(
        "endPaymentAsMoved", "End an open payment whose money has moved, as its provider's own books show")
    private static let notMoved = end(
        "endPaymentAsNotMoved", "End an open payment whose money has not moved, as its provider's own books show")

    private static func end(_ id: String, _ summary: String) -> APIOperation {
        APIOperation(
            id, summary, "For one that comes to no end by itself. The provider is not asked.", for: .operators,
            parameters: [.id("The payment.")], body: OperatorCommand.schema,
            answers: [.init("The payment, which has ended.", paymentFile)],
            problems: [.paymentNotFound, .paymentStateConflict, .planOutdated])
    }
}

extension Payment {
    fileprivate func writeForOperators(to json: inout JSONWriter) {
        writeMembers(to: &json)
        json.string("phase", task.phase.rawValue)
        json.bool("mayBeTaken", task.mayBeTaken)
        json.bool("isBeingAsked", leaseOwner != nil)
        if let origin { json.string("requestId", origin.requestID) }
        json.integer("feeRemainder", feeRemainder)
        if let lastDetail { json.string("lastDetail", lastDetail) }
        if status.isOpen, leaseOwner == nil { json.string("dueAt", dueAt.description) }
    }
}

/// A payment with its past.
private struct PaymentFile: Sendable {
    let payment: Payment
    let events: [RecordedEvent]
    let actions: [OperatorAction]

    func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                payment.writeForOperators(to: &json)
                json.array("events") { json in
                    events.forEach { $0.write(to: &json, currency: payment.amount.currency, codeName: "reason") }
                }
                json.array("actions") { json in actions.forEach { $0.write(to: &json) } }
            }
        }
    }
}
