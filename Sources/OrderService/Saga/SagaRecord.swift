import Money
import MoneyJSON
import Resilience
import StockAPI
import StrictJSON

/// A line of an order's history.
public struct HistoryEntry: Hashable, Sendable {
    /// The longest event that is kept, in Unicode scalars.
    static let maximumEvent = 200

    /// When.
    public let at: Timestamp
    /// What, for a person.
    public let event: String

    /// An entry.
    public init(at: Timestamp, event: String) {
        self.at = at
        self.event = event
    }
}

/// The stored form of a saga: versioned, so that newer code can resume what older code has stored (hazard 22).
struct SagaRecord: Equatable, Sendable {
    /// The version written. A reader accepts every version up to its own.
    static let version: Int64 = 2

    let plan: OrderPlan
    let step: Saga.Step
    let history: [HistoryEntry]

    func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.integer("version", Self.version)
                json.string("orderId", plan.orderID)
                json.string("reservationId", plan.reservationID)
                json.string("chargeId", plan.chargeID)
                json.string("refundId", plan.refundID)
                json.string("user", plan.user)
                Cart.write(plan.lines, to: &json)
                if let holdSeconds = plan.holdSeconds { json.integer("holdSeconds", holdSeconds) }
                if let method = plan.method { json.string("method", method) }
                json.object("step") { step.write(to: &$0) }
                json.array("history") { json in
                    for entry in history {
                        json.object { json in
                            json.integer("at", entry.at.milliseconds)
                            json.string("event", entry.event)
                        }
                    }
                }
            }
        }
    }

    /// Reads a stored saga. - Throws: `JSONSyntaxError` or `ValidationFailure`, also for a version newer than this code.
    init(json bytes: some Sequence<UInt8>) throws {
        var reader = try ObjectReader(try JSONParser.parse(bytes))
        _ = reader.integer("version", in: 1...Self.version)
        let orderID = reader.string("orderId", length: 1...128)
        let reservationID = reader.string("reservationId", length: 1...128)
        let chargeID = reader.string("chargeId", length: 1...128)
        let refundID = reader.string("refundId", length: 1...128)
        let user = reader.string("user", length: 0...128)
        let lines = Cart.lines(from: &reader)
        let holdSeconds = reader.integer("holdSeconds", in: 1...86_400, required: false)
        let method = reader.string("method", length: 1...64, required: false)
        let step = reader.nested("step", Saga.Step.init(json:))
        let history = reader.elements("history", HistoryEntry.init(json:))
        try reader.finish()
        guard let orderID, let reservationID, let chargeID, let refundID, let user, let lines, let step, let history
        else {
            throw ValidationFailure("#", "is not a saga")
        }
        plan = OrderPlan(
            orderID: orderID, reservationID: reservationID, chargeID: chargeID, refundID: refundID, user: user,
            lines: lines, holdSeconds: holdSeconds, method: method)
        self.step = step
        self.history = history
    }

    init(plan: OrderPlan, step: Saga.Step, history: [HistoryEntry]) {
        self.plan = plan
        self.step = step
        self.history = history
    }
}

extension HistoryEntry {
    fileprivate init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let at = reader.integer("at", in: Int64.min...Int64.max)
        let event = reader.string("event", length: 0...Self.maximumEvent)
        try reader.finish()
        guard let at, let event else { throw ValidationFailure("#", "is not a line of a history") }
        self.init(at: Timestamp(milliseconds: at), event: event)
    }
}

extension Saga.Step {
    /// The step's name, as it is stored and logged.
    var name: String {
        switch self {
        case .reserving: "reserving"
        case .charging: "charging"
        case .completing: "completing"
        case .releasing: "releasing"
        case .canceling: "canceling"
        case .refunding: "refunding"
        case .completed: "completed"
        case .failed: "failed"
        }
    }

    /// The goods that the step knows of.
    var goods: ReservedGoods? {
        switch self {
        case .charging(let goods), .completing(let goods), .completed(let goods): goods
        case .reserving, .releasing, .canceling, .refunding, .failed: nil
        }
    }

    /// Why the checkout fails, if it does.
    var failure: Failure? {
        switch self {
        case .releasing(let failure, _), .canceling(let failure), .refunding(let failure), .failed(let failure): failure
        case .reserving, .charging, .completing, .completed: nil
        }
    }

    fileprivate func write(to json: inout JSONWriter) {
        json.string("name", name)
        if let goods {
            json.money("total", goods.total)
            ReservedLine.write(goods.lines, to: &json)
        }
        if case .releasing(_, let undo) = self { json.string("then", undo.rawValue) }
        if let failure {
            json.object("failure") { json in
                json.string("kind", failure.kind.rawValue)
                json.string("code", failure.code)
                json.string("detail", failure.detail)
                if let declineCode = failure.declineCode { json.string("declineCode", declineCode) }
            }
        }
    }

    fileprivate init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let name = reader.string("name", length: 1...32)
        let total = reader.nested("total", required: false) { value throws(ValidationFailure) in
            try Money(json: value, in: 0...Int64.max)
        }
        let lines = reader.elements("lines", required: false, ReservedLine.init(json:))
        let undo = reader.string("then", length: 1...32, required: false).flatMap { Saga.ChargeUndo(rawValue: $0) }
        // Version 1 told two cases apart.
        let thenRefund = reader.bool("thenRefund")
        let failure = reader.nested("failure", required: false, Failure.init(json:))
        try reader.finish()
        let goods = total.flatMap { total in lines.map { ReservedGoods(total: total, lines: $0) } }
        switch (name, goods, failure, undo ?? thenRefund.map { $0 ? .refund : .nothing }) {
        case ("reserving", _, _, _): self = .reserving
        case ("charging", let goods?, _, _): self = .charging(goods)
        case ("completing", let goods?, _, _): self = .completing(goods)
        case ("completed", let goods?, _, _): self = .completed(goods)
        case ("releasing", _, let failure?, let undo?): self = .releasing(failure, then: undo)
        case ("canceling", _, let failure?, _): self = .canceling(failure)
        case ("refunding", _, let failure?, _): self = .refunding(failure)
        case ("failed", _, let failure?, _): self = .failed(failure)
        default: throw ValidationFailure("#", "is not a step of a saga")
        }
    }
}

extension Failure {
    fileprivate init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let kind = reader.string("kind", length: 1...32).flatMap { Kind(rawValue: $0) }
        let code = reader.string("code", length: 1...Self.maximumCode)
        let detail = reader.string("detail", length: 0...Self.maximumDetail)
        let declineCode = reader.string("declineCode", length: 1...Self.maximumCode, required: false)
        try reader.finish()
        guard let kind, let code, let detail else { throw ValidationFailure("#", "is not a failure") }
        self.init(kind: kind, code: code, detail: detail, declineCode: declineCode)
    }
}
