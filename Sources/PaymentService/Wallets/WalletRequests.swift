import Money
import MoneyJSON
import ServiceKit
import StrictJSON

/// A new account: `{"userId"?,"currency"?,"initialBalance"?}`.
struct OpenRequest: Hashable, Sendable {
    let user: String
    let currency: Currency
    /// Zero or more.
    let initialBalance: Money

    /// Reads a command. - Throws: `ValidationFailure`.
    ///
    /// - Parameter caller: the user of `X-User-ID`; empty without one.
    init(json: JSONNode, caller: String) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        user = reader.user(caller: caller)
        let currency = reader.currency()
        let balance = reader.money("initialBalance", in: 0...Int64.max, currency, required: false)
        try reader.finish()
        self.currency = balance?.currency ?? currency ?? .usd
        initialBalance = balance ?? .zero(self.currency)
    }

    var fields: [String?] { [user, currency.code, String(initialBalance.minorUnits)] }
}

/// Money into or out of a user's account: `{"amount","currency"?,"userId"?}`.
struct MovementRequest: Hashable, Sendable {
    let user: String
    let amount: Money

    /// Reads a command. - Throws: `ValidationFailure`.
    ///
    /// - Parameter caller: the user of `X-User-ID`; empty without one.
    init(json: JSONNode, caller: String) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        user = reader.user(caller: caller)
        let currency = reader.currency()
        let amount = reader.money("amount", in: 1...Int64.max, currency)
        try reader.finish()
        guard let amount else { throw ValidationFailure("#/amount", "is required") }
        self.amount = amount
    }

    var fields: [String?] { [user, String(amount.minorUnits), amount.currency.code] }
}

/// Money from one account to another: `{"sourceAccountId","destinationAccountId","amount","currency"?}`.
struct TransferRequest: Hashable, Sendable {
    let sourceID: String
    let destinationID: String
    let amount: Money

    /// Reads a command. - Throws: `ValidationFailure`.
    init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let sourceID = reader.string("sourceAccountId", length: 1...128)
        let destinationID = reader.string("destinationAccountId", length: 1...128)
        let currency = reader.currency()
        let amount = reader.money("amount", in: 1...Int64.max, currency)
        if let sourceID, sourceID == destinationID {
            reader.issue("destinationAccountId", "must be another account than the source")
        }
        try reader.finish()
        guard let sourceID, let destinationID, let amount else { throw ValidationFailure("#", "is not a transfer") }
        self.sourceID = sourceID
        self.destinationID = destinationID
        self.amount = amount
    }

    var fields: [String?] { [sourceID, destinationID, String(amount.minorUnits), amount.currency.code] }
}

extension ObjectReader {
    /// Whose account it is: the user of `X-User-ID`, or without one that of `userId`.
    mutating func user(caller: String) -> String {
        let named = string("userId", length: 1...128, required: false)
        if let named, !UserID.isValid(named) {
            issue("userId", "may have letters, digits and ._:@- in it")
        } else if let named, !caller.isEmpty, named != caller {
            issue("userId", "must be the user of X-User-ID, or be left out")
        } else if named == nil, caller.isEmpty, !has("userId") {
            issue("userId", "is required when X-User-ID names no user")
        }
        return caller.isEmpty ? named ?? "" : caller
    }

    /// The member `currency`, if there is one.
    mutating func currency() -> Currency? {
        guard let code = string("currency", length: 3...3, required: false) else { return nil }
        let currency = Currency(code: code)
        if currency == nil { issue("currency", "must be the code of a currency in ISO 4217, in upper case") }
        return currency
    }

    /// An amount: a decimal of the message's currency, or an object that names its own, which must then be the same.
    mutating func money(
        _ name: StaticString, in range: ClosedRange<Int64>, _ currency: Currency?, required: Bool = true
    ) -> Money? {
        let money = nested(name, required: required) { value throws(ValidationFailure) in
            try Money(json: value, in: range, default: currency ?? .usd)
        }
        if let money, let currency, money.currency != currency {
            issue("currency", "must be that of \(name), \(money.currency)")
        }
        return money
    }
}
