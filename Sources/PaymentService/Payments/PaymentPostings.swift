import Money
import ProviderAPI
import Resilience

extension Provider {
    /// The provider as the ledger names it.
    var settlement: SettlementProvider {
        switch self {
        case .stripe: .stripe
        case .paypal: .paypal
        }
    }
}

/// How the money of a payment moves in the ledger. What goes out is held in clearing until the provider has taken it, so that it
/// cannot be spent twice; what comes in is entered when the provider has taken it.
extension Payment {
    private var currency: Currency { amount.currency }
    private var clearing: LedgerAccount { .system(.clearing(provider.settlement, currency)) }
    private var settlement: LedgerAccount { .system(.settlement(provider.settlement, currency)) }
    private var fees: LedgerAccount { .system(.fees(currency)) }

    /// What is put into clearing before the provider is asked, in minor units. Whoever makes the payment has seen to it that the
    /// sum fits.
    var hold: Int64 {
        switch (direction, kind) {
        case (.inwards, _): 0
        // The wallet gives what it got of the deposit, and the fees the rest.
        case (.outwards, .refund): amount.minorUnits
        case (.outwards, .deposit), (.outwards, .withdraw), (.outwards, .externalPayment): amount.minorUnits + fee
        }
    }

    /// What the wallet gives before the provider is asked, in minor units.
    var holdFromWallet: Int64 {
        direction == .outwards && kind == .refund ? amount.minorUnits - fee : hold
    }

    /// Sets the money aside.
    func holdPosting(at now: Timestamp) -> Posting {
        Posting(id, .hold, holdEntries, at: now)
    }

    /// Gives back what was set aside.
    func releasePosting(at now: Timestamp) -> Posting {
        Posting(
            id, .release, holdEntries.map { Posting.Entry(debit: $0.credit, credit: $0.debit, amount: $0.amount) },
            at: now)
    }

    private var holdEntries: [Posting.Entry] {
        entries([
            (.wallet(wallet), clearing, holdFromWallet), (fees, clearing, hold - holdFromWallet),
        ])
    }

    /// The provider has moved the money.
    func settledPosting(at now: Timestamp) -> Posting {
        let minorUnits = amount.minorUnits
        switch (direction, kind) {
        case (.inwards, .refund):
            return Posting(
                id, .refund, entries([(settlement, .wallet(wallet), minorUnits), (fees, .wallet(wallet), fee)]), at: now
            )
        case (.inwards, .deposit), (.inwards, .withdraw), (.inwards, .externalPayment):
            return Posting(
                id, .deposit, entries([(settlement, .wallet(wallet), minorUnits - fee), (settlement, fees, fee)]),
                at: now)
        case (.outwards, .refund):
            return Posting(id, .refund, entries([(clearing, settlement, minorUnits)]), at: now)
        case (.outwards, .deposit), (.outwards, .withdraw), (.outwards, .externalPayment):
            return Posting(id, .payout, entries([(clearing, settlement, minorUnits), (clearing, fees, fee)]), at: now)
        }
    }

    /// There is no entry of nothing.
    private func entries(_ parts: [(debit: LedgerAccount, credit: LedgerAccount, amount: Int64)]) -> [Posting.Entry] {
        parts.filter { $0.amount > 0 }.map {
            Posting.Entry(
                debit: $0.debit, credit: $0.credit, amount: Money(minorUnits: $0.amount, currency: currency))
        }
    }
}
