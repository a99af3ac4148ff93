import GRDB
import ServiceClient
import Storage
import StrictJSON

/// An invariant of docs/hazards.md that does not hold.
struct Violation: Error, Sendable, Equatable {
    /// For example `INV-4`.
    let invariant: String
    let what: String
}

/// Looks on while a run goes: at every commit of every service, and at everything that clients are told.
final class Audit: Sendable {
    private let world = Cell<World?>(nil)
    /// What was found to be wrong, first things first.
    let violations = Cell<[Violation]>([])
    /// Everything that clients were told.
    let answers = Cell<[ToldAnswer]>([])
    /// The payments that customers were told were taken on, with what they asked for.
    let takenOn = Cell<[(plan: PaymentPlan, id: String)]>([])
    /// When each order was stored.
    let orderTimes = Cell<[String: Duration]>([:])
    private let statuses = Cell<[String: String]>([:])

    func attach(to world: World?) {
        self.world.value = world
    }

    func told(_ answer: ToldAnswer) {
        answers.value.append(answer)
        world.value?.note("\(answer.plan.name) is told \(answer.outcome.summary)")
    }

    func tookOn(_ plan: PaymentPlan, _ id: String) {
        takenOn.value.append((plan, id))
        world.value?.note("\(plan.name) is told that \(id) is taken on")
    }

    func report(_ invariant: String, _ what: String) {
        world.value?.note("\(invariant) is broken: \(what)")
        violations.value.append(Violation(invariant: invariant, what: what))
    }

    // MARK: - Promises of Payment

    /// The charges of which Payment said last that nothing was taken.
    private let untaken = Cell<Set<String>>([])

    /// The charge that Payment has just said was not made, because the provider is not available.
    static func chargeTurnedDown(_ request: ServiceRequest, _ response: ServiceResponse) -> String? {
        guard request.path == "/charge", let problem = try? JSONParser.parse(response.body).tree,
            problem["code"] == .string("provider-unavailable"), let command = try? JSONParser.parse(request.body).tree,
            case .string(let id)? = command["chargeId"]
        else { return nil }
        return id
    }

    /// Whether a request may make this charge, alone or with others.
    static func mayCharge(_ request: ServiceRequest, _ id: String) -> Bool {
        let mayCharge = request.path == "/charge" || request.path == CommandBatch.path
        return mayCharge && String(decoding: request.body, as: UTF8.self).contains(id)
    }

    func notCharged(_ id: String) { untaken.value.insert(id) }

    /// Payment has got a request that may make charges.
    func mayCharge(_ request: ServiceRequest) {
        untaken.value = untaken.value.filter { !Self.mayCharge(request, $0) }
    }

    /// The provider has taken the money.
    func taken(_ id: String) {
        if untaken.value.contains(id) {
            report("INV-4", "money was taken for \(id), of which Payment had said that nothing was charged")
        }
    }

    // MARK: - At every commit

    func afterCommit(of node: Node) {
        guard let disk = node.disk else { return }
        do {
            switch node.role {
            case .order: try orders(disk)
            case .stock: try stock(disk)
            case .payment: try payment(disk)
            case .client: break
            }
        } catch {
            report("INV-16", "\(node.name) cannot be read: \(error)")
        }
    }

    private func orders(_ disk: Disk) throws {
        let orders = try disk.rows("SELECT order_id, status FROM orders") { ($0[0] as String, $0[1] as String) }
        for (id, status) in orders {
            if orderTimes.value[id] == nil { orderTimes.value[id] = world.value?.scheduler.now }
            let before = statuses.value["order \(id)"]
            moved("order \(id)", to: status, from: ["pending": ["completed", "failed"]])
            if before == "pending", status != "pending" { try ended(id, status) }
        }
    }

    /// An order ends when all is done and not before (INV-8, INV-10): at that very moment the two others must agree.
    private func ended(_ id: String, _ status: String) throws {
        guard let disks = world.value?.disks else { return }
        let ids = try disks.order.rows(
            """
            SELECT json_extract(saga, '$.reservationId'), json_extract(saga, '$.chargeId') FROM orders
            WHERE order_id = ?
            """, [id]
        ) { ($0[0] as String, $0[1] as String) }
        guard let (reservationID, chargeID) = ids.first else { return }
        let reservation = try disks.stock.rows(
            "SELECT status FROM reservations WHERE reservation_id = ?", [reservationID]
        ) { $0[0] as String }.first
        let charge = try disks.payment.rows(
            "SELECT status, amount - refunded FROM charges WHERE charge_id = ?", [chargeID]
        ) { ($0[0] as String, $0[1] as Int64) }.first
        let isPaid = charge.map { $0.0 == "succeeded" && $0.1 > 0 } ?? false
        if status == "completed", reservation != "completed" || !isPaid {
            report(
                "INV-8",
                "order \(id) is completed; its reservation is \(reservation ?? "none"), its charge \(charge?.0 ?? "none")"
            )
        }
        if status == "failed", isPaid || charge?.0 == "pending" || (reservation ?? "canceled") != "canceled" {
            report(
                "INV-10",
                "order \(id) is failed; its reservation is \(reservation ?? "none"), its charge \(charge?.0 ?? "none")")
        }
    }

    private func stock(_ disk: Disk) throws {
        let bad = try disk.rows(
            """
            SELECT item_id FROM items
            WHERE on_hand < 0 OR reserved < 0 OR reserved > on_hand OR on_hand + completed <> received
            """
        ) { $0[0] as Int64 }
        for item in bad { report("INV-5", "item \(item) does not add up, or is oversold") }
        let reservations = try disk.rows("SELECT reservation_id, status FROM reservations") {
            ($0[0] as String, $0[1] as String)
        }
        for (id, status) in reservations {
            moved("reservation \(id)", to: status, from: ["reserved": ["completed", "canceled"]])
        }
    }

    private func payment(_ disk: Disk) throws {
        let charges = try disk.rows("SELECT charge_id, status, amount, refunded FROM charges") {
            ($0[0] as String, $0[1] as String, $0[2] as Int64, $0[3] as Int64)
        }
        for (id, status, amount, refunded) in charges {
            if refunded < 0 || refunded > amount {
                report("INV-4", "of charge \(id), \(refunded) of \(amount) is refunded")
            }
            moved("charge \(id)", to: status, from: ["pending": ["succeeded", "failed", "canceled"]])
        }
        try payments(disk)
        let books = try disk.rows(
            """
            SELECT ifnull(sum(debit_sign * (balance_high * 1000000000 + balance_low)), 0),
                ifnull(min(iif(kind = 'wallet', balance_high * 1000000000 + balance_low, 0)), 0)
            FROM accounts
            """
        ) { ($0[0] as Int64, $0[1] as Int64) }
        for (sum, least) in books {
            if sum != 0 { report("INV-11", "debits and credits differ by \(sum)") }
            if least < 0 { report("INV-11", "a wallet is overdrawn by \(-least)") }
        }
    }

    private func payments(_ disk: Disk) throws {
        let payments = try disk.rows("SELECT payment_id, status, amount, refunded, refunding FROM payments") {
            ($0[0] as String, $0[1] as String, $0[2] as Int64, $0[3] as Int64, $0[4] as Int64)
        }
        for (id, status, amount, refunded, refunding) in payments {
            if refunded < 0 || refunding < 0 || refunded + refunding > amount {
                report("INV-4", "of payment \(id), \(refunded) and \(refunding) of \(amount) is given back")
            }
            moved(
                "payment \(id)", to: status,
                from: [
                    "new": ["processing", "canceled"], "processing": ["succeeded", "failed", "canceled"],
                    "succeeded": ["partially_refunded", "refunded"], "partially_refunded": ["refunded"],
                ])
        }
    }

    /// A status may stay, or make the one step that is allowed (INV-7, INV-17).
    private func moved(_ name: String, to status: String, from steps: [String: [String]]) {
        guard let before = statuses.value.updateValue(status, forKey: name), before != status else { return }
        if steps[before]?.contains(status) != true { report("INV-17", "\(name) went from \(before) to \(status)") }
    }

    // MARK: - At a write

    /// A refusal for want of goods or money must be true when it is written (INV-10), and what is never deleted is not.
    func wrote(_ statement: SQLStatement, in transaction: any Transaction) throws {
        for table in ["ledger_entries", "payment_events", "payments_trail", "accounts"]
        where statement.sql.hasPrefix("DELETE FROM \(table)") || statement.sql.hasPrefix("UPDATE \(table)") {
            report("INV-11", "\(table) is written by: \(statement.sql)")
        }
        try wroteDeclined(statement, in: transaction)
        guard statement.role == .stock, statement.sql.hasPrefix("INSERT INTO refused_reservations"),
            statement.arguments.count > 2, case .text("insufficient-stock") = statement.arguments[1],
            case .text(let detail) = statement.arguments[2]
        else { return }
        // "Item 1: 2 asked for, 1 available."
        let numbers = detail.split { !$0.isNumber }.compactMap { Int64($0) }
        guard numbers.count == 3 else { return report("INV-10", "a refusal says: \(detail)") }
        let available = try transaction.first(
            "SELECT on_hand - reserved FROM items WHERE item_id = ?", [.integer(numbers[0])]
        ) { $0.integer(0) }
        if numbers[1] <= numbers[2] || available ?? 0 >= numbers[1] {
            report("INV-10", "refused although \(available ?? 0) are available: \(detail)")
        }
    }

    private func wroteDeclined(_ statement: SQLStatement, in transaction: any Transaction) throws {
        guard statement.sql.hasPrefix("INSERT INTO charges"), statement.arguments.count > 7,
            statement.arguments[3] == "wallet", statement.arguments[7] == "insufficient_funds",
            case .integer(let amount) = statement.arguments[4]
        else { return }
        let balance = try transaction.first(
            "SELECT balance_high * 1000000000 + balance_low FROM accounts WHERE user_id = ? AND currency = ?",
            [statement.arguments[1], statement.arguments[5]]
        ) { $0.integer(0) }
        if let balance, balance >= amount {
            report("INV-10", "declined \(amount) although \(balance) is in the wallet")
        }
    }
}

extension Network.Outcome {
    /// For the trace.
    var summary: String {
        switch self {
        case .success(let response): response.summary
        case .failure(let error): "nothing: \(error)"
        }
    }
}
