import StockAPI

/// What was ordered, and the ids of every effect it may have: made and stored before the first call (docs/design.md,
/// rule 2).
///
/// A class, because a saga is copied at every step and its plan never changes.
public final class OrderPlan: Hashable, Sendable {
    /// The order; one for each attempt of a key.
    public let orderID: String
    /// Names the reservation at Stock.
    public let reservationID: String
    /// Names the charge at Payment.
    public let chargeID: String
    /// Names the refund at Payment, should there be one.
    public let refundID: String
    /// The user; empty for nobody in particular.
    public let user: String
    /// The goods.
    public let lines: [LineRequest]
    /// How long Stock holds the goods, in seconds: longer than a charge can be under way (hazard 36). Stored, because the
    /// same command has to be sent again after a restart with other settings. Nil in orders of older versions.
    public let holdSeconds: Int64?
    /// The payment method; nil is the customer's default.
    public let method: String?

    /// A plan.
    public init(
        orderID: String, reservationID: String, chargeID: String, refundID: String, user: String, lines: [LineRequest],
        holdSeconds: Int64? = nil, method: String?
    ) {
        self.orderID = orderID
        self.reservationID = reservationID
        self.chargeID = chargeID
        self.refundID = refundID
        self.user = user
        self.lines = lines
        self.holdSeconds = holdSeconds
        self.method = method
    }

    public static func == (left: OrderPlan, right: OrderPlan) -> Bool {
        left === right
            || left.orderID == right.orderID && left.reservationID == right.reservationID
                && left.chargeID == right.chargeID && left.refundID == right.refundID && left.user == right.user
                && left.lines == right.lines && left.holdSeconds == right.holdSeconds && left.method == right.method
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(orderID)
    }
}
