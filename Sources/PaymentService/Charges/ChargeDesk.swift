import Hummingbird
import Money
import MoneyJSON
import OpenAPI
import Resilience
import ServiceKit
import Storage
import StrictJSON

/// Payment's routes for operators, on the operator's port alone: charges, what is open of them, and asking the provider now.
struct ChargeDesk: Sendable {
    /// How many refunds of one charge are shown and settled at once.
    static let refundLimit = 100
    /// How many events of one charge are shown, the last ones.
    static let eventLimit = 100

    let environment: ServiceEnvironment
    let charging: Charging
    let refunding: Refunding

    /// The states that a list may be asked for. `open` ones wait for their provider's word, about the charge or a refund.
    static let states = ["open", "succeeded", "failed", "canceled"]

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue(of: Self.service)
        routes.get("/charges", as: Self.list, list)
        routes.get("/charges/:id", as: Self.show, show)
        routes.post("/charges/:id/settle", as: Self.settleOperation, settle)
        return routes
    }

    // MARK: - Routes

    private func list(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let selection = try request.operatorSelection(Self.states, now: environment.time.now)
        let page = try await environment.store.transaction { transaction in
            selection.state == "open"
                ? try Self.open(selection, in: transaction) : try Self.settled(selection, in: transaction)
        }
        return page.response("charges") { charge, json in json.object { charge.writeMembers(to: &$0) } }
    }

    private func show(_ request: Request, _ context: ServiceContext) async throws -> Response {
        .json(try await file(try context.pathParameter("id")).json())
    }

    /// Asks the provider now about whatever of a charge has no answer yet, instead of at its next turn.
    private func settle(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        let command = try request.operatorCommand(context)
        let before = try await file(id)
        guard before.charge.isOpen || !before.openRefunds.isEmpty else {
            throw Problem(.chargeStateConflict, "Everything about this charge is settled; there is nothing to ask.")
        }
        let now = environment.time.now
        try await environment.store.transaction { transaction in
            try OperatorLog(transaction).record(
                command.action("settle", plan: nil, at: now), on: Self.subject(id))
        }
        command.tell(environment.logger, "settle", of: ("charge_id", id), plan: nil)
        if before.charge.isOpen { try await charging.resume(id) }
        for refund in before.openRefunds { try await refunding.resume(refund) }
        return .json(try await file(id).json())
    }

    /// A charge's id is its client's choice, and may be that of a payment, about which operators decide by what was done before.
    static func subject(_ id: String) -> String { "charge:\(id)" }

    // MARK: - Reading

    private func file(_ id: String) async throws -> ChargeFile {
        try await environment.store.transaction { transaction in
            let book = ChargeBook(transaction: transaction)
            guard let charge = try Self.charges([id], in: transaction).first else { throw Problem.chargeNotFound }
            return ChargeFile(
                charge: charge,
                events: try book.lastEvents(of: id, for: charge.charge.user, limit: Self.eventLimit),
                openRefunds: try transaction.all(
                    """
                    SELECT refund_id FROM refunds WHERE charge_id = ? AND status = 'pending' ORDER BY refund_id
                    LIMIT \(Self.refundLimit)
                    """, [.text(id)]
                ) { $0.text(0) },
                actions: try OperatorLog(transaction).actions(on: Self.subject(id)))
        }
    }

    /// By indexes that have nothing but open charges and refunds in them.
    private static func open(
        _ selection: OperatorSelection, in transaction: any Transaction
    ) throws -> Page<ListedCharge> {
        let ids = try transaction.all(
            """
            SELECT charge_id FROM charges WHERE charge_id IN (
                SELECT charge_id FROM charges INDEXED BY charges_pending WHERE status = 'pending'
                UNION SELECT charge_id FROM refunds INDEXED BY refunds_pending WHERE status = 'pending'
            ) AND charge_id > ?1 AND created_at <= ?2 AND (?3 IS NULL OR user_id = ?3) ORDER BY charge_id LIMIT ?4
            """,
            [
                .text(selection.cursor ?? ""), .integer(selection.madeBefore?.milliseconds ?? .max),
                SQLValue(selection.user), .integer(Int64(selection.limit + 1)),
            ]
        ) { $0.text(0) }
        return Page(
            try charges(ids, in: transaction), limit: selection.limit, id: \.charge.id)
    }

    /// Newest first, in steps of a bounded number of rows.
    private static func settled(
        _ selection: OperatorSelection, in transaction: any Transaction
    ) throws -> Page<ListedCharge> {
        let some = "FROM charges WHERE charge_id < ?1 ORDER BY charge_id DESC"
        let cursor = selection.before
        let ids = try transaction.all(
            """
            SELECT charge_id FROM (SELECT * \(some) LIMIT \(OperatorSelection.scanned))
            WHERE status = ?2 AND created_at <= ?3 AND (?4 IS NULL OR user_id = ?4) LIMIT ?5
            """,
            [
                cursor, .text(selection.state), .integer(selection.madeBefore?.milliseconds ?? .max),
                SQLValue(selection.user), .integer(Int64(selection.limit + 1)),
            ]
        ) { $0.text(0) }
        let scannedTo = try transaction.first(
            "SELECT charge_id \(some) LIMIT 1 OFFSET \(OperatorSelection.scanned - 1)", [cursor]
        ) { $0.text(0) }
        return Page(
            try charges(ids, in: transaction), limit: selection.limit, scannedTo: scannedTo, id: \.charge.id)
    }

    private static func charges(_ ids: [String], in transaction: any Transaction) throws -> [ListedCharge] {
        let book = ChargeBook(transaction: transaction)
        return try ids.compactMap { id in
            guard let charge = try book.charge(id) else { return nil }
            let asking = try transaction.first(
                "SELECT askings, ask_at FROM charges WHERE charge_id = ?", [.text(id)]
            ) { ($0.integer(0), Timestamp(milliseconds: $0.integer(1))) }
            return ListedCharge(
                charge: charge, askings: asking?.0 ?? 0, nextAsking: charge.status == .pending ? asking?.1 : nil,
                hasOpenRefund: try book.hasPendingRefund(ofCharge: id))
        }
    }

    // MARK: - Descriptions

    private static let service = APIDescription(
        name: "payment", title: "Payment", port: 3142,
        """
        What operators see and do of charges, of payments through providers, and of those that were given up. `checkout charges`, \
        `checkout payments` and `checkout dead-letters` are clients of these routes.
        """)

    private static let members: [Schema.Property] = [
        .required("chargeId", .string()), .required("user", .string()),
        .required("status", .word(of: ["pending", "succeeded", "failed", "canceled"])),
        .required("amount", Money.schema), .required("refunded", Money.schema),
        .required("method", .string()), .optional("orderId", .string()),
        .optional("declineCode", .string("Why it was declined, if it was.")),
        .required("createdAt", .string(format: "date-time")),
        .required("askings", .integer("How often the provider was asked again.")),
        .optional("nextAskingAt", .string("When it is asked next.", format: "date-time")),
        .required("hasOpenRefund", .boolean()),
    ]

    private static let charge = Schema.object("A charge, whoever's it is.", members).named("ListedCharge")

    private static let chargeFile = Schema.object(
        "A charge with its past.",
        members + [
            .required("openRefunds", .array(of: .string("A refund without an answer."))),
            .required("events", .array(of: ChargeOperations.event)),
            .required("actions", .array(of: OperatorAction.schema)),
        ]
    ).named("ChargeFile")

    private static let list = APIOperation(
        "listCharges", "Charges by state, age and user", "Open ones by id, settled ones in the opposite order.",
        for: .operators, parameters: OperatorSelection.parameters(states),
        answers: [
            .init(
                "A page.",
                .object([.required("charges", .array(of: charge)), .required("nextCursor", .string().orNull)]))
        ])

    private static let show = APIOperation(
        "showCharge", "One charge with its events, open refunds, and what operators did to it", for: .operators,
        parameters: [.id("The charge.")], answers: [.init("The charge.", chargeFile)], problems: [.chargeNotFound])

    private static let settleOperation = APIOperation(
        "settleCharge", "Ask the provider now about what is open of a charge", for: .operators,
        parameters: [.id("The charge.")], body: OperatorCommand.schema,
        answers: [.init("The charge as it is then; it may still be open.", chargeFile)],
        problems: [.chargeNotFound, .chargeStateConflict])
}

/// A charge as a list for operators shows it.
struct ListedCharge: Sendable {
    let charge: Charge
    /// How often the provider was asked again.
    let askings: Int64
    let nextAsking: Timestamp?
    let hasOpenRefund: Bool

    var isOpen: Bool { charge.status == .pending }

    func writeMembers(to json: inout JSONWriter) {
        json.string("chargeId", charge.id)
        json.string("user", charge.user)
        json.string("status", charge.status.rawValue)
        json.money("amount", charge.amount)
        json.money("refunded", Money(minorUnits: charge.refunded, currency: charge.amount.currency))
        json.string("method", charge.method)
        if let orderID = charge.orderID { json.string("orderId", orderID) }
        if let code = charge.declineCode { json.string("declineCode", code.rawValue) }
        json.string("createdAt", charge.createdAt.description)
        json.integer("askings", askings)
        if let nextAsking { json.string("nextAskingAt", nextAsking.description) }
        json.bool("hasOpenRefund", hasOpenRefund)
    }
}

/// A charge with its past.
struct ChargeFile: Sendable {
    let charge: ListedCharge
    let events: [RecordedEvent]
    let openRefunds: [String]
    let actions: [OperatorAction]

    func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                charge.writeMembers(to: &json)
                json.array("openRefunds") { json in openRefunds.forEach { json.string($0) } }
                json.array("events") { json in
                    events.forEach { $0.write(to: &json, currency: charge.charge.amount.currency) }
                }
                json.array("actions") { json in actions.forEach { $0.write(to: &json) } }
            }
        }
    }
}
