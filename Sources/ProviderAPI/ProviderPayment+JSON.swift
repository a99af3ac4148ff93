import Money
import MoneyJSON
import StrictJSON

/// What may stand in the messages, for both sides of the wire and the schemas.
public enum ProviderLimits {
    /// Minor units of a payment or a refund.
    public static let amounts: ClosedRange<Int64> = 1...Int64.max
    /// Characters of a token.
    public static let token = 1...64
    /// Characters of a provider's own id.
    static let id = 1...128
    /// Characters of a decline code.
    static let declineCode = 1...64
}

extension ObjectReader {
    /// A reference: letters, digits, dashes, underscores.
    mutating func reference(_ name: StaticString) -> String? {
        guard let text = string(name, length: 1...128) else { return nil }
        guard ProviderReference.isValid(text) else {
            issue(name, "must be of letters, digits, dashes and underscores")
            return nil
        }
        return text
    }

    /// An amount of money with its currency beside it. A bare decimal is not for machines.
    mutating func amount(_ name: StaticString, in range: ClosedRange<Int64>) -> Money? {
        nested(name) { value throws(ValidationFailure) in
            guard value.isObject else {
                throw ValidationFailure("#", "must be an object with amount and currency")
            }
            return try Money(json: value, in: range)
        }
    }

    /// One of the words of an enumeration.
    mutating func word<Word: RawRepresentable & CaseIterable>(_ name: StaticString, _: Word.Type) -> Word?
    where Word.RawValue == String {
        guard let text = string(name, length: 1...64) else { return nil }
        guard let word = Word(rawValue: text) else {
            issue(name, "must be \(Word.allCases.map(\.rawValue).joined(separator: " or "))")
            return nil
        }
        return word
    }
}

extension ProviderCommand {
    /// The command as it is sent.
    public func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("reference", reference)
                json.string("kind", kind.rawValue)
                json.money("amount", amount)
                if let token { json.string("token", token) }
                json.bool("capture", true)
            }
        }
    }

    /// Reads a command. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let reference = reader.reference("reference")
        let kind = reader.word("kind", Kind.self)
        let amount = reader.amount("amount", in: ProviderLimits.amounts)
        let token = reader.string("token", length: ProviderLimits.token, required: false)
        if reader.bool("capture") == false {
            reader.issue("capture", "must be true: money that is only set aside is not supported")
        }
        try reader.finish()
        guard let reference, let kind, let amount else { throw ValidationFailure("#", "is not a payment") }
        self.init(reference: reference, kind: kind, amount: amount, token: token)
    }
}

extension ProviderPayment {
    /// Writes the payment.
    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("id", id)
            json.string("reference", command.reference)
            json.string("kind", command.kind.rawValue)
            json.string("status", status.rawValue)
            json.money("amount", command.amount)
            json.money("refunded", refunded)
            if let declineCode { json.string("declineCode", declineCode) }
        }
    }

    /// The payment as it is answered.
    public func json() -> [UInt8] { JSONWriter.bytes { write(to: &$0) } }

    /// What is answered for a reference under which nothing was taken and nothing ever will be.
    public static func canceledJSON(_ reference: String) -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("reference", reference)
                json.string("status", canceledStatus)
            }
        }
    }

    /// Reads a payment; members that this version does not know are left alone. The token is a secret between the caller and
    /// the provider, and is not told again. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let id = reader.string("id", length: ProviderLimits.id)
        let reference = reader.reference("reference")
        let kind = reader.word("kind", ProviderCommand.Kind.self)
        let status = reader.word("status", Status.self)
        let amount = reader.amount("amount", in: ProviderLimits.amounts)
        let refunded = reader.amount("refunded", in: 0...Int64.max)
        let declineCode = reader.string("declineCode", length: ProviderLimits.declineCode, required: false)
        guard let id, let reference, let kind, let status, let amount, let refunded,
            refunded.currency == amount.currency, refunded.minorUnits <= amount.minorUnits
        else { throw ValidationFailure("#", "is not a payment") }
        self.init(
            id: id, command: ProviderCommand(reference: reference, kind: kind, amount: amount), status: status,
            refunded: refunded, declineCode: declineCode)
    }
}

extension ProviderRefundCommand {
    /// The command as it is sent.
    public func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("reference", reference)
                json.string("paymentReference", paymentReference)
                json.money("amount", amount)
            }
        }
    }

    /// Reads a command. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let command = Self.read(&reader)
        try reader.finish()
        guard let command else { throw ValidationFailure("#", "is not a refund") }
        self = command
    }

    fileprivate static func read(_ reader: inout ObjectReader) -> ProviderRefundCommand? {
        let reference = reader.reference("reference")
        let paymentReference = reader.reference("paymentReference")
        let amount = reader.amount("amount", in: ProviderLimits.amounts)
        guard let reference, let paymentReference, let amount else { return nil }
        return ProviderRefundCommand(reference: reference, paymentReference: paymentReference, amount: amount)
    }
}

extension ProviderRefund {
    /// The one status that a refund has: it is made or refused at once.
    static let status = "succeeded"

    /// Writes the refund.
    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.string("id", id)
            json.string("reference", command.reference)
            json.string("paymentReference", command.paymentReference)
            json.string("status", Self.status)
            json.money("amount", command.amount)
        }
    }

    /// The refund as it is answered.
    public func json() -> [UInt8] { JSONWriter.bytes { write(to: &$0) } }

    /// Reads a refund; members that this version does not know are left alone. - Throws: `ValidationFailure`.
    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let id = reader.string("id", length: ProviderLimits.id)
        let status = reader.string("status", length: 1...64)
        guard let command = ProviderRefundCommand.read(&reader), let id, status == Self.status else {
            throw ValidationFailure("#", "is not a refund")
        }
        self.init(id: id, command: command)
    }
}
