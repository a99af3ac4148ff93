import Money
import MoneyJSON
import Resilience
import ServiceKit
import StockAPI
import Storage
import StrictJSON

/// A checkout as an operator sees it: its row, whoever its user is and whether or not this version can read its saga.
struct SagaSheet: Sendable {
    /// How a checkout stands.
    enum State: String, CaseIterable, Sendable {
        /// Somebody drives it now.
        case underWay = "under_way"
        /// It waits for its next round.
        case waiting
        /// It has been repeated too often, or an operator has put it aside.
        case parked
        case completed, failed
    }

    let orderID: String
    let user: String
    let state: State
    /// Nil when this version cannot read it.
    let record: SagaRecord?
    /// The saga as it is stored, to the byte.
    let stored: String
    let createdAt: Timestamp
    let updatedAt: Timestamp
    let owner: String
    let epoch: Int64
    /// How often the present step has been repeated without a definite answer.
    let rounds: Int64
    /// When it is tried again, if nobody drives it.
    let dueAt: Timestamp
    let parkedFor: String?
    /// The operator who put it aside; then nothing but an operator takes it up again.
    let parkedBy: String?
    /// What may have been taken, as far as its last driver knew.
    let atStake: Money?

    var hasEnded: Bool { state == .completed || state == .failed }

    static let columns = """
        order_id, user_id, status, saga, created_at, updated_at, owner, epoch, rounds, due_at, parked_for, parked_by, held,
        held_currency
        """

    init(_ row: any SQLRow) throws {
        guard let status = Order.Status(rawValue: row.text(2)) else {
            throw StoreError.failed("an order has the status \(row.text(2))")
        }
        orderID = row.text(0)
        user = row.text(1)
        stored = row.text(3)
        record = try? SagaRecord(json: stored.utf8)
        createdAt = Timestamp(milliseconds: row.integer(4))
        updatedAt = Timestamp(milliseconds: row.integer(5))
        owner = row.text(6)
        epoch = row.integer(7)
        rounds = row.integer(8)
        dueAt = Timestamp(milliseconds: row.integer(9))
        parkedFor = row.optionalText(10)
        parkedBy = row.optionalText(11)
        atStake = row.optionalInteger(12).flatMap { minorUnits in
            row.optionalText(13).flatMap { Currency(code: $0) }.map { Money(minorUnits: minorUnits, currency: $0) }
        }
        state =
            switch status {
            case .completed: .completed
            case .failed: .failed
            case .pending where !owner.isEmpty: .underWay
            case .pending: parkedFor == nil ? .waiting : .parked
            }
    }

    /// What a list shows, as the members of an object.
    func writeMembers(to json: inout JSONWriter) {
        json.string("orderId", orderID)
        json.string("user", user)
        json.string("state", state.rawValue)
        json.string("step", record?.step.name ?? "unreadable")
        json.string("createdAt", createdAt.description)
        json.string("updatedAt", updatedAt.description)
        if state == .waiting || state == .parked && parkedBy == nil { json.string("dueAt", dueAt.description) }
        json.integer("rounds", rounds)
        if let parkedFor { json.string("parkedFor", parkedFor) }
        if let parkedBy { json.string("parkedBy", parkedBy) }
        if !hasEnded, let atStake { json.money("atStake", atStake) }
        if let failure = record?.step.failure {
            json.object("failure") { json in
                json.string("code", failure.code)
                json.string("detail", failure.detail)
            }
        }
        guard let record else { return }
        json.string("reservationId", record.plan.reservationID)
        json.string("chargeId", record.plan.chargeID)
        json.string("refundId", record.plan.refundID)
        if let goods = record.step.goods { json.money("total", goods.total) }
        Cart.write(record.plan.lines, to: &json)
        if let method = record.plan.method { json.string("method", method) }
    }
}

/// A checkout with all that is known of its past.
struct SagaFile: Sendable {
    let sheet: SagaSheet
    let attempts: [RecordedAttempt]
    let actions: [OperatorAction]

    func write(to json: inout JSONWriter) {
        json.object { json in
            sheet.writeMembers(to: &json)
            json.integer("epoch", sheet.epoch)
            if !sheet.owner.isEmpty { json.string("owner", sheet.owner) }
            json.array("history") { json in
                for entry in sheet.record?.history ?? [] {
                    json.object { json in
                        json.string("at", entry.at.description)
                        json.string("event", entry.event)
                    }
                }
            }
            json.array("attempts") { json in attempts.forEach { $0.write(to: &json) } }
            json.array("actions") { json in actions.forEach { $0.write(to: &json) } }
        }
    }
}
