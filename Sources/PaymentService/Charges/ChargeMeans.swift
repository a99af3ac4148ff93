import Money

/// How a charge is paid. Chosen when the charge is made, and stored with it.
enum ChargeMeans {
    /// From a wallet, in the transaction of the charge; no provider is asked.
    case wallet(Wallet)
    /// The client asks for its wallet and has none in this currency.
    case noWallet
    case provider(method: String)

    /// The user's wallet in the currency if they have one, unless the client names another method. One that somebody else has
    /// opened for them pays only when it is asked for, which claims it: nobody's request decides how a user pays. A request
    /// that names nobody has no wallet, and costs no look.
    init(for request: ChargeRequest, user: String, _ ledger: Ledger) throws {
        if let method = request.method, method != ChargeRequest.walletMethod {
            self = .provider(method: method)
        } else if !user.isEmpty, let wallet = try ledger.wallet(of: user, request.amount.currency),
            wallet.isClaimed || request.method != nil
        {
            try ledger.claim(wallet, for: user)
            self = .wallet(wallet)
        } else {
            self = request.method == nil ? .provider(method: ChargeRequest.defaultMethod) : .noWallet
        }
    }

    /// What the charge says of it.
    var method: String {
        switch self {
        case .wallet, .noWallet: ChargeRequest.walletMethod
        case .provider(let method): method
        }
    }

    /// The wallet's number.
    var wallet: Int64? {
        if case .wallet(let wallet) = self { wallet.number } else { nil }
    }

    /// The answer to a charge, if it needs no call that can be lost.
    func immediateAnswer(to charge: Charge, _ provider: any CardProvider) -> CardAnswer? {
        switch self {
        case .wallet(let wallet):
            wallet.balance >= charge.amount.minorUnits ? .approved : .declined(.insufficientFunds)
        case .noWallet: .declined(.methodNotSupported)
        case .provider: provider.immediateAnswer(to: charge.cardCharge)
        }
    }
}
