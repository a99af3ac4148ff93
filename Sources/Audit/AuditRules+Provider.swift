import AuditAPI
import Resilience

/// A provider's account in one currency.
public struct Settlement: Hashable, Comparable, Sendable {
    /// The provider's name, for example `stripe`.
    public let provider: String
    /// The currency's code.
    public let currency: String

    /// An account.
    public init(_ provider: String, _ currency: String) {
        self.provider = provider
        self.currency = currency
    }

    /// What an account of the ledger stands for, if it is what a provider holds for us. The simulated provider of test methods has no
    /// books to compare with.
    init?(_ account: AccountEntry) {
        let parts = account.account.split(separator: ":")
        guard account.kind == "settlement", parts.count == 3, parts[1] != "simulated" else { return nil }
        self.init(String(parts[1]), account.currency)
    }

    /// The account's name in the ledger.
    var account: String { "settlement:\(provider):\(currency)" }

    public static func < (left: Settlement, right: Settlement) -> Bool { left.account < right.account }
}

/// What the providers' own books add up to.
public struct ProviderSums: Equatable, Sendable {
    /// Movements of one provider in one currency.
    struct Sums: Equatable, Sendable {
        /// Of movements that the ledger must know by now.
        var old: Int128 = 0
        /// Of those that it may know: what came in,
        var youngIn: Int128 = 0
        /// and what went out, below zero.
        var youngOut: Int128 = 0
    }

    private(set) var bySettlement: [Settlement: Sums] = [:]

    /// Nothing.
    public init() {}

    mutating func add(_ movement: ProviderMovementEntry, isOld: Bool) {
        let amount = Int128(movement.amount.minorUnits)
        let key = Settlement(movement.provider, movement.amount.currency)
        if isOld {
            bySettlement[key, default: Sums()].old += amount
        } else if amount > 0 {
            bySettlement[key, default: Sums()].youngIn += amount
        } else {
            bySettlement[key, default: Sums()].youngOut += amount
        }
    }
}

extension AuditRules {
    /// Whether the ledger has entered what the providers say they have moved, and nothing else (INV-11).
    ///
    /// The ledger must have been read before the books: a provider moves money first, so whatever the ledger knew then stands in the
    /// books now. What moved within the grace the ledger may know or not; a difference that this explains is none.
    public func judge(ledger: [Settlement: Int128], books: ProviderSums) -> [Finding] {
        let settlements = Set(ledger.keys).union(books.bySettlement.keys).sorted()
        return settlements.compactMap { settlement in
            let known = ledger[settlement] ?? 0
            let sums = books.bySettlement[settlement] ?? ProviderSums.Sums()
            let (least, most) = (sums.old + sums.youngOut, sums.old + sums.youngIn)
            guard known < least || known > most else { return nil }
            func text(_ minorUnits: Int128) -> String { Amount.text(minorUnits, settlement.currency) }
            let (said, meaning) =
                known < least
                ? (
                    least,
                    "\(text(least - known)) that the provider took is in nobody's account, or was paid out twice here"
                )
                : (
                    most,
                    "\(text(known - most)) is in accounts here that the provider never took, or paid out unbeknown to us"
                )
            return Finding(
                11, [.account(settlement.account)],
                """
                The ledger says that \(settlement.provider) holds \(text(known)) for us, and its own books say \
                \(text(said)): \(meaning).
                """)
        }
    }
}
