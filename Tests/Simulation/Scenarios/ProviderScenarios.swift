extension Scenario {
    /// The ways that a payment through an outside provider can take; every crash point of each is executed.
    static let throughProviders: [Scenario] = [
        paying("a deposit", .deposit, .usual), paying("a withdrawal", .withdraw, .usual),
        paying("a withdrawal is declined", .withdraw, .declined),
        paying("a withdrawal's answer is lost once", .withdraw, .unknownOnce),
        paying("a withdrawal never arrives", .withdraw, .lost),
        paying("a withdrawal arrives after it was closed", .withdraw, .late),
        paying("nobody can be reached for a withdrawal", .withdraw, .unreachable),
        paying("a deposit arrives after it was closed", .deposit, .late),
        paying("a deposit is settled later", .deposit, .pending),
    ]

    private static func paying(_ name: String, _ kind: PaymentPlan.Kind, _ token: SimulatedGateway.Token) -> Scenario {
        var scenario = Scenario(name: "\(name), through a provider", clients: [])
        scenario.deployment.wallets = [Deployment.Wallet(user: "ann", balance: 1500)]
        scenario.deployment.timeDown = 300...300
        scenario.payments = [PaymentPlan(name: "ann", key: "p", kind: kind, amount: 1000, token: token)]
        return scenario
    }
}
