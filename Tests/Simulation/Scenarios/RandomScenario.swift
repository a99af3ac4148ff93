import SeededRandom

extension Scenario {
    /// A scenario made of a seed. Each seed has its own mixture of customers and faults: with a little of everything in every
    /// run, the rarer combinations would never come.
    static func random(seed: UInt64) -> Scenario {
        var numbers = Chance(seed: seed).generator("scenario")
        func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &numbers) < share }
        func some<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &numbers)] }

        var scenario = Scenario(name: "seed \(seed)", clients: [])
        scenario.deployment.isBatched = chance(0.5)
        if Self.hasSeveralOrchestrators, chance(0.5) { scenario.deployment.orchestrators = 2 }
        scenario.deployment.items = (1...Int64.random(in: 1...3, using: &numbers)).map { id in
            Deployment.Item(
                id: id, price: some([1, 99, 1000]), quantity: Int64.random(in: 0...8, using: &numbers))
        }
        scenario.deployment.latency = some([1...3, 1...20, 5...300, 20...1500])
        if chance(0.25) {
            scenario.deployment.reservationTimeToLive = .seconds(some([1, 3, 10]))
            scenario.deployment.sweep(every: .milliseconds(some([300, 1000, 4000])))
        }
        if chance(0.2) { scenario.deployment.checkoutTimeout = .seconds(some([3, 5])) }
        if chance(0.2) { scenario.deployment.maximumAttempts = 1 }
        if chance(0.2) { scenario.deployment.participantKeyTimeToLive = .milliseconds(some([1, 1000, 5000])) }

        scenario.rates = rates(&numbers)
        scenario.faultsEnd = .seconds(some([10, 30, 60]))
        let methods: [LedgerProvider.Method] =
            chance(0.5) ? [.card] : [.card, .remote] + (chance(0.5) ? LedgerProvider.Method.allCases : [.broke])
        // Who has a wallet pays from it, or from one that is not there.
        let hasWallets = chance(0.4)
        if hasWallets {
            scenario.deployment.wallets = ["ann", "bob"].prefix(some([1, 2, 2])).map { user in
                Deployment.Wallet(user: user, balance: some([0, 1000, 2500, 10_000]))
            }
        }
        let items = scenario.deployment.items.map(\.id) + (chance(0.1) ? [9] : [])
        let count = some([1, 1, 2, 3, 5])
        for number in 1...count {
            let lines = items.shuffled(using: &numbers).prefix(some([1, 1, 2]))
            var plan = ClientPlan(
                name: "client\(number)", user: some(["ann", "ann", "bob"]), key: some(["k1", "k1", "k2", "k3"]),
                purchase: .init(
                    lines: lines.map { .init(item: $0, quantity: Int64.random(in: 1...3, using: &numbers)) },
                    method: hasWallets && chance(0.6) ? "wallet" : some(methods).rawValue))
            // Most who share a key ask for the same.
            if let other = scenario.clients.first(where: { $0.user == plan.user && $0.key == plan.key }), chance(0.9) {
                plan.purchase = other.purchase
            }
            plan.start = .milliseconds(Int64.random(in: 0...some([0, 100, 5000]), using: &numbers))
            plan.patience = .milliseconds(some([300, 5000, 20_000, 20_000]))
            plan.maximumRequests = some([1, 3, 12, 20])
            plan.pause = .milliseconds(some([50, 1000, 4000]))
            plan.furtherTries = some([0, 0, 1])
            scenario.clients.append(plan)
        }
        if hasWallets, chance(0.6) {
            scenario.payments = payments(&numbers)
            scenario.deployment.giveUpAfter = .seconds(some([0, 5, 30]))
            scenario.deployment.retriedDeadLetters = some([0, 0, 1, 3])
        }
        return scenario
    }

    /// Customers who pay into their accounts and out of them while others buy.
    private static func payments(_ numbers: inout SeededGenerator) -> [PaymentPlan] {
        func some<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &numbers)] }
        return (1...some([1, 2, 4])).map { number in
            var plan = PaymentPlan(
                name: "customer\(number)", user: some(["ann", "ann", "bob"]), key: some(["p1", "p2", "p3"]),
                kind: some([.deposit, .withdraw]), amount: some([1, 25, 75, 700, 3000]),
                token: some([.usual, .usual] + SimulatedGateway.Token.allCases), provider: some(["stripe", "paypal"]))
            plan.start = .milliseconds(Int64.random(in: 0...some([0, 1000, 20_000]), using: &numbers))
            plan.maximumRequests = some([1, 5, 20])
            plan.afterwards = some([
                [], [], [.cancel], [.refund(nil)], [.refund(1), .refund(nil)],
                [.refund(plan.amount / 3 + 1), .refund(plan.amount / 2), .refund(nil)],
            ])
            return plan
        }
    }

    /// Two orchestrators on one store need leases and fencing.
    static let hasSeveralOrchestrators = true

    private static func rates(_ numbers: inout SeededGenerator) -> Faults.Rates {
        func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &numbers) < share }
        func some<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &numbers)] }
        var rates = Faults.Rates()
        if chance(0.8) {
            rates.message = some([0.02, 0.1, 0.25, 0.5])
            let kinds = MessageFault.allCases.shuffled(using: &numbers)
            rates.kinds = chance(0.3) ? MessageFault.allCases : Array(kinds.prefix(some([1, 2, 4])))
        }
        if chance(0.6) { rates.crash = some([0.005, 0.02, 0.06, 0.15]) }
        if chance(0.3) { rates.freeze = some([0.005, 0.02, 0.05]) }
        if chance(0.3) { rates.fullDisk = some([0.3, 0.8]) }
        if chance(0.15) { rates.clockJump = 0.5 }
        if chance(0.5) { rates.provider = some([0.1, 0.4, 0.8]) }
        return rates
    }
}
