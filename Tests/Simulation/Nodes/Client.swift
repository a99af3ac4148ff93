import ServiceClient
import StrictJSON

/// What one client wants, and how it goes about it.
struct ClientPlan: Sendable {
    /// What is asked for.
    struct Purchase: Hashable, Sendable {
        struct Line: Hashable, Sendable {
            let item: Int64
            let quantity: Int64
        }

        var lines: [Line]
        var method: String

        var body: [UInt8] {
            JSONWriter.bytes { json in
                json.object { json in
                    json.array("lines") { json in
                        for line in lines {
                            json.object { json in
                                json.integer("itemId", line.item)
                                json.integer("quantity", line.quantity)
                            }
                        }
                    }
                    json.string("method", method)
                }
            }
        }
    }

    var name: String
    var user = "ann"
    var key: String
    var purchase: Purchase
    /// When it begins.
    var start = Duration.zero
    /// How long it waits for an answer.
    var patience = Duration.seconds(20)
    /// After so many requests it leaves.
    var maximumRequests = 12
    var pause = Duration.seconds(1)
    /// How often it tries again, with the same key, after a definite failure.
    var furtherTries = 0
}

/// What a client was told, and when.
struct ToldAnswer: Sendable {
    let plan: ClientPlan
    let sentAt: Duration
    let receivedAt: Duration
    let outcome: Network.Outcome

    var response: ServiceResponse? { try? outcome.get() }

    /// Whether the checkout is over, as far as the client can tell.
    var isFinal: Bool {
        guard let response else { return false }
        switch (response.status, response.code) {
        case (200, _): return (try? JSONParser.parse(response.body).tree)?["orderId"] != nil
        case (402, _), (422, _), (404, "item-not-found"?), (409, "insufficient-stock"?): return true
        default: return false
        }
    }
}

/// A client: asks, and asks again with the same key until it knows, or until it has had enough.
struct Client: Sendable {
    let plan: ClientPlan
    let incarnation: Incarnation

    func run() async {
        let clock = SimulatedClock(incarnation: incarnation)
        var furtherTries = plan.furtherTries
        for number in 1...max(1, plan.maximumRequests) {
            guard let orders = orderService(number) else { return }
            let answer = await ask(orders, patience: plan.patience)
            if answer.isFinal {
                guard answer.response?.status != 200, furtherTries > 0 else { return }
                furtherTries -= 1
            }
            guard (try? await clock.sleep(for: plan.pause)) != nil else { return }
        }
    }

    /// One request, whose answer is kept for the checks.
    func ask(_ orders: Node, patience: Duration) async -> ToldAnswer {
        let world = incarnation.world
        let sentAt = world.scheduler.now
        let request = ServiceRequest(
            method: "POST", url: "http://\(orders.name)/checkout",
            headers: [
                .init("Content-Type", "application/json"), .init("Idempotency-Key", plan.key),
                .init("X-User-ID", plan.user), .init("X-Request-ID", plan.name),
            ], body: plan.purchase.body, timeout: patience)
        let outcome = await world.network.send(request, from: incarnation, to: orders)
        let answer = ToldAnswer(plan: plan, sentAt: sentAt, receivedAt: world.scheduler.now, outcome: outcome)
        if incarnation.isAlive { world.audit.told(answer) }
        return answer
    }

    /// nginx sends each request to one of the orchestrators.
    private func orderService(_ number: Int) -> Node? {
        let world = incarnation.world
        var numbers = world.chance.generator("\(plan.name) goes to #\(number)")
        return world.node("order\(Int.random(in: 1...world.deployment.orchestrators, using: &numbers))")
    }
}
