import AuditAPI
import Foundation
import Resilience
import StrictJSON

/// What the services answer to operators, as text for a person. Pure: the same answer is the same text.
package enum RecordText {
    // MARK: - Lists

    package static func sagas(_ page: JSONNode, now: Timestamp) -> String {
        list(
            page, "sagas", ["ORDER", "STATE", "STEP", "AGE", "ROUNDS", "AT STAKE", "USER", "PARKED FOR"],
            right: [3, 4, 5], none: "No checkout is in this state."
        ) { saga in
            [
                saga.text("orderId") ?? "", saga.text("state") ?? "", saga.text("step") ?? "",
                age(saga.text("createdAt"), now), saga.integer("rounds").map(String.init) ?? "",
                amount(saga["atStake"]) ?? "-", saga.text("user") ?? "", saga.text("parkedFor") ?? "",
            ]
        }
    }

    package static func reservations(_ page: JSONNode, now: Timestamp) -> String {
        list(
            page, "reservations", ["RESERVATION", "STATUS", "AGE", "EXPIRES", "TOTAL", "GOODS"], right: [2, 4],
            none: "No reservation is in this state."
        ) { reservation in
            [
                reservation.text("reservationId") ?? "", reservation.text("status") ?? "",
                age(reservation.text("createdAt"), now), reservation.text("expiresAt") ?? "-",
                amount(reservation["total"]) ?? "-", goods(reservation),
            ]
        }
    }

    package static func charges(_ page: JSONNode, now: Timestamp) -> String {
        list(
            page, "charges", ["CHARGE", "STATUS", "AGE", "AMOUNT", "REFUNDED", "ASKED", "METHOD", "ORDER", "USER"],
            right: [2, 3, 4, 5], none: "No charge is in this state."
        ) { charge in
            [
                charge.text("chargeId") ?? "",
                (charge.text("status") ?? "") + (charge.flag("hasOpenRefund") ? ", refund open" : ""),
                age(charge.text("createdAt"), now), amount(charge["amount"]) ?? "", amount(charge["refunded"]) ?? "",
                charge.integer("askings").map(String.init) ?? "", charge.text("method") ?? "",
                charge.text("orderId") ?? "-", charge.text("user") ?? "",
            ]
        }
    }

    static func list(
        _ page: JSONNode, _ name: String, _ headings: [String], right: Set<Int>, none: String,
        _ row: (JSONNode) -> [String]
    ) -> String {
        let entries = page.elements(name)
        let more = page.text("nextCursor").map { "\nThere is more: --cursor \(Table.clean($0))" } ?? ""
        return (entries.isEmpty ? none : Table.text(headings, entries.map(row), right: right)) + more
    }

    // MARK: - One record

    /// A checkout with one line for whatever happened to it, in the order of time.
    package static func saga(_ saga: JSONNode, now: Timestamp) -> String {
        let hasEnded = ["completed", "failed"].contains(saga.text("state"))
        var lines = fields([
            ("order", saga.text("orderId")), ("user", saga.text("user")),
            ("state", state(saga)), ("waits for", hasEnded ? nil : saga.text("step")),
            ("made", saga.text("createdAt").map { "\($0), \(age($0, now)) ago" }),
            ("tried again", saga.text("dueAt")), ("goods", goods(saga)), ("total", amount(saga["total"])),
            ("at stake", amount(saga["atStake"])),
            (hasEnded ? "failed because" : "fails because", saga["failure"]?.text("detail")),
            ("reservation", saga.text("reservationId")), ("charge", saga.text("chargeId")),
            ("refund", saga.text("refundId")),
        ])
        let history = saga.elements("history").map { ($0.text("at") ?? "", $0.text("event") ?? "") }
        let attempts = saga.elements("attempts").map { attempt in
            let number = attempt.integer("attempt") ?? 0
            return (
                attempt.text("at") ?? "",
                "\(attempt.text("call") ?? ""), attempt \(number): \(attempt.text("answer") ?? "")"
            )
        }
        lines += ["", "What happened"]
        lines += timeline(history, attempts.map { ($0, "    " + $1) }, actions(saga))
        let count = saga.elements("attempts").last?.integer("sequence") ?? 0
        if count > attempts.count { lines.append("(\(count) attempts failed; the first and the last are shown)") }
        return lines.joined(separator: "\n")
    }

    package static func reservation(_ answer: JSONNode, now: Timestamp) -> String {
        let reservation = answer["reservation"] ?? .null
        var lines = fields([
            ("reservation", reservation.text("reservationId")), ("status", reservation.text("status")),
            ("made", reservation.text("createdAt").map { "\($0), \(age($0, now)) ago" }),
            ("expires", reservation.text("expiresAt")), ("total", amount(reservation["total"])),
            ("goods", goods(reservation)),
        ])
        if !actions(answer).isEmpty { lines += ["", "What operators did"] + timeline(actions(answer)) }
        return lines.joined(separator: "\n")
    }

    package static func charge(_ charge: JSONNode, now: Timestamp) -> String {
        let events = charge.elements("events").map { event in
            let amount = amount(event["amount"]).map { " \($0)" } ?? ""
            let code = event.text("declineCode").map { " (\($0))" } ?? ""
            return (event.text("at") ?? "", (event.text("type") ?? "") + amount + code)
        }
        let refunds = charge.elements("openRefunds").compactMap(\.string)
        let lines =
            fields([
                ("charge", charge.text("chargeId")), ("user", charge.text("user")),
                ("status", charge.text("status")), ("amount", amount(charge["amount"])),
                ("refunded", amount(charge["refunded"])), ("method", charge.text("method")),
                ("order", charge.text("orderId")), ("declined", charge.text("declineCode")),
                ("made", charge.text("createdAt").map { "\($0), \(age($0, now)) ago" }),
                ("asked again", charge.integer("askings").map { "\($0) times" }),
                ("asked next", charge.text("nextAskingAt")),
                ("open refunds", refunds.isEmpty ? nil : refunds.joined(separator: ", ")),
            ]) + ["", "What happened"] + timeline(events, actions(charge))
        return lines.joined(separator: "\n")
    }

    // MARK: - Plans

    /// What a dry run prints. - Parameter commit: the command that carries the plan out; nil while nobody has said why.
    package static func plan(_ plan: JSONNode, commit: String?) -> String {
        let calls = plan.elements("calls")
        var lines = fields([
            ("action", plan.text("action")), ("now", plan.text("from")), ("then", plan.text("to")),
            ("in short", plan.text("summary")),
        ])
        if !calls.isEmpty { lines += ["", "The calls, if each succeeds"] }
        for (number, call) in calls.enumerated() {
            let name = "\(call.text("service") ?? "") \(call.text("operation") ?? "")"
            lines.append("  \(number + 1). " + Table.clean("\(name) \(call.text("id") ?? "")"))
            lines.append("     " + Table.clean(call.text("effect") ?? ""))
        }
        if let commit {
            lines += ["", "Nothing was done. To do it:", "  \(Table.clean(commit))"]
        } else {
            lines += ["", "Nothing was done. To do it, say why: with --reason TEXT the command is printed here."]
        }
        return lines.joined(separator: "\n")
    }

    // MARK: - Parts

    private static func state(_ saga: JSONNode) -> String? {
        guard let state = saga.text("state") else { return nil }
        let by = saga.text("parkedBy").map { " by \($0)" } ?? ""
        return state + by + (saga.text("parkedFor").map { ": \($0)" } ?? "")
    }

    static func actions(_ record: JSONNode) -> [(String, String)] {
        record.elements("actions").map { action in
            let who = "\(action.text("operator") ?? "?"): \(action.text("reason") ?? "")"
            return (action.text("at") ?? "", "** \(action.text("action") ?? "") by \(who)")
        }
    }

    /// Several histories as one. What has the same time stays in the order in which the histories are given.
    static func timeline(_ histories: [(String, String)]...) -> [String] {
        histories.joined().enumerated().sorted { ($0.element.0, $0.offset) < ($1.element.0, $1.offset) }
            .map { Table.clean("  \($0.element.0)  \($0.element.1)") }
    }

    static func fields(_ fields: [(String, String?)]) -> [String] {
        fields.compactMap { name, value in
            guard let value, !value.isEmpty else { return nil }
            return name + String(repeating: " ", count: max(1, 16 - name.count)) + Table.clean(value)
        }
    }

    private static func goods(_ record: JSONNode) -> String {
        record.elements("lines").map { "\($0.integer("quantity") ?? 0) of item \($0.integer("itemId") ?? 0)" }
            .joined(separator: ", ")
    }

    /// `{"amount":2000,"currency":"USD"}` is `20.00 USD`.
    static func amount(_ money: JSONNode?) -> String? {
        guard let money, let minorUnits = money.integer("amount"), let currency = money.text("currency") else {
            return nil
        }
        return Amount.text(Int128(minorUnits), currency)
    }

    /// How long ago a time of the services is: `12s`, `4m`, `3h`, `2d`.
    static func age(_ time: String?, _ now: Timestamp) -> String {
        guard let time, let made = Timestamp(time) else { return "?" }
        let seconds = max(0, (now.milliseconds - made.milliseconds) / 1000)
        switch seconds {
        case ..<120: return "\(seconds)s"
        case ..<7200: return "\(seconds / 60)m"
        case ..<172_800: return "\(seconds / 3600)h"
        default: return "\(seconds / 86_400)d"
        }
    }
}

extension Timestamp {
    /// A time as the services write it (RFC 3339); nil for anything else.
    package init?(_ text: String) {
        guard let date = try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text) else { return nil }
        self.init(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded()))
    }
}
