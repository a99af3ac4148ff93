import Resilience
import StrictJSON

extension RecordText {
    package static func deadLetters(_ page: JSONNode, now: Timestamp) -> String {
        list(
            page, "deadLetters", ["PAYMENT", "TYPE", "GIVEN UP", "AMOUNT", "PROVIDER", "USER", "STATE", "BECAUSE"],
            right: [2, 3], none: "No payment that was given up is in this state."
        ) { letter in
            let payment = letter["payment"] ?? .null
            let beware = letter["isSaidToHaveMoved"]?.bool == true ? "said to have moved; " : ""
            return [
                payment.text("paymentId") ?? "", payment.text("type") ?? "", age(letter.text("diedAt"), now),
                amount(payment["amount"]) ?? "", payment.text("provider") ?? "", payment.text("userId") ?? "",
                letter.text("resolution") ?? "open", beware + (letter.text("reason") ?? ""),
            ]
        }
    }

    package static func deadLetter(_ letter: JSONNode, now: Timestamp) -> String {
        let payment = letter["payment"] ?? .null
        var lines = fields([
            ("payment", payment.text("paymentId")), ("type", payment.text("type")), ("user", payment.text("userId")),
            ("account", payment.text("sourceAccountId")), ("provider", payment.text("provider")),
            ("amount", amount(payment["amount"])), ("fee", amount(payment["fee"])),
            ("refund of", payment.text("refundOf")), ("made anew for", payment.text("retryOf")),
            ("made", payment.text("createdAt").map { "\($0), \(age($0, now)) ago" }),
            ("sent", payment.integer("attempts").map { "\($0) times" }),
            ("given up", letter.text("diedAt").map { "\($0), \(age($0, now)) ago" }),
            ("because", letter.text("reason")), ("state", letter.text("resolution") ?? "open"),
            ("made anew as", letter.text("retriedAs")),
            (
                "beware",
                letter["isSaidToHaveMoved"]?.bool == true
                    ? "the provider has said in a message that the money has moved" : nil
            ),
        ])
        if !actions(letter).isEmpty { lines += ["", "What operators did"] + timeline(actions(letter)) }
        return lines.joined(separator: "\n")
    }
}
