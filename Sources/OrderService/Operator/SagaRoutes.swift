import Correlation
import Hummingbird
import Money
import MoneyJSON
import OpenAPI
import Resilience
import ServiceKit
import StockAPI
import StrictJSON

/// Order's routes for operators, on the operator's port alone.
struct SagaRoutes: Sendable {
    let desk: SagaDesk

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue(of: Self.service)
        routes.get("/sagas", as: Self.list, list)
        routes.get("/sagas/:id", as: Self.show, show)
        routes.get("/sagas/:id/plan", as: Self.plan, plan)
        for action in SagaAction.allCases {
            routes.post("/sagas/:id/\(action.rawValue)", as: Self.operation(action)) { request, context in
                try await carryOut(action, request, context)
            }
        }
        return routes
    }

    private func list(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.operatorSelection(
            SagaDesk.states, now: desk.log.time.now, isID: IdentifierSource.isIdentifier)
        return try await desk.list(selection).response("sagas") { sheet, json in
            json.object { sheet.writeMembers(to: &$0) }
        }
    }

    private func show(_ request: Request, _ context: ServiceContext) async throws -> Response {
        guard let file = try await desk.file(try context.pathParameter("id")) else { throw Problem.noSuchOrder }
        return .json { file.write(to: &$0) }
    }

    private func plan(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let plan = try await desk.plan(try request.plannedAction(), of: try context.pathParameter("id"))
        return .json { plan.write(to: &$0) }
    }

    private func carryOut(
        _ action: SagaAction, _ request: Request, _ context: ServiceContext
    ) async throws -> Response {
        let id = try context.pathParameter("id")
        let plan = try await desk.carryOut(action, of: id, try request.operatorCommand(context))
        return .json { json in
            json.object { json in
                json.string("orderId", id)
                json.string("action", action.rawValue)
                json.string("state", plan == nil ? "under_way" : action == .park ? "parked" : "due")
                if let plan { json.string("plan", plan.id) }
            }
        }
    }

    // MARK: - Descriptions

    private static let service = APIDescription(
        name: "order", title: "Order", port: 3141,
        "What operators see and do of checkouts. `checkout sagas` is a client of these routes.")

    private static let members: [Schema.Property] = [
        .required("orderId", .string()), .required("user", .string("Empty for nobody in particular.")),
        .required("state", .word(of: SagaSheet.State.allCases.map(\.rawValue))),
        .required("step", .string("Where the saga stands: the call that it waits for.")),
        .required("createdAt", .string(format: "date-time")), .required("updatedAt", .string(format: "date-time")),
        .optional("dueAt", .string("When it is tried again by itself.", format: "date-time")),
        .required("rounds", .integer("How often its step was repeated without a definite answer.")),
        .optional("parkedFor", .string("Why it is parked.")),
        .optional("parkedBy", .string("The operator who parked it; it is not tried again by itself then.")),
        .optional("atStake", Money.schema), .optional("total", Money.schema),
        .optional(
            "failure",
            .object("Why it fails, or has failed.", [.required("code", .string()), .required("detail", .string())])),
        .optional("reservationId", .string()), .optional("chargeId", .string()), .optional("refundId", .string()),
        .optional(
            "lines",
            .array(of: .object([.required("itemId", .integer()), .required("quantity", .integer())]))),
        .optional("method", .string("The payment method that was asked for.")),
    ]

    private static let saga = Schema.object("A checkout, whoever's it is.", members).named("Saga")

    private static let file = Schema.object(
        "A checkout with all that is known of its past.",
        members + [
            .required("epoch", .integer("How often it has changed hands.")),
            .optional("owner", .string("The process that drives it now.")),
            .required(
                "history",
                .array(
                    of: .object([.required("at", .string(format: "date-time")), .required("event", .string())]))),
            .required("attempts", .array(of: attempt)), .required("actions", .array(of: OperatorAction.schema)),
        ]
    ).named("SagaFile")

    private static let attempt = Schema.object(
        "An attempt of a call that brought no answer that ends it. The first and the last ones of a saga are kept.",
        [
            .required("sequence", .integer("Its number among all of the saga's.")),
            .required("at", .string(format: "date-time")), .required("call", .string()),
            .required("attempt", .integer("Its number within its round.")),
            .required("answer", .string("What came of it.")),
        ]
    ).named("FailedAttempt")

    private static let list = APIOperation(
        "listSagas", "Checkouts by state, age and user",
        "Unfinished ones oldest first, ended ones newest first. A page may be short, or empty, and have a next one.",
        for: .operators, parameters: OperatorSelection.parameters(SagaDesk.states),
        answers: [
            .init(
                "A page.",
                .object([.required("sagas", .array(of: saga)), .required("nextCursor", .string().orNull)]))
        ])

    private static let show = APIOperation(
        "showSaga", "One checkout with its history, its failed attempts and what operators did to it", for: .operators,
        parameters: [.id("The order.")], answers: [.init("The checkout.", file)], problems: [.orderNotFound])

    private static let plan = APIOperation(
        "planSaga", "What an action would do, without doing it",
        "The calls that would be made if each succeeds, what they would move, and the plan's id.", for: .operators,
        parameters: [
            .id("The order."),
            .query("action", "The action.", .word(of: SagaAction.allCases.map(\.rawValue))),
        ],
        answers: [
            .init("The plan.", OperatorPlan.schema("orderId"))
        ], problems: [.orderNotFound, .orderStateConflict, .sagaUnderWay])

    private static func operation(_ action: SagaAction) -> APIOperation {
        let summary =
            switch action {
            case .retry: "Try again now what the checkout waits for"
            case .compensate: "Take the checkout back"
            case .park: "Put the checkout aside until an operator takes it up again"
            }
        return APIOperation(
            "\(action.rawValue)Saga", summary, for: .operators, parameters: [.id("The order.")],
            body: OperatorCommand.schema,
            answers: [
                .init(
                    "It is done, durably; the calls follow by themselves.",
                    .object([
                        .required("orderId", .string()), .required("action", .string()),
                        .required("state", .word(of: ["due", "under_way", "parked"])), .optional("plan", .string()),
                    ]))
            ], problems: [.orderNotFound, .orderStateConflict, .sagaUnderWay, .planOutdated])
    }
}
