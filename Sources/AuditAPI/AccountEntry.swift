import StrictJSON

/// An account of Payment's ledger, beside the sums of its entries at the same moment.
public struct AccountEntry: AuditEntry {
    public static let service = AuditedService.payment
    public static let path = "/audit/accounts"

    /// The account's number: below zero the system's own, above zero the wallets.
    public let number: Int64
    /// Its name, for example `sales:USD`; of a wallet the id that its owner knows.
    public let account: String
    /// What it stands for, for example `wallet`.
    public let kind: String
    /// The currency's code as it is stored.
    public let currency: String
    /// Whether debits increase the balance; else credits do.
    public let growsByDebits: Bool
    /// Minor units, as they are kept.
    public let balance: Int128
    /// What its entries debit in all.
    public let debits: Int128
    /// What its entries credit in all.
    public let credits: Int128

    public var id: String { String(number) }

    /// An account.
    public init(
        number: Int64, account: String, kind: String, currency: String, growsByDebits: Bool, balance: Int128,
        debits: Int128, credits: Int128
    ) {
        self.number = number
        self.account = account
        self.kind = kind
        self.currency = currency
        self.growsByDebits = growsByDebits
        self.balance = balance
        self.debits = debits
        self.credits = credits
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.integer("number", number)
            json.string("accountId", account)
            json.string("kind", kind)
            json.string("currency", currency)
            json.bool("growsByDebits", growsByDebits)
            // Texts, since they may be more than most readers' numbers hold.
            json.string("balance", String(balance))
            json.string("debits", String(debits))
            json.string("credits", String(credits))
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let number = reader.wholeNumber("number")
        let account = reader.id("accountId")
        let kind = reader.id("kind")
        let currency = reader.id("currency")
        let growsByDebits = reader.bool("growsByDebits")
        let sums = ["balance", "debits", "credits"].compactMap { reader.id($0).flatMap { Int128($0) } }
        try reader.finish()
        guard let number, let account, let kind, let currency, let growsByDebits, sums.count == 3 else {
            throw ValidationFailure("#", "is not an account")
        }
        self.init(
            number: number, account: account, kind: kind, currency: currency, growsByDebits: growsByDebits,
            balance: sums[0], debits: sums[1], credits: sums[2])
    }
}
