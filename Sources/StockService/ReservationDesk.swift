import Hummingbird
import OpenAPI
import Resilience
import ServiceKit
import StockAPI
import Storage
import StrictJSON

/// Stock's routes for operators, on the operator's port alone: reservations, and their release by hand.
struct ReservationDesk: Sendable {
    let environment: ServiceEnvironment

    /// The states that a list may be asked for.
    static let states = ["reserved", "completed", "canceled"]

    func catalogue() -> RouteCatalogue {
        var routes = RouteCatalogue(of: Self.service)
        routes.get("/reservations", as: Self.list, list)
        routes.get("/reservations/:id", as: Self.show, show)
        routes.get("/reservations/:id/plan", as: Self.plan, plan)
        routes.post("/reservations/:id/release", as: Self.releaseOperation, release)
        return routes
    }

    // MARK: - Routes

    private func list(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let now = environment.time.now
        let selection = try request.operatorSelection(Self.states, takesUser: false, now: now)
        let page = try await environment.store.transaction { transaction in
            selection.state == "reserved"
                ? try Self.reserved(selection, now, in: transaction) : try Self.ended(selection, now, in: transaction)
        }
        return page.response("reservations") { reservation, json in json.raw(reservation.json()) }
    }

    private func show(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        let now = environment.time.now
        let found = try await environment.store.transaction { transaction in
            try Inventory(transaction: transaction, now: now).reservation(id).map {
                ($0, try OperatorLog(transaction).actions(on: id))
            }
        }
        guard let (reservation, actions) = found else { throw Self.notFound }
        return .json { json in
            json.object { json in
                json.name("reservation")
                json.raw(reservation.json())
                json.array("actions") { json in actions.forEach { $0.write(to: &json) } }
            }
        }
    }

    private func plan(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        let now = environment.time.now
        let plan = try await environment.store.transaction { try ReleasePlan(id, now, in: $0) }
        return .json { plan.write(to: &$0) }
    }

    /// The release that Order makes too; whoever has paid for the goods finds them gone, and gets the money back (hazard 36).
    private func release(_ request: Request, _ context: ServiceContext) async throws -> Response {
        let id = try context.pathParameter("id")
        let command = try request.operatorCommand(context)
        let now = environment.time.now
        let (released, planID) = try await environment.store.transaction { transaction in
            let plan = try ReleasePlan(id, now, in: transaction)
            try command.check(plan.id)
            let released = try Inventory(transaction: transaction, now: now).release(id: id).mapError(Problem.init)
                .get()
            try OperatorLog(transaction).record(command.action("release", plan: plan.id, at: now), on: id)
            return (released, plan.id)
        }
        command.tell(environment.logger, "release", of: ("reservation_id", id), plan: planID)
        return .json(released.json())
    }

    // MARK: - Reading

    static var notFound: Problem { Problem(.reservationNotFound, "There is no reservation with this id.") }

    private static func reserved(
        _ selection: OperatorSelection, _ now: Timestamp, in transaction: any Transaction
    ) throws -> Page<Reservation> {
        let ids = try transaction.all(
            """
            SELECT reservation_id FROM reservations INDEXED BY reservations_expiry
            WHERE status = 'reserved' AND reservation_id > ?1 AND created_at <= ?2 ORDER BY reservation_id LIMIT ?3
            """,
            [
                .text(selection.cursor ?? ""), .integer(selection.madeBefore?.milliseconds ?? .max),
                .integer(Int64(selection.limit + 1)),
            ]
        ) { $0.text(0) }
        return Page(
            try read(ids, now, in: transaction), limit: selection.limit, id: \.id)
    }

    /// Newest first, in steps of a bounded number of rows.
    private static func ended(
        _ selection: OperatorSelection, _ now: Timestamp, in transaction: any Transaction
    ) throws -> Page<Reservation> {
        let some = "FROM reservations WHERE reservation_id < ?1 ORDER BY reservation_id DESC"
        let cursor = selection.before
        let ids = try transaction.all(
            """
            SELECT reservation_id FROM (SELECT * \(some) LIMIT \(OperatorSelection.scanned))
            WHERE status = ?2 AND created_at <= ?3 LIMIT ?4
            """,
            [
                cursor, .text(selection.state), .integer(selection.madeBefore?.milliseconds ?? .max),
                .integer(Int64(selection.limit + 1)),
            ]
        ) { $0.text(0) }
        let scannedTo = try transaction.first(
            "SELECT reservation_id \(some) LIMIT 1 OFFSET \(OperatorSelection.scanned - 1)", [cursor]
        ) { $0.text(0) }
        return Page(
            try read(ids, now, in: transaction), limit: selection.limit, scannedTo: scannedTo, id: \.id)
    }

    private static func read(
        _ ids: [String], _ now: Timestamp, in transaction: any Transaction
    ) throws -> [Reservation] {
        let inventory = Inventory(transaction: transaction, now: now)
        return try ids.compactMap { try inventory.listed($0) }
    }

    // MARK: - Descriptions

    private static let service = APIDescription(
        name: "stock", title: "Stock", port: 3143,
        "What operators see and do of reservations. `checkout reservations` is a client of these routes.")

    private static let list = APIOperation(
        "listReservations", "Reservations by state and age",
        "Open ones by id, ended ones in the opposite order. One whose lines cannot be read has none here.",
        for: .operators, parameters: OperatorSelection.parameters(states, takesUser: false),
        answers: [
            .init(
                "A page.",
                .object([
                    .required("reservations", .array(of: Reservation.schema)),
                    .required("nextCursor", .string().orNull),
                ]))
        ])

    private static let show = APIOperation(
        "showReservation", "One reservation, with what operators did to it", for: .operators,
        parameters: [.id("The reservation.")],
        answers: [
            .init(
                "The reservation.",
                .object([
                    .required("reservation", Reservation.schema),
                    .required("actions", .array(of: OperatorAction.schema)),
                ]))
        ], problems: [.reservationNotFound])

    private static let plan = APIOperation(
        "planRelease", "What a release by hand would move, without doing it", for: .operators,
        parameters: [.id("The reservation.")],
        answers: [
            .init("The plan.", OperatorPlan.schema("reservationId"))
        ], problems: [.reservationNotFound, .reservationStateConflict])

    private static let releaseOperation = APIOperation(
        "releaseReservation", "Put the goods of a reservation back by hand", for: .operators,
        parameters: [.id("The reservation.")], body: OperatorCommand.schema,
        answers: [.init("It is released.", Reservation.schema)],
        problems: [.reservationNotFound, .reservationStateConflict, .planOutdated])
}

/// What a release by hand would move.
struct ReleasePlan: Equatable, Sendable {
    let reservation: Reservation
    let id: String

    /// - Throws: `Problem` when there is nothing to release.
    init(_ reservationID: String, _ now: Timestamp, in transaction: any Transaction) throws {
        guard let reservation = try Inventory(transaction: transaction, now: now).reservation(reservationID) else {
            throw ReservationDesk.notFound
        }
        guard reservation.status == .reserved else {
            throw Problem(
                .reservationStateConflict,
                "The reservation is \(reservation.status.rawValue); there is nothing to put back.")
        }
        self.reservation = reservation
        let actions = try OperatorLog(transaction).count(of: reservationID)
        id = PlanID.make([
            "release", String(decoding: reservation.json(), as: UTF8.self), String(actions),
        ])
    }

    func write(to json: inout JSONWriter) {
        let lines = reservation.lines.map { "\($0.quantity) of item \($0.itemID)" }.joined(separator: ", ")
        json.object { json in
            json.string("reservationId", reservation.id)
            json.string("action", "release")
            json.string("plan", id)
            json.string("from", reservation.status.rawValue)
            json.string("to", Reservation.Status.canceled.rawValue)
            json.string(
                "summary",
                "The goods go back. An order that is being paid with this reservation fails, and its money is given back."
            )
            json.array("calls") { json in
                json.object { json in
                    json.string("service", "stock")
                    json.string("operation", "release")
                    json.string("id", reservation.id)
                    json.string("effect", "\(lines): back into the stock")
                }
            }
        }
    }
}
