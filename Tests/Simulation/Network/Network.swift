import Resilience
import ServiceClient

/// The messages between machines: each may be lost, late, doubled, or answered by somebody else.
final class Network: Sendable {
    /// A request on its way.
    struct Message: Sendable {
        let name: String
        let request: ServiceRequest
        let sender: Incarnation
        let receiver: Node
        let fault: MessageFault?

        /// Whether copies of it are about: then nobody can know that nothing was sent.
        var hasCopies: Bool {
            switch fault {
            case .duplicated, .straggler, .veryLate, .turnedAwayStraggler: true
            default: false
            }
        }
    }

    /// What happens to the answer of a message.
    private enum Reply { case arrives, late, lost, broken, garbled, replaced(ServiceResponse) }

    typealias Outcome = Result<ServiceResponse, TransportError>

    /// Copies that arrive after everything has ended.
    private let stragglers = Cell<[Message]>([])
    /// A message that has set out and is not answered yet.
    private struct Travel {
        let message: Message
        /// Who works on it; nil while it travels.
        var worker: Incarnation?
    }

    private let underWay = Cell<[Int: Travel]>([:])
    private let carried = Cell(0)
    /// How many requests were sent, copies not counted.
    let requests = Cell(0)
    /// How many copies were made.
    let copies = Cell(0)

    /// Sends a request and waits for what comes of it.
    func send(_ request: ServiceRequest, from sender: Incarnation, to receiver: Node) async -> Outcome {
        await sender.wait(orOnDeath: .failure(.connectionLost("the process is dead"))) { answer in
            begin(request, from: sender, to: receiver, answer)
        }
    }

    /// Lets all copies arrive that are left. - Returns: whether there were any.
    func deliverStragglers() -> Bool {
        let late = stragglers.value
        stragglers.value = []
        copies.value += late.count
        for message in late { carry(message, "straggler", after: .zero, .lost, nil) }
        return !late.isEmpty
    }

    func clear() {
        stragglers.value = []
        underWay.value = [:]
    }

    /// Whether no message travels and nobody works on one: what a client has long forgotten can still begin an order.
    var isQuiet: Bool { underWay.value.values.allSatisfy { $0.worker?.isAlive == false } }

    // MARK: - There

    private func begin(
        _ request: ServiceRequest, from sender: Incarnation, to receiver: Node, _ answer: Answer<Outcome>
    ) {
        let world = sender.world
        requests.value += 1
        var request = request
        world.mistake.request?(&request, sender)
        let path = request.path
        let between = "\(sender.node.name)>\(receiver.name) \(path)"
        let name = "\(between) #\(sender.node.count(between))"
        _ = world.points.pass("\(name) before sending", sender)
        guard sender.isAlive else { return }
        world.note("\(name) is sent: \(request.summary)")
        let message = Message(
            name: name, request: request, sender: sender, receiver: receiver,
            fault: world.faults.fault(of: name, in: world))
        let timeout = sender.node.role == .order ? world.mistake.timeout ?? .timedOut : .timedOut
        world.scheduler.after(request.timeout, sender) { answer.give(.failure(timeout)) }
        begin(message, answer)
        _ = world.points.pass("\(message.name) after sending", sender)
    }

    private func begin(_ message: Message, _ answer: Answer<Outcome>) {
        let world = message.sender.world
        let time = latency(message, "there")
        let long = world.chance.milliseconds("\(message.name) delay", in: 200...30_000)
        func carry(_ reply: Reply, after delay: Duration? = nil, as copy: String = "") {
            self.carry(message, copy, after: delay ?? time, reply, answer)
        }
        func fail(_ outcome: Outcome) {
            world.scheduler.after(time, message.sender) { answer.give(outcome) }
        }
        switch message.fault {
        case nil: carry(.arrives)
        case .lost: break
        case .refused: fail(.failure(.notSent("refused")))
        case .brokenBefore: fail(.failure(.connectionLost("reset")))
        case .replyLost: carry(.lost)
        case .brokenAfter: carry(.broken)
        case .late: carry(.arrives, after: long)
        case .replyLate: carry(.late)
        case .duplicated:
            carry(.arrives)
            copies.value += 1
            carry(.arrives, after: long, as: "copy")
        case .straggler:
            carry(.arrives)
            stragglers.value.append(message)
        case .veryLate: stragglers.value.append(message)
        case .garbage: carry(.garbled)
        case .badGateway: fail(.success(.problem(502, "bad-gateway")))
        case .turnedAway: fail(.success(.problem(503, "draining")))
        case .turnedAwayStraggler:
            fail(.success(.problem(503, "overloaded")))
            stragglers.value.append(message)
        case .internalError: carry(.replaced(.problem(500, "internal-error")))
        }
    }

    private func carry(
        _ message: Message, _ copy: String, after delay: Duration, _ reply: Reply, _ answer: Answer<Outcome>?
    ) {
        let name = copy.isEmpty ? message.name : "\(message.name) \(copy)"
        carried.value += 1
        let number = carried.value
        underWay.value[number] = Travel(message: message, worker: nil)
        message.sender.world.scheduler.after(delay, nil) { self.arrive(message, name, number, reply, answer) }
    }

    private func arrive(
        _ message: Message, _ name: String, _ number: Int, _ reply: Reply, _ answer: Answer<Outcome>?
    ) {
        let world = message.sender.world
        guard let receiver = message.receiver.incarnation.value, let endpoint = receiver.endpoint.value else {
            world.note("\(name) finds nobody")
            underWay.value[number] = nil
            let error = message.hasCopies ? TransportError.connectionLost("reset") : .notSent("refused")
            if let answer { come(.failure(error), message, name, .zero, answer) }
            return
        }
        underWay.value[number]?.worker = receiver
        // It lies in the machine's buffers until the process reads it.
        if receiver.holds(.event { self.arrive(message, name, number, reply, answer) }) { return }
        if receiver.node.role == .payment { world.audit.mayCharge(message.request) }
        _ = world.points.pass("\(name) before receiving", receiver)
        receiver.spawn {
            let response = await endpoint.answer(message.request)
            self.underWay.value[number] = nil
            self.note(response, to: message)
            self.leave(response, message, name, reply, answer, receiver)
        }
        _ = world.points.pass("\(name) after receiving", receiver)
    }

    /// Payment says that nothing was charged: that must stay so until somebody asks for the charge again.
    private func note(_ response: ServiceResponse, to message: Message) {
        guard let id = Audit.chargeTurnedDown(message.request, response) else { return }
        let isAskedAgain = underWay.value.values.contains { Audit.mayCharge($0.message.request, id) }
        if !isAskedAgain { message.sender.world.audit.notCharged(id) }
    }

    // MARK: - And back

    private func leave(
        _ response: ServiceResponse, _ message: Message, _ name: String, _ reply: Reply, _ answer: Answer<Outcome>?,
        _ receiver: Incarnation
    ) {
        let world = message.sender.world
        _ = world.points.pass("\(name) before answering", receiver)
        guard receiver.isAlive else {
            if let answer { come(.failure(.connectionLost("reset")), message, name, .zero, answer) }
            return
        }
        world.note("\(name) is answered: \(response.summary)")
        if let answer {
            let time = latency(message, "back")
            switch reply {
            case .arrives: come(.success(response), message, name, time, answer)
            case .late:
                let long = world.chance.milliseconds("\(name) delay of the answer", in: 200...30_000)
                come(.success(response), message, name, long, answer)
            case .lost: break
            case .broken: come(.failure(.connectionLost("reset")), message, name, time, answer)
            case .garbled: come(garbled(response, name, world), message, name, time, answer)
            case .replaced(let other): come(.success(other), message, name, time, answer)
            }
        }
        _ = world.points.pass("\(name) after answering", receiver)
    }

    private func come(
        _ outcome: Outcome, _ message: Message, _ name: String, _ delay: Duration, _ answer: Answer<Outcome>
    ) {
        let (world, sender) = (message.sender.world, message.sender)
        world.scheduler.after(delay, sender) {
            guard !answer.isGiven else { return }
            _ = world.points.pass("\(name) before its answer arrives", sender)
            guard sender.isAlive else { return }
            answer.give(world.mistake.outcome?(message.request, outcome, sender) ?? outcome)
            _ = world.points.pass("\(name) after its answer arrived", sender)
        }
    }

    private func latency(_ message: Message, _ way: String) -> Duration {
        let world = message.sender.world
        return world.chance.milliseconds("\(message.name) \(way)", in: world.deployment.latency)
    }

    private func garbled(_ response: ServiceResponse, _ name: String, _ world: World) -> Outcome {
        var numbers = world.chance.generator("garbage of \(name)")
        let half = Array(response.body.prefix(response.body.count / 2))
        switch Int.random(in: 0..<6, using: &numbers) {
        case 0: return .success(ServiceResponse(status: response.status, body: half))
        case 1: return .success(ServiceResponse(status: 200, body: Array("{}".utf8)))
        case 2: return .success(ServiceResponse(status: 404, body: Array("<html>not here</html>".utf8)))
        case 3: return .success(ServiceResponse(status: 200, body: []))
        case 4: return .failure(.notHTTP)
        default: return .success(ServiceResponse(status: response.status == 200 ? 409 : 200, body: response.body))
        }
    }
}

/// Order's calls to the others over the simulated network.
struct SimulatedTransport: Transport {
    let sender: Incarnation

    func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        guard let receiver = sender.world.node(request.host) else { throw .notSent("no such host") }
        return try await sender.world.network.send(request, from: sender, to: receiver).get()
    }
}
