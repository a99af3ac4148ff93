import Resilience
import ServiceClient
import StrictJSON

/// What one customer wants to pay into its account, or out of it.
struct PaymentPlan: Sendable {
    enum Kind: String, Sendable { case deposit, withdraw }

    var name: String
    var user = "ann"
    var key: String
    var kind: Kind
    /// Minor units.
    var amount: Int64
    var token = SimulatedGateway.Token.usual
    var provider = "stripe"
    var start = Duration.zero
    var maximumRequests = 20
    /// What it does with the payment afterwards, one thing after another.
    var afterwards: [Afterwards] = []

    /// What a customer does with a payment that was taken on.
    enum Afterwards: Sendable {
        case cancel
        /// Has so much given back, or all that is left; in minor units.
        case refund(Int64?)
    }

    var body: [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.object("amount") { json in
                    json.integer("amount", amount)
                    json.string("currency", "USD")
                }
                json.string("provider", provider)
                json.string("token", token.rawValue)
            }
        }
    }
}

/// A customer: asks with one key until the payment is taken on, or refused; and then for what it wants afterwards.
struct Customer: Sendable {
    let plan: PaymentPlan
    let incarnation: Incarnation

    func run() async {
        let world = incarnation.world
        guard
            let taken = await ask("payments/\(plan.kind.rawValue)", key: plan.key, plan.body),
            taken.status == 202, let id = (try? JSONParser.parse(taken.body).tree)?["paymentId"]?.brief
        else { return }
        world.audit.tookOn(plan, id)
        for (number, step) in plan.afterwards.enumerated() {
            switch step {
            case .cancel: _ = await ask("payments/\(id)/cancel", key: nil, Array("{}".utf8))
            case .refund(let amount):
                _ = await ask("payments/\(id)/refund", key: "\(plan.key)-back-\(number)", Self.refund(amount))
            }
        }
    }

    /// Asks until it is answered for good. - Returns: nil when it has had enough before.
    private func ask(_ path: String, key: String?, _ body: [UInt8]) async -> ServiceResponse? {
        let clock = SimulatedClock(incarnation: incarnation)
        let world = incarnation.world
        for _ in 0..<plan.maximumRequests {
            guard let payment = world.node("payment") else { return nil }
            var headers: [ServiceRequest.Header] = [
                .init("Content-Type", "application/json"), .init("X-User-ID", plan.user),
                .init("X-Request-ID", plan.name),
            ]
            if let key { headers.append(.init("Idempotency-Key", key)) }
            let request = ServiceRequest(
                method: "POST", url: "http://payment/\(path)", headers: headers, body: body, timeout: .seconds(5))
            let outcome = await world.network.send(request, from: incarnation, to: payment)
            if let response = try? outcome.get(), Self.isFinal(response) { return response }
            guard (try? await clock.sleep(for: .seconds(3))) != nil else { return nil }
        }
        return nil
    }

    /// A refund is refused with a conflict while its payment has no end: that changes by itself.
    private static func isFinal(_ response: ServiceResponse) -> Bool {
        switch (response.status, response.code) {
        case (200, _), (202, _), (402, "payment-declined"?), (409, "refund-exceeds-payment"?): true
        default: false
        }
    }

    private static func refund(_ amount: Int64?) -> [UInt8] {
        guard let amount else { return Array("{}".utf8) }
        return Array(#"{"amount":{"amount":\#(amount),"currency":"USD"}}"#.utf8)
    }
}
