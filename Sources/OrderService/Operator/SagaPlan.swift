import Money
import MoneyJSON
import ServiceKit
import StockAPI
import StrictJSON

/// What an operator may have done to a checkout.
enum SagaAction: String, CaseIterable, Sendable {
    /// Try again now what it waits for.
    case retry
    /// Take it back: the goods into the stock, the money to the customer.
    case compensate
    /// Put it aside: nothing is tried until an operator says so.
    case park
}

/// What an action would do: the calls that the saga would make from here on if each of them succeeds, and what they would
/// move. Made by the saga's own machine, so that it cannot promise what the machine would not do.
struct SagaPlan: Equatable, Sendable {
    /// A call, and what it would move if it is not moved already.
    struct PlannedCall: Equatable, Sendable {
        let service: String
        let operation: String
        /// The id by which the service knows the call.
        let id: String
        let effect: String
    }

    let orderID: String
    let action: SagaAction
    /// Where the saga stands, and where it would stand after the action, before any call.
    let from: String
    let to: String
    let calls: [PlannedCall]
    /// What would happen in all, for a person.
    let summary: String
    /// Names the plan: another state of the saga, or other calls, are another plan.
    let id: String

    /// More calls than any saga makes on its way to an end.
    private static let maximumCalls = 8

    /// Plans an action. - Parameter actions: how many actions the saga has had. - Throws: `Problem` when it is not possible.
    init(_ action: SagaAction, of sheet: SagaSheet, actions: Int) throws(Problem) {
        let saga = try Self.resumed(sheet)
        var after = saga
        switch action {
        case .retry: break
        case .compensate:
            guard after.withdraw() != nil else {
                throw Problem(
                    .orderStateConflict,
                    "The order is withdrawn or given back already (\(saga.step.name)); retry makes it go on at once.")
            }
        case .park:
            guard sheet.parkedBy == nil else {
                throw Problem(.orderStateConflict, "The order is parked by an operator already.")
            }
        }
        orderID = sheet.orderID
        self.action = action
        from = saga.step.name
        to = after.step.name
        calls = action == .park ? [] : Self.walk(after, atStake: saga.step.goods?.total ?? sheet.atStake)
        summary = Self.summary(action, after, sheet)
        let fields = [
            sheet.orderID, action.rawValue, sheet.state.rawValue, sheet.owner, String(sheet.epoch), sheet.stored,
            sheet.parkedFor, sheet.parkedBy, String(actions),
        ]
        id = PlanID.make(fields + calls.flatMap { [$0.service, $0.operation, $0.id, $0.effect] })
    }

    /// The saga as its next driver would find it.
    private static func resumed(_ sheet: SagaSheet) throws(Problem) -> Saga {
        switch sheet.state {
        case .completed, .failed:
            throw Problem(
                .orderStateConflict,
                "The order has ended, as \(sheet.state.rawValue); there is nothing to do any more.")
        case .underWay:
            throw Problem(
                .sagaUnderWay,
                "The order is being driven at this moment; it ends or is put down soon. Nothing was done.")
        case .waiting, .parked: break
        }
        guard let record = sheet.record else {
            throw Problem(
                .orderStateConflict,
                "The order was stored by a newer version, which alone can go on with it. Nothing was done.")
        }
        return Saga(resuming: record.plan, at: record.step)
    }

    /// The calls on the way to an end on which every call succeeds.
    ///
    /// - Parameter atStake: what may have been taken, as far as anybody knows.
    private static func walk(_ saga: Saga, atStake: Money?) -> [PlannedCall] {
        var saga = saga
        let goods = saga.step.goods
        var calls: [PlannedCall] = []
        while let call = saga.call, calls.count < maximumCalls {
            calls.append(planned(call, of: saga, goods, atStake))
            let event: Saga.Event
            switch call {
            case .reserve:
                // What the goods cost is for Stock to say; nothing below depends on it.
                let reserved = ReservedGoods(total: .zero(.usd), lines: [])
                event = .reserved(.succeeded(reserved), mayCharge: true)
            case .charge: event = .charged(.succeeded(Done()))
            case .complete: event = .completed(.succeeded(Done()))
            case .release: event = .released(.succeeded(Done()))
            case .refund: event = .refunded(.succeeded(Done()))
            }
            guard saga.apply(event) != nil else { break }
        }
        return calls
    }

    private static func planned(_ call: Saga.Call, of saga: Saga, _ goods: ReservedGoods?, _ atStake: Money?)
        -> PlannedCall
    {
        let plan = saga.plan
        let lines = plan.lines.map { "\($0.quantity) of item \($0.itemID)" }.joined(separator: ", ")
        let price = goods.map { "\($0.total.decimalText) \($0.total.currency.code)" } ?? "what Stock says they cost"
        switch call {
        case .reserve:
            return PlannedCall(
                service: "stock", operation: "reserve", id: plan.reservationID,
                effect: "\(lines): set aside, unless they are already")
        case .charge:
            return PlannedCall(
                service: "payment", operation: "charge", id: plan.chargeID,
                effect: "\(price): taken from the customer, unless it was already")
        case .complete:
            return PlannedCall(
                service: "stock", operation: "complete", id: plan.reservationID,
                effect: "\(lines): leave the stock for good")
        case .release:
            let effect = "\(lines): back into the stock, if they are set aside"
            let otherwise =
                switch saga.step {
                case .releasing(_, .withdraw): "; if they have left, the order goes forward instead"
                case .releasing(_, .abandon):
                    "; if they have left, they stay gone, and the money goes back all the same"
                case .releasing(_, .nothing), .releasing(_, .cancel), .releasing(_, .refund): ""
                case .reserving, .charging, .completing, .canceling, .refunding, .completed, .failed: ""
                }
            return PlannedCall(
                service: "stock", operation: "release", id: plan.reservationID, effect: effect + otherwise)
        case .refund:
            let amount = atStake.map { "up to \($0)" } ?? "whatever"
            return PlannedCall(
                service: "payment", operation: "refund", id: plan.refundID,
                effect: """
                    \(amount) that was taken under charge \(plan.chargeID): back to the customer; if nothing was, nothing ever will be
                    """)
        }
    }

    private static func summary(_ action: SagaAction, _ saga: Saga, _ sheet: SagaSheet) -> String {
        switch (action, saga.step) {
        case (.park, _):
            return
                "The order stays as it is (\(saga.step.name)), and nothing is tried until an operator retries or compensates it."
        case (_, .reserving), (_, .charging), (_, .completing):
            return "Forward: the customer gets the goods and pays for them, once."
        case (.compensate, .releasing(_, .abandon)):
            return
                """
                Back for good: the money to the customer, who is told that the shop has withdrawn the order, also when they ask again under the \
                same key; the goods into the stock, unless they have left it already: then they stay gone, which the audit tells. While \
                Stock only does not answer, retry is enough.
                """
        case (.compensate, _):
            return
                """
                Back: the goods return to the stock and the money to the customer, who is told that the shop has withdrawn the order, \
                also when they ask again under the same key. If the goods have left already, forward.
                """
        case (_, .releasing), (_, .canceling), (_, .refunding), (_, .completed), (_, .failed):
            return "Back: nothing is held, and whatever was taken is given back."
        }
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("orderId", orderID)
            json.string("action", action.rawValue)
            json.string("plan", id)
            json.string("from", from)
            json.string("to", to)
            json.string("summary", summary)
            json.array("calls") { json in
                for call in calls {
                    json.object { json in
                        json.string("service", call.service)
                        json.string("operation", call.operation)
                        json.string("id", call.id)
                        json.string("effect", call.effect)
                    }
                }
            }
        }
    }
}
