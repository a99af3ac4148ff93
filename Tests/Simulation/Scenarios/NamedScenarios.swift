extension Scenario {
    private static func buy(_ item: Int64 = 1, _ quantity: Int64 = 1, with method: LedgerProvider.Method = .card)
        -> ClientPlan.Purchase
    {
        ClientPlan.Purchase(lines: [.init(item: item, quantity: quantity)], method: method.rawValue)
    }

    private static func one(_ name: String, _ purchase: ClientPlan.Purchase, ends: Set<Int>) -> Scenario {
        let client = ClientPlan(name: "ann", key: "a", purchase: purchase, maximumRequests: 20)
        return Scenario(name: name, clients: [client], calm: [ends], crashed: [ends])
    }

    /// The checkouts whose every crash point is executed: each takes another way through the saga. They come to rest by
    /// themselves when nothing goes wrong.
    static let named: [Scenario] = {
        var scenarios = [
            one("success", buy(), ends: [200]),
            one("several lines", several, ends: [200]).selling([(1, 1000, 5), (2, 250, 5), (3, 99, 5)]),
            one("declined", buy(with: .broke), ends: [402]),
            one("declined by a remote provider", buy(with: .remoteDeclined), ends: [402]),
            one("out of stock", buy(1, 4), ends: [409]).selling([(1, 1000, 3)]),
            one("second line out of stock", several, ends: [409]).selling([(1, 1000, 5), (2, 250, 1), (3, 99, 5)]),
            one("no such item", buy(7), ends: [404]),
            one("a remote provider", buy(with: .remote), ends: [200]),
            one("provider's answer is lost once", buy(with: .remoteUnknownOnce), ends: [200]),
            one("provider unavailable once", buy(with: .remoteUnavailableOnce), ends: [200]),
        ]
        scenarios.append(unavailable)
        scenarios.append(contentsOf: [
            expired(.remoteSlow, "expires"), expired(.remoteRefundUnavailableOnce, "expires, first refund fails"),
        ])
        scenarios.append(contentsOf: [sameKey, lastItem, batch])
        scenarios.append(contentsOf: [
            one("from a wallet", buyFromWallet, ends: [200]).with(wallets: [("ann", 1500)]),
            one("too little in the wallet", buyFromWallet, ends: [402]).with(wallets: [("ann", 999), ("bob", 5000)]),
            oneWallet, expiredFromWallet,
        ])
        return scenarios.flatMap { scenario in [true, false].map { scenario.with(isBatched: $0) } } + throughProviders
    }()

    /// The main ways once more, each with one fault of one message: here single processes die.
    static let faulty: [Scenario] = {
        let ways: [(Scenario, [String])] = [
            (one("success", buy(), ends: [200]), ["stock /reserve", "payment /charge", "stock /complete"]),
            (one("declined", buy(with: .broke), ends: [402]), ["payment /charge", "stock /release"]),
            (
                one("provider unavailable once", buy(with: .remoteUnavailableOnce), ends: [200, 503]),
                ["payment /charge"]
            ),
            (expired(.remoteSlow, "expires"), ["stock /complete", "stock /release", "payment /refund"]),
        ]
        return ways.flatMap { scenario, calls in
            calls.flatMap { call in
                MessageFault.allCases.map { fault in
                    var copy = scenario.with(isBatched: false)
                    let message = "order1>\(call) #1"
                    copy.name += ", \(message) is \(fault.rawValue)"
                    copy.scripted[message] = fault
                    // Else the next attempt would succeed, and what follows upon the refusal would not be seen.
                    if fault == .turnedAway || fault == .turnedAwayStraggler { copy.deployment.maximumAttempts = 1 }
                    copy.hasPairs = false
                    copy.calm = []
                    return copy
                }
            }
        }
    }()

    private func with(isBatched: Bool) -> Scenario {
        var copy = self
        copy.deployment.isBatched = isBatched
        // Recovery without long waits has fewer points at which to die a second time, and none is lost by it.
        copy.deployment.timeDown = 300...300
        for index in copy.clients.indices { copy.clients[index].pause = .seconds(3) }
        copy.name += isBatched ? ", batched" : ", single calls"
        return copy
    }

    private static let several = ClientPlan.Purchase(
        lines: [.init(item: 2, quantity: 2), .init(item: 1, quantity: 1), .init(item: 3, quantity: 1)], method: "card")

    private static var unavailable: Scenario {
        var scenario = one("provider unavailable", buy(with: .remoteUnavailable), ends: [200, 503])
        scenario.clients[0].maximumRequests = 1
        scenario.deployment.maximumAttempts = 2
        scenario.crashed = []
        return scenario
    }

    /// The reservation runs out between the charge and the complete: complete is refused, and the money is given back.
    private static func expired(_ method: LedgerProvider.Method, _ name: String) -> Scenario {
        var scenario = one("reservation \(name)", buy(with: method), ends: [503])
        scenario.clients[0].maximumRequests = 1
        // The shortest there is; the charge takes longer.
        scenario.deployment.reservationTimeToLive = .seconds(1)
        scenario.deployment.sweep(every: .milliseconds(100))
        scenario.crashed = []
        return scenario
    }

    private static let buyFromWallet = ClientPlan.Purchase(lines: [.init(item: 1, quantity: 1)], method: "wallet")

    /// Two orders of one user, and money for one of them.
    private static var oneWallet: Scenario {
        let first = ClientPlan(name: "ann", key: "a", purchase: buyFromWallet, maximumRequests: 20)
        var second = ClientPlan(name: "ann's other order", key: "b", purchase: buyFromWallet, maximumRequests: 20)
        second.start = .milliseconds(1)
        let ends: [Set<Int>] = [[200, 402], [200, 402]]
        return Scenario(name: "two race for a wallet", clients: [first, second], calm: ends, crashed: ends)
            .with(wallets: [("ann", 1999)])
    }

    /// The messages take so long that the reservation runs out before the complete: the wallet gets its money back.
    private static var expiredFromWallet: Scenario {
        var scenario = one("reservation expires, paid from a wallet", buyFromWallet, ends: [503])
        scenario.clients[0].maximumRequests = 1
        scenario.deployment.latency = 600...600
        scenario.deployment.reservationTimeToLive = .seconds(1)
        scenario.deployment.sweep(every: .milliseconds(100))
        scenario.crashed = []
        return scenario.with(wallets: [("ann", 1000)])
    }

    private func with(wallets: [(String, Int64)]) -> Scenario {
        var scenario = self
        scenario.deployment.wallets = wallets.map { Deployment.Wallet(user: $0.0, balance: $0.1) }
        return scenario
    }

    private static var sameKey: Scenario {
        let first = ClientPlan(name: "ann", key: "a", purchase: buy(), maximumRequests: 20)
        var second = first
        second.name = "ann's other window"
        second.start = .milliseconds(3)
        return Scenario(
            name: "two with one key", clients: [first, second], calm: [[200], [200]], crashed: [[200], [200]])
    }

    private static var lastItem: Scenario {
        let first = ClientPlan(name: "ann", key: "a", purchase: buy(), maximumRequests: 20)
        var second = ClientPlan(name: "bob", user: "bob", key: "a", purchase: buy(), maximumRequests: 20)
        second.start = .milliseconds(1)
        return Scenario(
            name: "two race for the last one", clients: [first, second], calm: [[200, 409], [200, 409]],
            crashed: [[200, 409], [200, 409]]
        ).selling([(1, 1000, 1)])
    }

    private static var batch: Scenario {
        let plans = (1...3).map { number in
            ClientPlan(
                name: "client \(number)", user: "user\(number)", key: "k",
                purchase: buy(1, Int64(number), with: number == 2 ? .broke : .card), maximumRequests: 20)
        }
        let ends: [Set<Int>] = [[200], [402], [200]]
        var scenario = Scenario(name: "three at once", clients: plans, calm: ends, crashed: ends)
        scenario.deployment.latency = 5...5
        return scenario
    }

    private func selling(_ items: [(Int64, Int64, Int64)]) -> Scenario {
        var scenario = self
        scenario.deployment.items = items.map { Deployment.Item(id: $0.0, price: $0.1, quantity: $0.2) }
        return scenario
    }
}
