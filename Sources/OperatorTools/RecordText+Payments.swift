import Resilience
import StrictJSON

/// Payments through providers, for a person to read.
extension RecordText {
    package static func payments(_ page: JSONNode, now: Timestamp) -> String {
        list(
            page, "payments",
            ["PAYMENT", "TYPE", "STATUS", "AGE", "AMOUNT", "PROVIDER", "ASKED", "PHASE", "LAST", "USER"],
            right: [3, 4, 6], none: "No payment is in this state."
        ) { payment in
            [
                payment.text("paymentId") ?? "", payment.text("type") ?? "", payment.text("status") ?? "",
                age(payment.text("createdAt"), now), amount(payment["amount"]) ?? "", payment.text("provider") ?? "",
                payment.integer("attempts").map(String.init) ?? "", payment.text("phase") ?? "",
                payment.text("lastError") ?? "-", payment.text("userId") ?? "",
            ]
        }
    }

    package static func payment(_ payment: JSONNode, now: Timestamp) -> String {
        let events = payment.elements("events").map { event in
            let amount = amount(event["amount"]).map { " \($0)" } ?? ""
            let reason = event.text("reason").map { " (\($0))" } ?? ""
            return (event.text("at") ?? "", (event.text("type") ?? "") + amount + reason)
        }
        let lines =
            fields([
                ("payment", payment.text("paymentId")), ("type", payment.text("type")),
                ("user", payment.text("userId")), ("account", payment.text("sourceAccountId")),
                ("status", payment.text("status")), ("amount", amount(payment["amount"])),
                ("fee", amount(payment["fee"])), ("refunded", amount(payment["refunded"])),
                ("refund of", payment.text("refundOf")), ("made anew for", payment.text("retryOf")),
                ("provider", payment.text("provider")),
                ("made", payment.text("createdAt").map { "\($0), \(age($0, now)) ago" }),
                ("request", payment.text("requestId")), ("sent", payment.integer("attempts").map { "\($0) times" }),
                ("phase", payment.text("phase")),
                ("may be taken", payment.flag("mayBeTaken") ? "yes" : "no"), ("last answer", payment.text("lastError")),
                ("its words", payment.text("lastDetail")), ("declined", payment.text("declineCode")),
                ("asked next", payment.flag("isBeingAsked") ? "now" : payment.text("dueAt")),
            ]) + ["", "What happened"] + timeline(events, actions(payment))
        return lines.joined(separator: "\n")
    }
}
