import AuditAPI
import StrictJSON

/// What a client was told of a checkout that was completed: what must be there for good from then on.
struct Receipt: Sendable, Equatable {
    let key: String
    let orderID: String
    let chargeID: String

    /// Reads the body of a 200; nil when it is no receipt of a completed order.
    init?(_ body: [UInt8], key: String) {
        guard let json = try? JSONParser.parse(body), json.text("status") == "completed",
            let orderID = json.text("orderId"), let chargeID = json.text("chargeId")
        else { return nil }
        self.key = key
        self.orderID = orderID
        self.chargeID = chargeID
    }

    /// What is wrong with the order that Order has; nil when it is as the client was told.
    func fault(_ order: OrderEntry?) -> String? {
        guard let order else { return "and Order has no such order" }
        guard order.status == .completed, order.record?.status == .completed else {
            return "and the order is \(order.status.rawValue)"
        }
        return order.record?.chargeID == chargeID ? nil : "and the order has another charge than its client was told"
    }
}

extension OperatorClient {
    /// The orders with these ids that there are, by their ids; at most `AuditLimits.ids` may be asked for. - Throws: `ToolError`.
    func orders(_ ids: [String]) async throws(ToolError) -> [String: OrderEntry] {
        let answer = try await get(OrderEntry.path, query: ids.map { ("id", $0) })
        guard let page = try? AuditPage<OrderEntry>(json: answer) else {
            throw .unreachable(url: OrderEntry.path, reason: "its answer makes no sense to this version")
        }
        return Dictionary(page.entries.map { ($0.id, $0) }) { first, _ in first }
    }
}
