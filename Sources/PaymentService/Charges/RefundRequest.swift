import Money
import MoneyJSON
import ServiceKit
import StrictJSON

/// What a client asks to be given back.
struct RefundRequest: Hashable, Sendable {
    let chargeID: String
    /// Nil is all that is left.
    let amount: Money?
    /// Makes sure that the charge takes no money later, if it has taken none yet.
    let orCancel: Bool

    /// Reads a command. - Throws: `ValidationFailure`.
    init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let chargeID = reader.earlierID("chargeId")
        amount = reader.nested("amount", required: false) { value throws(ValidationFailure) in
            try Money(json: value, in: 1...Int64.max)
        }
        orCancel = reader.bool("orCancel") ?? false
        try reader.finish()
        guard let chargeID else { throw ValidationFailure("#/chargeId", "is required") }
        self.chargeID = chargeID
    }

    var fields: [String?] {
        [chargeID, amount.map { String($0.minorUnits) }, amount?.currency.code, orCancel ? "orCancel" : nil]
    }
}
