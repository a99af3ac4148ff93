import ServiceClient
import StrictJSON

/// What clients were told, against what is (INV-1, INV-2, INV-9, INV-10).
struct ClientChecks {
    let snapshot: Snapshot
    let world: World

    private struct Scope: Hashable {
        let user, key: String
    }

    func run() {
        var scopes: [Scope] = []
        for answer in world.audit.answers.value {
            let scope = Scope(user: answer.plan.user, key: answer.plan.key)
            if !scopes.contains(scope) { scopes.append(scope) }
        }
        for scope in scopes {
            let answers = world.audit.answers.value.filter { $0.plan.user == scope.user && $0.plan.key == scope.key }
            let orders = snapshot.orders.filter { $0.user == scope.user && $0.key == scope.key }
            successes(answers, orders, scope)
            failures(answers, orders, scope)
            oneCommand(answers, orders, scope)
        }
        bounds()
    }

    private func expect(_ condition: Bool, _ invariant: String, _ what: @autoclosure () -> String) {
        if !condition { world.audit.report(invariant, what()) }
    }

    /// INV-1 and INV-9: a key succeeds once, and from then on always gives the same bytes.
    private func successes(_ answers: [ToldAnswer], _ orders: [Snapshot.Order], _ scope: Scope) {
        let completed = orders.filter { $0.status == "completed" }
        expect(completed.count <= 1, "INV-1", "key \(scope.key) has \(completed.count) completed orders")
        expect(
            orders.map(\.attempt).sorted() == (0..<orders.count).map { Int64($0 + 1) }, "INV-1",
            "the attempts under key \(scope.key) are not numbered: \(orders.map(\.attempt))")
        let successes = answers.filter { $0.response?.status == 200 && $0.isFinal }
        guard let first = successes.first, let body = first.response?.body else { return }
        let receipt = try? JSONParser.parse(body).tree
        let orderID = receipt?["orderId"]?.brief
        if let order = completed.first(where: { $0.id == orderID }) {
            let told =
                ["reservationId", "chargeId"].map { receipt?[$0]?.brief } + [receipt?["total"]?["amount"]?.brief]
            expect(
                told == [order.reservationID, order.chargeID, order.total.map { "\($0)" }], "INV-9",
                "what key \(scope.key) was answered is not what is stored for it: \(told)")
        } else {
            expect(false, "INV-9", "\(first.plan.name) was told that order \(orderID ?? "?") is completed")
        }
        for success in successes {
            let told = (try? JSONParser.parse(success.response?.body ?? []).tree)?["lines"].map(Self.quantities)
            expect(
                told == success.plan.purchase.lines.map { "\($0.item):\($0.quantity)" }, "INV-2",
                "\(success.plan.name) was told of other goods than it asked for")
        }
        for other in successes where other.response?.body != body {
            world.audit.report("INV-1", "key \(scope.key) was answered with two different successes")
        }
        for later in answers where later.sentAt >= first.receivedAt && later.plan.purchase == first.plan.purchase {
            guard let response = later.response, response.status != 200, !response.isMadeUp else { continue }
            // The store of a live service may be full at any time; all else would take the success back.
            expect(
                response.code == "store-unavailable" || response.code == nil, "INV-1",
                "key \(scope.key) was answered \(response.summary) after it had succeeded")
        }
    }

    private static func quantities(_ lines: JSONValue) -> [String] {
        guard case .array(let lines) = lines else { return [] }
        return lines.map { "\($0["itemId"]?.brief ?? "?"):\($0["quantity"]?.brief ?? "?")" }
    }

    /// INV-10: who was told that it failed has no order, and the reason is that of an attempt that was made meanwhile.
    private func failures(_ answers: [ToldAnswer], _ orders: [Snapshot.Order], _ scope: Scope) {
        for answer in answers {
            guard let response = answer.response, !response.isMadeUp, let code = response.code,
                Self.definiteCodes.contains(code), !response.hasBegunNothing
            else { continue }
            let attempts = orders.filter { order in
                guard let time = world.audit.orderTimes.value[order.id] else { return false }
                return time >= answer.sentAt && time <= answer.receivedAt && order.status == "failed"
            }
            expect(
                !attempts.isEmpty, "INV-10",
                "\(answer.plan.name) was told \(code), but no attempt of its key has failed")
            guard ["payment-declined", "insufficient-stock", "item-not-found"].contains(code) else { continue }
            expect(
                attempts.contains { $0.failureCode == code }, "INV-10",
                "\(answer.plan.name) was told \(code), but no attempt failed for that")
        }
    }

    /// INV-2: one key, one command.
    private func oneCommand(_ answers: [ToldAnswer], _ orders: [Snapshot.Order], _ scope: Scope) {
        let commands = Set(orders.map { "\($0.lines) \($0.method)" })
        expect(commands.count <= 1, "INV-2", "key \(scope.key) has been used for \(commands.count) commands")
    }

    /// INV-14: what is done for a client stays in proportion to what it asked for.
    private func bounds() {
        let asked = world.audit.answers.value.count + world.network.copies.value
        expect(
            snapshot.orders.count <= asked, "INV-14",
            "\(snapshot.orders.count) orders came of \(asked) requests")
    }

    /// Answers that say that nothing was taken.
    private static let definiteCodes: Set<String> = [
        "payment-declined", "insufficient-stock", "item-not-found", "checkout-unavailable", "gateway-timeout",
        "bad-gateway",
    ]
}

extension ServiceResponse {
    /// Whether the network made it and no service.
    var isMadeUp: Bool { body.contains(Array("Made by the simulation".utf8)) }

    /// Whether it says that no checkout was begun, as when a breaker is open.
    var hasBegunNothing: Bool { body.contains(Array("nothing was executed".utf8)) }
}
