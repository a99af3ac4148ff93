import GRDB
import OrderService
import PaymentService
import ServiceClient
import ServiceKit
import StockService
import Storage

/// Runs scenarios, one after another, on disks that it uses again and again.
public struct Simulator: Sendable {
    /// So long clients and faults may go on, in virtual time.
    private static let longestTrouble = Duration.seconds(60)
    /// What has not come to rest so long after the last fault never will.
    private static let longestRest = Duration.seconds(1200)
    private static let maximumSteps = 400_000

    private let disks: Disks

    /// A simulator. - Throws: what opening a database throws.
    public init() throws {
        disks = Disks(
            order: try Disk(OrderService.definition.migrations), stock: try Disk(StockService.definition.migrations),
            payment: try Disk(PaymentService.definition.migrations))
    }

    /// Runs a scenario from its beginning until everything is at rest, and checks what came of it.
    ///
    /// - Parameters:
    ///   - deaths: the numbers of the points at which processes die.
    ///   - only: the only faults that may happen, by name; nil for all that the seed brings.
    func run(
        _ scenario: Scenario, seed: UInt64, mistake: Mistake = .none, deaths: Set<Int> = [], only: Set<String>? = nil,
        keepsTrace: Bool = false
    ) throws -> RunResult {
        var deployment = scenario.deployment
        mistake.deployment?(&deployment)
        let chance = Chance(seed: seed)
        let faults = Faults(chance, scenario.rates, end: scenario.faultsEnd, only: only, scripted: scenario.scripted)
        let world = World(disks, chance, deployment, faults, mistake, keepsTrace: keepsTrace)
        defer { world.end() }
        world.points.deaths.value = deaths
        try prepare(world)
        let clients = begin(scenario, in: world)
        schedule(world)

        rest(world, Self.longestTrouble) { clients.value == 0 }
        calmDown(world)
        rest(world, Self.longestRest) { clients.value == 0 }
        try checkNothingIsHeld(world)
        if world.network.deliverStragglers() {
            world.scheduler.run(until: world.scheduler.now + .milliseconds(500))
            try checkNothingIsHeld(world)
            world.scheduler.run(until: world.scheduler.now + .seconds(10))
            rest(world, Self.longestRest) { true }
        }
        if world.audit.violations.value.isEmpty { askAgain(world) }
        if world.audit.violations.value.isEmpty {
            let snapshot = try Snapshot(disks)
            FinalChecks(snapshot: snapshot, world: world).run()
            let isCalm = deaths.isEmpty && faults.injected.value.isEmpty
            checkExpectations(isCalm ? scenario.calm : deaths.isEmpty ? [] : scenario.crashed, scenario, world)
            if keepsTrace { for line in snapshot.lines { world.note(line) } }
        }
        return RunResult(
            violations: world.audit.violations.value, injected: faults.injected.value,
            discovered: world.points.discovered.value, executed: world.points.executed.value,
            trace: world.trace?.value ?? [], steps: world.scheduler.steps.value)
    }

    // MARK: - The beginning

    private func prepare(_ world: World) throws {
        let checks = !world.mistake.ignoresConstraints
        for disk in [disks.order, disks.stock, disks.payment] { try disk.reset(checksConstraints: checks) }
        try disks.stock.database.write { database in
            for item in world.deployment.items {
                try database.execute(
                    sql: """
                        INSERT INTO items (item_id, name, price, currency, on_hand, received) VALUES (?, 'item', ?, 'USD', ?, ?)
                        """, arguments: [item.id, item.price, item.quantity, item.quantity])
            }
        }
        try fillWallets(world.deployment.wallets)
        world.add(Node("stock", .stock, disk: disks.stock))
        world.add(Node("payment", .payment, disk: disks.payment))
        for number in 1...world.deployment.orchestrators {
            world.add(Node("order\(number)", .order, disk: disks.order))
        }
        for node in world.services { world.start(node) }
    }

    /// Opens the customers' accounts; what is in them has come from outside.
    private func fillWallets(_ wallets: [Deployment.Wallet]) throws {
        guard !wallets.isEmpty else { return }
        try disks.payment.database.write { database in
            let open = """
                INSERT INTO accounts (account_number, account_id, kind, currency, debit_sign, user_id, opened_by, created_at)
                VALUES (?, ?, ?, 'USD', ?, ?, ?, 0)
                """
            try database.execute(sql: open, arguments: [-1, "outside", "cash_in", 1, nil, nil])
            for (index, wallet) in wallets.enumerated() {
                try database.execute(
                    sql: open, arguments: [index + 1, "of \(wallet.user)", "wallet", -1, wallet.user, wallet.user])
                guard wallet.balance > 0 else { continue }
                try database.execute(
                    sql: """
                        INSERT INTO ledger_entries
                            (transaction_id, type, debit_account, credit_account, amount, currency, created_at)
                        VALUES ('opening', 'opening', -1, ?, ?, 'USD', 0)
                        """, arguments: [index + 1, wallet.balance])
            }
        }
    }

    /// - Returns: how many clients have not finished.
    private func begin(_ scenario: Scenario, in world: World) -> Cell<Int> {
        let running = Cell(scenario.clients.count + scenario.payments.count)
        for plan in scenario.payments {
            let node = Node(plan.name, .client, disk: nil)
            world.add(node)
            let customer = Customer(plan: plan, incarnation: node.begin(in: world))
            world.scheduler.after(plan.start, nil) {
                customer.incarnation.spawn {
                    await customer.run()
                    running.value -= 1
                }
            }
        }
        for plan in scenario.clients {
            let client = client(plan, in: world)
            world.scheduler.after(plan.start, nil) {
                client.incarnation.spawn {
                    await client.run()
                    running.value -= 1
                }
            }
        }
        return running
    }

    private func client(_ plan: ClientPlan, in world: World) -> Client {
        let node = world.node(plan.name) ?? Node(plan.name, .client, disk: nil)
        if world.node(plan.name) == nil { world.add(node) }
        return Client(plan: plan, incarnation: node.incarnation.value ?? node.begin(in: world))
    }

    /// Faults that come by the clock and not with a message or at a point.
    private func schedule(_ world: World) {
        for node in world.services {
            for number in 1...2 {
                let full = "\(node.name) disk full #\(number)"
                world.scheduler.after(world.chance.milliseconds("time of \(full)", in: 0...30_000), nil) {
                    guard world.faults.happens(full, world.faults.rates.fullDisk, in: world) else { return }
                    node.diskIsFullUntil.value =
                        world.scheduler.now + world.chance.milliseconds("length of \(full)", in: 100...10_000)
                }
                let jump = "\(node.name) clock jumps #\(number)"
                world.scheduler.after(world.chance.milliseconds("time of \(jump)", in: 0...30_000), nil) {
                    guard world.faults.happens(jump, world.faults.rates.clockJump, in: world) else { return }
                    node.clockError.value += world.chance.milliseconds("length of \(jump)", in: -90_000...90_000)
                }
            }
        }
    }

    // MARK: - The end

    /// Runs until nothing is pending any more, or for as long as a run may take.
    private func rest(_ world: World, _ longest: Duration, _ isDone: () -> Bool) {
        let limit = world.scheduler.now + longest
        while world.audit.violations.value.isEmpty, world.scheduler.now < limit {
            let slice = world.scheduler.now + .seconds(1)
            while world.scheduler.step(until: slice) {
                if !world.audit.violations.value.isEmpty { return }
                if world.scheduler.steps.value > Self.maximumSteps {
                    return world.audit.report("INV-14", "the run takes more than \(Self.maximumSteps) steps")
                }
            }
            world.scheduler.run(until: slice)
            if isDone(), isQuiet(world) { return }
        }
    }

    private func isQuiet(_ world: World) -> Bool {
        guard world.network.isQuiet else { return false }
        guard world.services.allSatisfy({ $0.incarnation.value?.isFrozen == false }) else { return false }
        let questions = [
            (disks.order, "SELECT 1 FROM orders WHERE status = 'pending' LIMIT 1"),
            (disks.stock, "SELECT 1 FROM reservations WHERE status = 'reserved' LIMIT 1"),
            (disks.payment, "SELECT 1 FROM charges WHERE status = 'pending' LIMIT 1"),
            (disks.payment, "SELECT 1 FROM refunds WHERE status = 'pending' LIMIT 1"),
            (disks.payment, "SELECT 1 FROM payments WHERE status IN ('new', 'processing') LIMIT 1"),
            (disks.payment, Operator.next(world.deployment.retriedDeadLetters)),
        ]
        return questions.allSatisfy { disk, sql in ((try? disk.rows(sql) { _ in 1 }) ?? []).isEmpty }
    }

    /// Ends all faults: every machine works, and every message arrives.
    private func calmDown(_ world: World) {
        world.faults.isOver.value = true
        world.note("the faults are over")
        for node in world.services {
            node.incarnation.value?.thaw()
            node.diskIsFullUntil.value = .zero
            world.start(node)
        }
    }

    /// The copies have arrived that were left: none may have taken goods for an order that does not want them any more, not
    /// even until they run out. A copy of a checkout may have begun an order that is still under way.
    private func checkNothingIsHeld(_ world: World) throws {
        guard world.audit.violations.value.isEmpty else { return }
        let wanted = Set(
            try disks.order.rows("SELECT json_extract(saga, '$.reservationId') FROM orders WHERE status = 'pending'") {
                $0[0] as String
            })
        let held = try disks.stock.rows("SELECT reservation_id FROM reservations WHERE status = 'reserved'") {
            $0[0] as String
        }
        for id in held where !wanted.contains(id) {
            world.audit.report("INV-10", "reservation \(id) holds goods, and its order has ended")
        }
    }

    /// Asks once more with every key that has succeeded: the answer must still be the same (INV-1).
    private func askAgain(_ world: World) {
        world.points.areOver.value = true
        var asked: Set<String> = []
        let waiting = Cell(0)
        for answer in world.audit.answers.value where answer.isFinal && answer.response?.status == 200 {
            guard asked.insert("\(answer.plan.user) \(answer.plan.key)").inserted else { continue }
            let client = client(answer.plan, in: world)
            guard let orders = world.node("order1") else { return }
            waiting.value += 1
            client.incarnation.spawn {
                _ = await client.ask(orders, patience: .seconds(20))
                waiting.value -= 1
            }
        }
        let limit = world.scheduler.now + .seconds(25)
        while waiting.value > 0, world.scheduler.step(until: limit) {}
    }

    private func checkExpectations(_ expected: [Set<Int>], _ scenario: Scenario, _ world: World) {
        for (plan, statuses) in zip(scenario.clients, expected) where !statuses.isEmpty {
            let last = world.audit.answers.value.last { $0.plan.name == plan.name }
            let status = last?.response?.status ?? 0
            if !statuses.contains(status) {
                world.audit.report("INV-10", "\(plan.name) was told \(last?.outcome.summary ?? "nothing") in the end")
            }
        }
    }
}
