import AuditAPI
import Correlation
import Resilience

/// A charge with the order that it names. The order was read after the charge: Order stores an order before it charges for
/// it, so an order that is not there was not there before either.
public struct ChargeCase: Sendable {
    let charge: ChargeEntry
    let order: OrderEntry?
    let readAt: Timestamp

    /// A case. - Parameter readAt: when the charge was read, by Payment's clock.
    public init(charge: ChargeEntry, order: OrderEntry?, readAt: Timestamp) {
        self.charge = charge
        self.order = order
        self.readAt = readAt
    }
}

extension ChargeEntry {
    /// What the charge took and has not given back; nil if that is nothing.
    var kept: Amount? {
        guard status == .succeeded, refunded < amount.minorUnits else { return nil }
        return Amount(amount.minorUnits - refunded, amount.currency)
    }

    /// The order that it names, if Order may have made it: Order's ids have one form, and it charges under the charge's own
    /// id as the key. What a client calls its own orders by is not Order's concern.
    var orderOfOrder: String? {
        guard isKeyedByID, IdentifierSource.isIdentifier(id) else { return nil }
        return nameableOrder
    }

    /// The order that it names, if that is an id that Order could have made.
    var nameableOrder: String? { orderID.flatMap { IdentifierSource.isIdentifier($0) ? $0 : nil } }
}

extension AuditRules {
    /// Whether a charge's records add up and it is settled (INV-4, INV-6), and whether it is one that its order knows of
    /// (INV-4). How an order's own charge agrees with the order is judged with the order.
    public func judge(_ chargeCase: ChargeCase) -> Verdict {
        let charge = chargeCase.charge
        guard isOld(charge.createdAt, at: chargeCase.readAt) else { return .tooYoung }
        var verdict = Verdict()
        checkRefunds(charge, &verdict)
        checkSettled(charge, chargeCase.readAt, &verdict)
        if let order = chargeCase.order {
            // An order that cannot be read is a finding of its own.
            if let record = order.record, record.chargeID != charge.id { second(charge, order, record, &verdict) }
        } else if let orderID = charge.orderOfOrder {
            unknown(charge, orderID, &verdict)
        } else if charge.status == .succeeded {
            verdict.money.add(charge.amount.currency) { flow in
                flow.capturedDirectly += Int128(charge.amount.minorUnits)
                flow.refundedDirectly += Int128(charge.refunded)
            }
        }
        return verdict
    }

    private func checkRefunds(_ charge: ChargeEntry, _ verdict: inout Verdict) {
        let currency = charge.amount.currency
        let taken = charge.status == .succeeded ? charge.amount.minorUnits : 0
        if charge.refunded > taken || charge.refundRecords > taken {
            verdict.find(
                4, [.charge(charge.id)],
                """
                Of charge \(charge.id), which took \(Amount(taken, currency)), \
                \(Amount(max(charge.refunded, charge.refundRecords), currency)) was given back: the difference is lost.
                """)
        } else if charge.refunded != charge.refundRecords {
            verdict.find(
                4, [.charge(charge.id)],
                """
                Charge \(charge.id) says that \(Amount(charge.refunded, currency)) of it was given back, but its refunds \
                add up to \(Amount(charge.refundRecords, currency)): one of the two is not what the customer got.
                """)
        }
    }

    private func checkSettled(_ charge: ChargeEntry, _ now: Timestamp, _ verdict: inout Verdict) {
        if charge.status == .pending {
            verdict.find(
                6, [.charge(charge.id)],
                """
                Charge \(charge.id) has been pending since \(charge.createdAt): whether the customer paid \
                \(charge.amount) is not known.
                """)
        }
        if let since = charge.refundPendingSince, isOld(since, at: now) {
            verdict.find(
                6, [.charge(charge.id)],
                """
                A refund of charge \(charge.id) has been pending since \(since): whether the customer has the money back \
                is not known.
                """)
        }
    }

    private func second(
        _ charge: ChargeEntry, _ order: OrderEntry, _ record: OrderEntry.Record, _ verdict: inout Verdict
    ) {
        countForOrders(charge, &verdict)
        guard let atStake = charge.status == .pending ? charge.amount : charge.kept else { return }
        verdict.find(
            4, [.order(order.id), .charge(charge.id), .charge(record.chargeID)],
            """
            Order \(order.id) (\(order.outcome.rawValue)) is paid by its charge \(record.chargeID), but charge \
            \(charge.id) of \(Self.name(charge.user)) names it too and \
            \(charge.status == .pending ? "may take" : "keeps") \(atStake): an order may have been paid twice.
            """)
    }

    private func unknown(_ charge: ChargeEntry, _ orderID: String, _ verdict: inout Verdict) {
        countForOrders(charge, &verdict)
        guard let atStake = charge.status == .pending ? charge.amount : charge.kept else { return }
        verdict.find(
            4, [.charge(charge.id), .order(orderID)],
            """
            Charge \(charge.id) of \(Self.name(charge.user)) \(charge.status == .pending ? "may take" : "keeps") \
            \(atStake) for order \(orderID), which Order does not know: the customer has paid for an order that is lost. \
            Order's store may be older than Payment's, as after a restore from a backup.
            """)
    }

    private func countForOrders(_ charge: ChargeEntry, _ verdict: inout Verdict) {
        guard charge.status == .succeeded else { return }
        verdict.money.add(charge.amount.currency) { flow in
            flow.captured += Int128(charge.amount.minorUnits)
            flow.refunded += Int128(charge.refunded)
        }
    }
}
