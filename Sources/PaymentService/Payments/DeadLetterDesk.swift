import Correlation
import Hummingbird
import OpenAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// What operators see and do of payments that were given up: on the operator's port alone, by plans (decision 21).
struct DeadLetterDesk: Sendable {
    let environment: ServiceEnvironment
    let payments: Payments

    /// The states that a list may be asked for. Nobody has decided yet about `open` ones.
    static let states = ["open"] + DeadLetter.Resolution.allCases.map(\.rawValue)

    func add(to routes: inout RouteCatalogue) {
        routes.get("/dead-letters", as: Self.list, list)
        routes.get("/dead-letters/:id", as: Self.show) { _, context in
            .json(try await file(try context.pathParameter("id")))
        }
        routes.get("/dead-letters/:id/plan", as: Self.plan, plan)
        routes.post("/dead-letters/:id/retry", as: Self.retry) { request, context in
            let id = try context.pathParameter("id")
            _ = try await payments.retry(deadLetter: id, try request.operatorCommand(context))
            return .json(try await file(id))
        }
        routes.post("/dead-letters/:id/discard", as: Self.discard) { request, context in
            let id = try context.pathParameter("id")
            try await payments.discard(deadLetter: id, try request.operatorCommand(context))
            return .json(try await file(id))
        }
    }

    // MARK: - Routes

    private func list(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.operatorSelection(
            Self.states, now: environment.time.now, isID: IdentifierSource.isIdentifier)
        let page = try await environment.store.transaction { transaction in
            try PaymentRecords(transaction: transaction).deadLetters(selection)
        }
        return page.response("deadLetters") { letter, json in json.object { letter.writeMembers(to: &$0) } }
    }

    /// A dead letter with what operators did to it.
    private func file(_ id: String) async throws -> [UInt8] {
        let (found, actions) = try await environment.store.transaction { transaction in
            (try PaymentRecords(transaction: transaction).deadLetter(id), try OperatorLog(transaction).actions(on: id))
        }
        guard let found else { throw Problem.deadLetterNotFound }
        return JSONWriter.bytes { json in
            json.object { json in
                found.writeMembers(to: &json)
                json.array("actions") { json in actions.forEach { $0.write(to: &json) } }
            }
        }
    }

    private func plan(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let action: DeadLetterAction = try request.plannedAction()
        let id = try context.pathParameter("id")
        let plan = try await environment.store.transaction { try DeadLetterPlan(action, of: id, in: $0) }
        return .json { plan.write(to: &$0) }
    }

    // MARK: - Descriptions

    private static let letterID = APIOperation.Parameter.id("The payment that was given up.")

    private static let letterMembers: [Schema.Property] = [
        .required("reason", .string("Why.")), .required("diedAt", .string(format: "date-time")),
        .optional("resolution", .word(of: DeadLetter.Resolution.allCases.map(\.rawValue))),
        .optional("resolvedAt", .string(format: "date-time")),
        .optional("retriedAs", .string("The payment that was made anew for it.")),
        .required(
            "isSaidToHaveMoved",
            .boolean("Whether the provider has said in a message that the money has moved all the same.")),
        .required("payment", Payment.schema),
    ]

    private static let letter = Schema.object(
        "A payment that was given up. It has failed, and its money is back.", letterMembers
    ).named("DeadLetter")

    private static let letterFile = Schema.object(
        "A payment that was given up, with what operators did to it.",
        letterMembers + [.required("actions", .array(of: OperatorAction.schema))]
    ).named("DeadLetterFile")

    private static let list = APIOperation(
        "listDeadLetters", "Payments that were given up, by state, age and user",
        "Those that nobody has decided about oldest first, the others newest first. A page may be short, and have a next one.",
        for: .operators, parameters: OperatorSelection.parameters(states),
        answers: [
            .init(
                "A page.",
                .object([.required("deadLetters", .array(of: letter)), .required("nextCursor", .string().orNull)]))
        ])

    private static let show = APIOperation(
        "showDeadLetter", "One payment that was given up", for: .operators, parameters: [letterID],
        answers: [.init("The dead letter.", letterFile)], problems: [.paymentNotFound])

    private static let plan = APIOperation(
        "planDeadLetter", "What an action would do, without doing it", for: .operators,
        parameters: [
            letterID, .query("action", "The action.", .word(of: DeadLetterAction.allCases.map(\.rawValue))),
        ],
        answers: [.init("The plan.", OperatorPlan.schema("paymentId"))],
        problems: [.paymentNotFound, .paymentStateConflict])

    private static let retry = APIOperation(
        "retryDeadLetter", "Make a payment anew that was given up",
        "Once, under an id of its own, which `retriedAs` names. What goes out is set aside anew.", for: .operators,
        parameters: [letterID], body: OperatorCommand.schema, answers: [.init("Made.", letterFile)],
        problems: [
            .paymentNotFound, .paymentStateConflict, .planOutdated, .paymentDeclined, .accountNotFound,
            .balanceLimitExceeded, .refundExceedsPayment,
        ])

    private static let discard = APIOperation(
        "discardDeadLetter", "Let a payment be that was given up", for: .operators, parameters: [letterID],
        body: OperatorCommand.schema, answers: [.init("The dead letter.", letterFile)],
        problems: [.paymentNotFound, .paymentStateConflict, .planOutdated])
}

extension DeadLetter {
    fileprivate func writeMembers(to json: inout JSONWriter) {
        json.string("reason", reason)
        json.string("diedAt", diedAt.description)
        if let resolution { json.string("resolution", resolution.rawValue) }
        if let resolvedAt { json.string("resolvedAt", resolvedAt.description) }
        if let retriedAs { json.string("retriedAs", retriedAs) }
        json.bool("isSaidToHaveMoved", contradictions > 0)
        json.name("payment")
        payment.write(to: &json)
    }
}
