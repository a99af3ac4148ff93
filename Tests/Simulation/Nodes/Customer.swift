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

/// A customer: asks with one key until the payment is taken on, or refused.
struct Customer: Sendable {
    let plan: PaymentPlan
    let incarnation: Incarnation

    func run() async {
        let clock = SimulatedClock(incarnation: incarnation)
        let world = incarnation.world
        for _ in 0..<plan.maximumRequests {
            guard let payment = world.node("payment") else { return }
            let request = ServiceRequest(
                method: "POST", url: "http://payment/payments/\(plan.kind.rawValue)",
                headers: [
                    .init("Content-Type", "application/json"), .init("Idempotency-Key", plan.key),
                    .init("X-User-ID", plan.user), .init("X-Request-ID", plan.name),
                ], body: plan.body, timeout: .seconds(5))
            let outcome = await world.network.send(request, from: incarnation, to: payment)
            if let response = try? outcome.get(), let json = try? JSONParser.parse(response.body) {
                if response.status == 202, let id = json["paymentId"]?.brief {
                    return world.audit.tookOn(plan, id)
                }
                if response.status == 402, response.code == "payment-declined" { return }
            }
            guard (try? await clock.sleep(for: .seconds(3))) != nil else { return }
        }
    }
}
