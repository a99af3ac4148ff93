import AuditAPI
import Resilience
import StockAPI

@testable import Audit

/// Records of a checkout of two of item 1, for 20.00 USD, and changes to them. A test states what is odd; the rest is well.
enum Records {
    static let orderID = "01a1fc67-dc5f-7229-9f7b-3f1897ccbcb2"
    static let reservationID = "01a1fc67-dc5f-73d2-b01a-3d9bb1be25bf"
    static let chargeID = "01a1fc67-dc5f-7554-912e-482e7058eb49"
    static let refundID = "01a1fc67-dc5f-7666-912e-482e7058eb49"
    static let price = Amount(2000, "USD")
    static let lines = [LineRequest(itemID: 1, quantity: 2)]

    /// When everything of these records was made.
    static let made = Timestamp(milliseconds: 1_795_000_000_000)
    /// Long after that.
    static let now = made.advanced(by: .seconds(3600))
    static let rules = AuditRules(grace: .seconds(60), keyLife: .seconds(86_400))

    static func order(
        _ id: String = orderID, _ status: OrderEntry.Status = .completed, column: OrderEntry.Status? = nil,
        step: String? = nil, columnTotal: Amount?? = nil, user: String = "ada",
        key: String = "000102030405060708090a0b0c0d0e0f", command: String = "f00102030405060708090a0b0c0d0e0f",
        reservationID: String = reservationID, chargeID: String = chargeID, createdAt: Timestamp = made,
        updatedAt: Timestamp? = nil, isReadable: Bool = true
    ) -> OrderEntry {
        let total = status == .completed ? price : nil
        let record = OrderEntry.Record(
            step: step ?? (status == .pending ? "charging" : status.rawValue), status: status,
            reservationID: reservationID, chargeID: chargeID, refundID: refundID, lines: lines, total: total)
        return OrderEntry(
            id: id, user: user, status: column ?? status, total: columnTotal ?? total, key: key,
            command: isReadable ? command : nil, record: isReadable ? record : nil, createdAt: createdAt,
            updatedAt: updatedAt ?? createdAt)
    }

    static func reservation(
        _ id: String = reservationID, _ status: Reservation.Status = .completed, lines: [LineRequest]? = lines,
        total: Amount? = price, expiresAt: Timestamp? = now.advanced(by: .seconds(900))
    ) -> ReservationEntry {
        ReservationEntry(
            id: id, status: status, lines: lines, total: total, createdAt: made, expiresAt: expiresAt)
    }

    static func charge(
        _ id: String = chargeID, _ status: ChargeEntry.Status = .succeeded, of orderID: String? = orderID,
        amount: Amount = price, refunded: Int64 = 0, refundRecords: Int64? = nil, byOrder: Int64 = 0,
        refundPendingSince: Timestamp? = nil, isKeyedByID: Bool = true, user: String = "ada",
        refundedInLedger: Int64? = nil, createdAt: Timestamp = made
    ) -> ChargeEntry {
        ChargeEntry(
            id: id, user: user, orderID: orderID, status: status, amount: amount, refunded: refunded,
            refundRecords: refundRecords ?? refunded, refundedUnderKeys: byOrder,
            refundPendingSince: refundPendingSince, isKeyedByID: isKeyedByID, isInLedger: refundedInLedger != nil,
            refundedInLedger: refundedInLedger ?? 0, createdAt: createdAt)
    }

    static func item(
        _ itemID: Int64 = 1, received: Int64 = 100, available: Int64 = 98, reserved: Int64 = 0, completed: Int64 = 2
    ) -> ItemEntry {
        ItemEntry(
            itemID: itemID, received: received, available: available, reserved: reserved, completed: completed)
    }

    static func account(
        _ account: String, kind: String = "sales", number: Int64 = -1, balance: Int128, debits: Int128, credits: Int128
    ) -> AccountEntry {
        AccountEntry(
            number: number, account: account, kind: kind, currency: "USD",
            growsByDebits: ["cash_in", "settlement"].contains(kind),
            balance: balance, debits: debits, credits: credits)
    }

    /// What is said of an order with these records.
    static func judge(
        _ order: OrderEntry, _ reservation: ReservationEntry? = reservation(), _ charge: ChargeEntry? = charge(),
        at now: Timestamp = now
    ) -> Verdict {
        rules.judge(OrderCase(order: order, reservation: reservation, charge: charge, readAt: now))
    }
}

extension Verdict {
    /// The only finding there is; nil when there is another number of them.
    var only: Finding? { findings.count == 1 ? findings.first : nil }
}
