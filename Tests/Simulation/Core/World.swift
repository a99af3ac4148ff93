/// One run: the machines, the network between them, the provider and the clients, in virtual time.
final class World: Sendable {
    let chance: Chance
    let scheduler = Scheduler()
    let points = Points()
    let faults: Faults
    let mistake: Mistake
    let audit: Audit
    let network = Network()
    let provider = ProviderLedger()
    let books = ProviderBooks()
    let disks: Disks
    let deployment: Deployment
    /// What happened, for a person, if it is kept.
    let trace: Cell<[String]>?
    private let nodes = Cell<[Node]>([])

    init(
        _ disks: Disks, _ chance: Chance, _ deployment: Deployment, _ faults: Faults, _ mistake: Mistake,
        keepsTrace: Bool
    ) {
        self.disks = disks
        self.chance = chance
        self.deployment = deployment
        self.faults = faults
        self.mistake = mistake
        trace = keepsTrace ? Cell([]) : nil
        audit = Audit()
        points.attach(to: self)
        audit.attach(to: self)
    }

    func note(_ line: @autoclosure () -> String) {
        trace?.value.append("\(scheduler.now.milliseconds) \(line())")
    }

    func add(_ node: Node) {
        nodes.value.append(node)
    }

    func node(_ name: String) -> Node? {
        nodes.value.first { $0.name == name }
    }

    /// The machines that run services.
    var services: [Node] { nodes.value.filter { $0.role != .client } }

    /// Kills a process; it is started again after a while.
    func crash(_ incarnation: Incarnation, at name: String) {
        let node = incarnation.node
        incarnation.kill()
        let time = chance.milliseconds("time down after \(name)", in: deployment.timeDown)
        scheduler.after(time, nil) { [self] in start(node) }
    }

    /// Starts the process of a machine if there is none.
    func start(_ node: Node) {
        guard node.incarnation.value == nil else { return }
        note("\(node.name) starts")
        node.start(in: self)
    }

    /// Ends everything, so that nothing keeps this run's memory.
    func end() {
        for node in nodes.value { node.incarnation.value?.kill() }
        scheduler.clear()
        points.attach(to: nil)
        audit.attach(to: nil)
        network.clear()
    }
}

extension Duration {
    /// Whole milliseconds, for the trace.
    var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
