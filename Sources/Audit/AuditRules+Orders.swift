import AuditAPI
import Resilience
import StockAPI

/// An order with the reservation and the charge that it names. Both were read after the order: an order ends only after they
/// are as they must be, so nothing that is merely under way looks wrong.
public struct OrderCase: Sendable {
    let order: OrderEntry
    let reservation: ReservationEntry?
    let charge: ChargeEntry?
    let readAt: Timestamp

    /// A case. - Parameter readAt: when the order was read, by Order's clock.
    public init(order: OrderEntry, reservation: ReservationEntry?, charge: ChargeEntry?, readAt: Timestamp) {
        self.order = order
        self.reservation = reservation
        self.charge = charge
        self.readAt = readAt
    }
}

extension AuditRules {
    /// Whether an order, its reservation and its charge say the same (INV-3, INV-4, INV-6, INV-8), and the order's own
    /// record does not contradict itself (INV-1).
    public func judge(_ orderCase: OrderCase) -> Verdict {
        let order = orderCase.order
        guard isOld(order.outcome == .pending ? order.createdAt : order.updatedAt, at: orderCase.readAt) else {
            return .tooYoung
        }
        var verdict = Verdict()
        guard let record = order.record else {
            verdict.find(
                1, [.order(order.id)],
                """
                The saga of order \(order.id) (\(order.status.rawValue)) cannot be read by this version of Order: whether \
                money or goods have moved for it is not known, and if it has not ended nothing will end it.
                """)
            return verdict
        }
        checkColumns(order, record, &verdict)
        switch record.status {
        case .pending: checkPending(orderCase, record, &verdict)
        case .completed:
            checkCharge(ofCompleted: order, record, orderCase.charge, &verdict)
            checkReservation(ofCompleted: order, record, orderCase.reservation, &verdict)
        case .failed:
            checkCharge(ofFailed: order, orderCase.charge, &verdict)
            checkReservation(ofFailed: order, orderCase.reservation, &verdict)
        }
        return verdict
    }

    // MARK: - The order alone

    private func checkColumns(_ order: OrderEntry, _ record: OrderEntry.Record, _ verdict: inout Verdict) {
        if order.status != record.status {
            verdict.find(
                1, [.order(order.id)],
                """
                Order \(order.id) is listed as \(order.status.rawValue), but its saga says \(record.status.rawValue): its \
                client was told the one, and sums and recovery go by the other.
                """)
        } else if record.status == .completed, order.total != record.total {
            verdict.find(
                3, [.order(order.id)],
                """
                Order \(order.id) is counted as \(text(order.total)), but was sold for \(text(record.total)): every sum of \
                completed orders is wrong by the difference.
                """)
        }
    }

    /// The steps of an order that is being undone.
    private static let goesBack: Set<String> = ["releasing", "canceling", "refunding"]

    /// The stored step says no more than where the order was stored last; what has moved, Stock and Payment know.
    private func checkPending(_ orderCase: OrderCase, _ record: OrderEntry.Record, _ verdict: inout Verdict) {
        let order = orderCase.order
        let goods =
            switch orderCase.reservation?.status {
            case nil: "no goods are set aside for it"
            case .reserved: "its goods are set aside"
            case .completed: "its goods have left"
            case .canceled: "its goods are back"
            }
        let money =
            switch orderCase.charge?.status {
            case nil: "nothing was charged for it"
            case .pending: "whether the money was taken is not known"
            case .succeeded: Self.kept(orderCase.charge)
            case .failed, .canceled: "no money was taken for it"
            }
        verdict.find(
            6, [.order(order.id), .reservation(record.reservationID), .charge(record.chargeID)],
            """
            Order \(order.id) has been pending since \(order.createdAt), last stored at the step \(record.step): \(goods), and \
            \(money).\(Self.goesBack.contains(record.step) ? " It is going to fail." : "")
            """)
    }

    /// What of a charge that has gone through is still taken. A refund counts from when it was asked for.
    private static func kept(_ charge: ChargeEntry?) -> String {
        if let kept = charge?.kept { return "\(kept) were taken for it" }
        guard charge?.refundPendingSince == nil else {
            return "its money is being given back, and whether it is back is not known"
        }
        return "its money was given back"
    }

    // MARK: - A completed order

    private func checkCharge(
        ofCompleted order: OrderEntry, _ record: OrderEntry.Record, _ charge: ChargeEntry?, _ verdict: inout Verdict
    ) {
        let subjects = [Finding.Subject.order(order.id), .charge(record.chargeID)]
        let opening = "Order \(order.id) is completed (\(text(record.total)))"
        if let total = record.total { verdict.money.add(total.currency) { $0.sold += Int128(total.minorUnits) } }
        guard let charge else {
            return verdict.find(
                8, subjects,
                "\(opening), but Payment has no charge \(record.chargeID): the goods have left and nothing was paid.")
        }
        guard charge.status == .succeeded else {
            return verdict.find(
                8, subjects,
                """
                \(opening), but its charge \(charge.id) is \(charge.status.rawValue): the goods have left and no money \
                was taken.
                """)
        }
        addFlow(of: charge, for: order, byClients: charge.refunded - charge.refundedUnderKeys, &verdict)
        if charge.amount != record.total {
            verdict.find(
                8, subjects,
                "\(opening), but its charge \(charge.id) took \(charge.amount): the customer paid another price.")
        }
        if charge.orderID != order.id || charge.user != order.user {
            verdict.find(
                8, subjects,
                """
                \(opening) for \(Self.name(order.user)), but its charge \(charge.id) is of \(Self.name(charge.user)) for \
                \(charge.orderID.map { "order \($0)" } ?? "no order"): somebody may have paid for another's goods.
                """)
        }
        if charge.refundedUnderKeys > 0 {
            verdict.find(
                8, subjects,
                """
                \(opening), but Order itself gave back \(Amount(charge.refundedUnderKeys, charge.amount.currency)) of its \
                charge \(charge.id), as it does for an order that failed: the customer has both goods and money.
                """)
        }
    }

    private func checkReservation(
        ofCompleted order: OrderEntry, _ record: OrderEntry.Record, _ reservation: ReservationEntry?,
        _ verdict: inout Verdict
    ) {
        let subjects = [Finding.Subject.order(order.id), .reservation(record.reservationID)]
        let opening = "Order \(order.id) is completed"
        guard let reservation else {
            return verdict.find(
                8, subjects,
                """
                \(opening), but Stock has no reservation \(record.reservationID): the goods that were paid for are not \
                counted as gone, and may be sold again.
                """)
        }
        switch reservation.status {
        case .completed: break
        case .reserved:
            return verdict.find(
                8, subjects,
                """
                \(opening), but its reservation \(reservation.id) is still open: the goods that were paid for go back on \
                sale when it expires.
                """)
        case .canceled:
            return verdict.find(
                8, subjects,
                """
                \(opening), but its reservation \(reservation.id) is canceled: the customer has paid for goods that are \
                back on sale.
                """)
        }
        func sorted(_ lines: [LineRequest]?) -> [LineRequest]? { lines?.sorted { $0.itemID < $1.itemID } }
        if sorted(reservation.lines) != sorted(record.lines) || reservation.total != record.total {
            verdict.find(
                8, subjects,
                """
                \(opening) for \(text(record.lines)) at \(text(record.total)), but its reservation \(reservation.id) is \
                for \(text(reservation.lines)) at \(text(reservation.total)): other goods have left than were paid for.
                """)
        }
        verdict.goods = reservation.lines ?? []
    }

    // MARK: - A failed order

    private func checkCharge(ofFailed order: OrderEntry, _ charge: ChargeEntry?, _ verdict: inout Verdict) {
        guard let charge else { return }
        let subjects = [Finding.Subject.order(order.id), .charge(charge.id)]
        switch charge.status {
        case .failed, .canceled: return
        case .pending:
            verdict.find(
                4, subjects,
                """
                Order \(order.id) has failed, but its charge \(charge.id) is still pending: it may yet take \
                \(charge.amount) for nothing.
                """)
        case .succeeded:
            addFlow(of: charge, for: order, byClients: 0, &verdict)
            guard let kept = charge.kept else { return }
            verdict.find(
                4, subjects,
                """
                Order \(order.id) has failed, but of its charge \(charge.id) \(kept) was never given back: the customer \
                has paid for nothing.
                """)
        }
    }

    private func checkReservation(
        ofFailed order: OrderEntry, _ reservation: ReservationEntry?, _ verdict: inout Verdict
    ) {
        guard let reservation else { return }
        let subjects = [Finding.Subject.order(order.id), .reservation(reservation.id)]
        switch reservation.status {
        case .canceled: return
        case .reserved:
            verdict.find(
                6, subjects,
                """
                Order \(order.id) has failed, but its reservation \(reservation.id) still holds \
                \(text(reservation.lines)): nobody can buy these goods until it expires.
                """)
        case .completed:
            verdict.find(
                8, subjects,
                """
                Order \(order.id) has failed, but its reservation \(reservation.id) is completed: \
                \(text(reservation.lines)) left the stock for an order that is not paid.
                """)
        }
    }

    // MARK: - Parts

    /// A charge counts for the order that it names; one that names another is a finding, and counts there.
    private func addFlow(
        of charge: ChargeEntry, for order: OrderEntry, byClients returned: Int64, _ verdict: inout Verdict
    ) {
        guard charge.orderID == order.id else { return }
        verdict.money.add(charge.amount.currency) { flow in
            flow.captured += Int128(charge.amount.minorUnits)
            flow.refunded += Int128(charge.refunded)
            flow.returned += Int128(returned)
        }
    }

    private func text(_ amount: Amount?) -> String { amount?.description ?? "no price" }

    private func text(_ lines: [LineRequest]?) -> String {
        guard let lines else { return "goods that cannot be read" }
        guard !lines.isEmpty else { return "no goods" }
        let shown = lines.prefix(5).map { "\($0.quantity) of item \($0.itemID)" }.joined(separator: ", ")
        return lines.count > 5 ? "\(shown) and \(lines.count - 5) lines more" : shown
    }
}
