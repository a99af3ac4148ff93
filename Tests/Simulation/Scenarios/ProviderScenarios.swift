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
        paying("a deposit is mixed up with another", .deposit, .mixedUp),
        paying("a withdrawal is mixed up with another", .withdraw, .mixedUp),
        paying("a deposit is given back", .deposit, .usual, [.refund(nil)]),
        paying("a withdrawal is given back in parts", .withdraw, .usual, [.refund(333), .refund(5000), .refund(nil)]),
        paying("nobody can be reached for a refund", .deposit, .noRefunds, [.refund(400)], retries: 1),
        paying("the answer to a refund is lost once", .withdraw, .refundUnknownOnce, [.refund(nil)]),
        paying("a withdrawal is canceled, or given back", .withdraw, .usual, [.cancel, .refund(nil)], requests: 3),
        paying("a withdrawal never arrives and is made anew", .withdraw, .lost, retries: 1),
        paying("nobody can be reached for a deposit, which is made anew", .deposit, .unreachable, retries: 1),
    ]

    private static func paying(
        _ name: String, _ kind: PaymentPlan.Kind, _ token: SimulatedGateway.Token,
        _ afterwards: [PaymentPlan.Afterwards] = [], retries: Int = 0, requests: Int = 20
    ) -> Scenario {
        var scenario = Scenario(name: "\(name), through a provider", clients: [])
        scenario.deployment.retriedDeadLetters = retries
        scenario.deployment.wallets = [Deployment.Wallet(user: "ann", balance: 1500)]
        scenario.deployment.timeDown = 300...300
        var plan = PaymentPlan(name: "ann", key: "p", kind: kind, amount: 1000, token: token)
        plan.afterwards = afterwards
        plan.maximumRequests = requests
        scenario.payments = [plan]
        return scenario
    }
}
