import Money
import MoneyJSON
import Resilience
import StockAPI
import StrictJSON

/// An order as it is stored and shown: one attempt of one key.
struct Order: Equatable, Sendable {
    /// What a client sees of the saga's step.
    enum Status: String, Sendable {
        case pending, completed, failed
    }

    let record: SagaRecord
    /// The client's key.
    let key: String
    let createdAt: Timestamp
    let updatedAt: Timestamp

    var status: Status { record.step.status }

    /// The answer to `POST /checkout`, made anew whenever its key is used again. So what an older version has stored must give the
    /// same bytes for as long as a key is remembered (IK-11). - Parameter goods: what was sold.
    func receipt(for goods: ReservedGoods) -> [UInt8] {
        let plan = record.plan
        return JSONWriter.bytes { json in
            json.object { json in
                json.string("orderId", plan.orderID)
                json.string("status", Status.completed.rawValue)
                json.string("reservationId", plan.reservationID)
                json.string("chargeId", plan.chargeID)
                json.decimal("totalFee", goods.total)
                json.money("total", goods.total)
                ReservedLine.write(goods.lines, to: &json)
                json.string("createdAt", createdAt.description)
            }
        }
    }

    /// The order as `GET /orders/{id}` shows it; a list leaves the history out.
    func write(to json: inout JSONWriter, withHistory: Bool) {
        let plan = record.plan
        json.object { json in
            json.string("orderId", plan.orderID)
            json.string("status", status.rawValue)
            json.string("reservationId", plan.reservationID)
            json.string("chargeId", plan.chargeID)
            if let goods = record.step.goods {
                json.decimal("totalFee", goods.total)
                json.money("total", goods.total)
                ReservedLine.write(goods.lines, to: &json)
            } else {
                Cart.write(plan.lines, to: &json)
            }
            if case .failed(let failure) = record.step {
                json.object("failure") { json in
                    json.string("code", failure.code)
                    json.string("detail", failure.detail)
                }
            }
            json.string("createdAt", createdAt.description)
            json.string("updatedAt", updatedAt.description)
            guard withHistory else { return }
            json.array("history") { json in
                for entry in record.history {
                    json.object { json in
                        json.string("at", entry.at.description)
                        json.string("event", entry.event)
                    }
                }
            }
        }
    }
}

extension Saga.Step {
    /// What a client sees of the step.
    var status: Order.Status {
        switch self {
        case .reserving, .charging, .completing, .releasing, .canceling, .refunding: .pending
        case .completed: .completed
        case .failed: .failed
        }
    }
}
