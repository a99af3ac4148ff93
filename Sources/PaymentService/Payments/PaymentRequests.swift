import Money
import MoneyJSON
import ProviderAPI
import Resilience
import ServiceKit
import StrictJSON

/// A payment as a client asks for it, whichever route it takes.
struct PaymentRequest: Hashable, Sendable {
    /// Which wallet it is.
    enum Source: Hashable, Sendable {
        case account(String)
        /// The user's in the currency of the amount.
        case user(String)
    }

    let kind: Payment.Kind
    let source: Source
    let amount: Money
    let provider: Provider
    let token: String?

    /// Reads `{"type","sourceAccountId","amount","currency"?,"provider","token"?}`. - Throws: `ValidationFailure`.
    init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let kind = reader.word("type", of: Payment.Kind.requestable)
        let account = reader.string("sourceAccountId", length: 1...128)
        let currency = reader.currency()
        let amount = reader.money("amount", in: 1...Int64.max, currency)
        let provider = reader.word("provider", of: Provider.allCases)
        token = reader.string("token", length: ProviderLimits.token, required: false)
        try reader.finish()
        guard let kind, let account, let amount, let provider else { throw ValidationFailure("#", "is not a payment") }
        self.kind = kind
        source = .account(account)
        self.amount = amount
        self.provider = provider
    }

    /// Reads `{"amount","currency"?,"userId"?,"provider"?,"token"?}`: a deposit or a withdrawal of a user's.
    ///
    /// - Throws: `ValidationFailure`.
    /// - Parameter caller: the user of `X-User-ID`; empty without one.
    init(_ kind: Payment.Kind, json: JSONNode, caller: String) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let user = reader.user(caller: caller)
        let currency = reader.currency()
        let amount = reader.money("amount", in: 1...Int64.max, currency)
        let provider = reader.has("provider") ? reader.word("provider", of: Provider.allCases) : .stripe
        token = reader.string("token", length: ProviderLimits.token, required: false)
        try reader.finish()
        guard let amount, let provider else { throw ValidationFailure("#", "is not a payment") }
        self.kind = kind
        source = .user(user)
        self.amount = amount
        self.provider = provider
    }

    var fields: [String?] {
        let place =
            switch source {
            case .account(let id): "account \(id)"
            case .user(let user): "user \(user)"
            }
        return [
            kind.rawValue, place, String(amount.minorUnits), amount.currency.code, provider.rawValue, token,
        ]
    }
}

/// All or a part of a payment, back: `{"amount"?,"currency"?}`.
struct PaymentRefundRequest: Hashable, Sendable {
    /// Nil is all that is left.
    let amount: Money?

    /// Reads a command. - Throws: `ValidationFailure`.
    ///
    /// - Parameter currency: the payment's, in which a bare decimal is meant.
    init(json: JSONNode, _ currency: Currency) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let named = reader.currency()
        let amount = reader.money("amount", in: 1...Int64.max, named ?? currency, required: false)
        if (amount?.currency ?? named ?? currency) != currency {
            reader.issue(amount == nil ? "currency" : "amount", "must be in the currency of the payment, \(currency)")
        }
        try reader.finish()
        self.amount = amount
    }
}

extension ObjectReader {
    /// One of a few words.
    fileprivate mutating func word<Word: RawRepresentable>(_ name: StaticString, of words: [Word]) -> Word?
    where Word.RawValue == String {
        guard let text = string(name, length: 1...64) else { return nil }
        let word = words.first { $0.rawValue == text }
        if word == nil { issue(name, "must be one of \(words.map(\.rawValue).joined(separator: ", "))") }
        return word
    }
}
