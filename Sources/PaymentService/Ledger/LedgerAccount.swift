import Money
import Resilience

/// What an account of the ledger stands for. The raw value is stored.
enum AccountKind: String, CaseIterable, Sendable {
    /// A customer's money, which we owe them.
    case wallet
    /// Money that has come in, or gone out, through deposits and withdrawals: what we hold for the wallets.
    case cashIn = "cash_in"
    /// Fees that we have earned.
    case fees
    /// What was sold and not refunded.
    case sales
    /// What a provider has collected for us, or given back, and owes us.
    case settlement
    /// Money on its way through a provider whose answer is not known yet.
    case clearing

    /// The side on which the account grows. What we hold or are owed grows by debits, what we owe or have earned by credits.
    var normalSide: Side {
        switch self {
        case .cashIn, .settlement, .clearing: .debit
        case .wallet, .fees, .sales: .credit
        }
    }

    /// The two sides of an entry.
    enum Side: String, Sendable { case debit, credit }
}

/// A provider of payments, as the ledger tells them apart. The raw value is stored, the number is for ever.
enum SettlementProvider: String, Sendable {
    case simulated
    case stripe
    case paypal

    fileprivate var number: Int64 {
        switch self {
        case .simulated: 0
        case .stripe: 1
        case .paypal: 2
        }
    }
}

/// An account of the system's own. Its id and number follow from what it is, so that it is found without looking.
struct SystemAccount: Hashable, Sendable {
    let kind: AccountKind
    let provider: SettlementProvider?
    let currency: Currency

    private init(_ kind: AccountKind, _ provider: SettlementProvider?, _ currency: Currency) {
        self.kind = kind
        self.provider = provider
        self.currency = currency
    }

    static func cashIn(_ currency: Currency) -> SystemAccount { SystemAccount(.cashIn, nil, currency) }
    static func fees(_ currency: Currency) -> SystemAccount { SystemAccount(.fees, nil, currency) }
    static func sales(_ currency: Currency) -> SystemAccount { SystemAccount(.sales, nil, currency) }
    static func settlement(_ provider: SettlementProvider, _ currency: Currency) -> SystemAccount {
        SystemAccount(.settlement, provider, currency)
    }
    static func clearing(_ provider: SettlementProvider, _ currency: Currency) -> SystemAccount {
        SystemAccount(.clearing, provider, currency)
    }

    /// For example `settlement:simulated:USD`.
    var id: String { [kind.rawValue, provider?.rawValue, currency.code].compactMap(\.self).joined(separator: ":") }

    /// Below zero, where no wallet is: kind, provider and the three letters of the currency, two digits each (A is 01).
    var number: Int64 {
        let letters = currency.code.utf8.reduce(Int64(0)) { $0 * 100 + Int64($1) - 64 }
        return -((kindNumber * 100 + (provider?.number ?? 0)) * 1_000_000 + letters)
    }

    private var kindNumber: Int64 {
        switch kind {
        case .wallet: preconditionFailure("a wallet is no account of the system's own")
        case .cashIn: 1
        case .fees: 2
        case .sales: 3
        case .settlement: 4
        case .clearing: 5
        }
    }
}

/// A customer's account in one currency.
struct Wallet: Hashable, Sendable {
    /// Its place in the ledger, above zero.
    let number: Int64
    /// Its name towards clients.
    let id: String
    /// Whose it is.
    let user: String
    /// The user in whose name it was opened, or else claimed; empty while it has only been used in nobody's name.
    let openedBy: String
    let currency: Currency
    /// Minor units. A refund may bring it above what `Money` holds.
    let balance: Int128
    /// How many entries have moved it: a reader who finds the same version finds the same balance.
    let version: Int64
    let createdAt: Timestamp

    /// Whether a request in this user's name may see and use it; empty is a request that names nobody. As with orders, what
    /// was opened in nobody's name is open to requests in nobody's name (INV-15).
    func isVisible(to user: String) -> Bool { user.isEmpty ? openedBy.isEmpty : user == self.user }

    /// Whether its user has opened or claimed it. One that somebody has opened for them is theirs to use, and does not pay for
    /// what they buy before they have.
    var isClaimed: Bool { openedBy == user }
}
