import AuditAPI
import Resilience
import StockAPI
import StrictJSON

extension AuditReport {
    /// The report for a person: what was compared, the money, and each finding.
    public var text: String {
        var lines = [
            "Audit of \(startedAt), of what had not changed within \(Self.seconds(grace)) s",
            "",
            "orders        \(total(orders)): completed \(orders[.completed] ?? 0), failed \(orders[.failed] ?? 0), "
                + "pending \(orders[.pending] ?? 0); too young to judge \(youngOrders)",
            "reservations  \(total(reservations)): completed \(reservations[.completed] ?? 0), "
                + "canceled \(reservations[.canceled] ?? 0), reserved \(reservations[.reserved] ?? 0); "
                + "not of an order \(max(0, total(reservations) - orderReservations))",
            "charges       \(total(charges)): succeeded \(charges[.succeeded] ?? 0), failed \(charges[.failed] ?? 0), "
                + "canceled \(charges[.canceled] ?? 0), pending \(charges[.pending] ?? 0); "
                + "not of an order \(total(charges) - orderCharges); too young to judge \(youngCharges)",
            "items         \(items); moving too fast to compare what is reserved \(movingItems)",
            "payments      \(payments) through providers, their refunds included",
            "accounts      \(accounts) of the ledger, each compared with its entries",
        ]
        if let movements {
            lines.append(
                "movements     \(movements) in the providers' books, compared with what the ledger says they hold")
        }
        for (currency, flow) in money.byCurrency.sorted(by: { $0.key < $1.key }) {
            func amount(_ minorUnits: Int128) -> String { Amount.text(minorUnits, currency) }
            lines += [
                "",
                "\(amount(flow.sold)) completed orders",
                "\(amount(flow.captured)) charged for orders, \(amount(flow.refunded)) of it refunded "
                    + "(\(amount(flow.returned)) of completed orders, by clients of Payment)",
                "\(amount(flow.capturedDirectly)) charged by clients of Payment for no order, "
                    + "\(amount(flow.refundedDirectly)) of it refunded",
            ]
        }
        lines.append("")
        for finding in findings {
            lines.append("INV-\(finding.invariant)  \(finding.subjects.map(\.text).joined(separator: "  "))")
            lines.append("       \(finding.explanation)")
        }
        if findingCount > findings.count { lines.append("… and \(findingCount - findings.count) findings more.") }
        lines.append(isClean ? allIsWell : summary)
        return lines.joined(separator: "\n")
    }

    private var allIsWell: String {
        guard youngOrders + youngCharges > 0 else { return "Everything matches." }
        return """
            Everything that was judged matches. Too young to judge: orders \(youngOrders), charges \(youngCharges). Look again in \
            \(Self.seconds(grace)) s, or with --grace 0 when nothing is under way.
            """
    }

    private var summary: String {
        let parts = findingCounts.sorted { $0.key < $1.key }.map { "INV-\($0.key): \($0.value)" }
        return "\(findingCount) \(findingCount == 1 ? "finding" : "findings"): \(parts.joined(separator: ", "))."
    }

    private func total<Status>(_ counts: [Status: Int]) -> Int { counts.values.reduce(0, +) }

    static func seconds(_ duration: Duration) -> String {
        let milliseconds = duration.wholeMilliseconds
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)" : "\(duration.inSeconds)"
    }
}

extension Finding.Subject {
    fileprivate var text: String {
        switch self {
        case .order(let id): "order \(id)"
        case .reservation(let id): "reservation \(id)"
        case .charge(let id): "charge \(id)"
        case .payment(let id): "payment \(id)"
        case .item(let id): "item \(id)"
        case .currency(let code): code
        case .account(let id): "account \(id)"
        }
    }
}
