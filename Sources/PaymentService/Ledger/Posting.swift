import Money
import Resilience

/// Where an entry takes from or gives to.
enum LedgerAccount: Hashable, Sendable {
    case system(SystemAccount)
    /// By its number.
    case wallet(Int64)

    var number: Int64 {
        switch self {
        case .system(let account): account.number
        case .wallet(let number): number
        }
    }

    var system: SystemAccount? {
        if case .system(let account) = self { account } else { nil }
    }
}

/// Why money has moved. The raw value is stored with each entry.
enum PostingType: String, Sendable, CaseIterable {
    case charge, refund, opening, deposit, withdrawal, transfer
    /// Set aside in clearing for a provider; given back from there; taken from there by the provider.
    case hold, release, payout
}

/// A transaction of the ledger: one or more entries that stand or fall together.
///
/// Each entry debits one account and credits another with one amount, as in TigerBeetle, so whatever a posting is made of, its
/// debits equal its credits in every currency (INV-11). A movement with a fee is two entries.
struct Posting: Hashable, Sendable {
    struct Entry: Hashable, Sendable {
        let debit: LedgerAccount
        let credit: LedgerAccount
        /// Above zero.
        let amount: Money
    }

    /// What is posted, for example the id of the charge.
    let id: String
    let type: PostingType
    let entries: [Entry]
    let at: Timestamp

    init(_ id: String, _ type: PostingType, _ entries: [Entry], at: Timestamp) {
        self.id = id
        self.type = type
        self.entries = entries
        self.at = at
    }

    private init(
        _ id: String, _ type: PostingType, debit: LedgerAccount, credit: LedgerAccount, _ amount: Money, at: Timestamp
    ) {
        self.init(id, type, [Entry(debit: debit, credit: credit, amount: amount)], at: at)
    }

    /// A sale is paid: from the customer's wallet, or through the provider, who then owes us the money.
    static func charge(_ charge: Charge, at: Timestamp) -> Posting {
        Posting(
            charge.id, .charge, debit: payer(of: charge), credit: .system(.sales(charge.amount.currency)),
            charge.amount, at: at)
    }

    /// All or a part of a sale is given back, on the way it was paid.
    static func refund(_ refund: Refund, of charge: Charge, at: Timestamp) -> Posting {
        let currency = charge.amount.currency
        return Posting(
            refund.id, .refund, debit: .system(.sales(currency)), credit: payer(of: charge),
            Money(minorUnits: refund.amount, currency: currency), at: at)
    }

    /// Money comes into a wallet from outside. - Parameter type: `opening` or `deposit`.
    static func deposit(_ id: String, _ type: PostingType, into wallet: Wallet, _ amount: Money, at: Timestamp)
        -> Posting
    {
        Posting(
            id, type, debit: .system(.cashIn(amount.currency)), credit: .wallet(wallet.number), amount, at: at)
    }

    /// Money goes out of a wallet.
    static func withdrawal(_ id: String, from wallet: Wallet, _ amount: Money, at: Timestamp) -> Posting {
        Posting(
            id, .withdrawal, debit: .wallet(wallet.number), credit: .system(.cashIn(amount.currency)), amount, at: at)
    }

    /// Money goes from one wallet to another.
    static func transfer(
        _ id: String, from source: Wallet, to destination: Wallet, _ amount: Money, at: Timestamp
    ) -> Posting {
        Posting(
            id, .transfer, debit: .wallet(source.number), credit: .wallet(destination.number), amount, at: at)
    }

    private static func payer(of charge: Charge) -> LedgerAccount {
        charge.wallet.map { .wallet($0) } ?? .system(.settlement(.simulated, charge.amount.currency))
    }
}
