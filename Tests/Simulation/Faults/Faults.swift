import Resilience

/// What may go wrong with a message.
enum MessageFault: String, CaseIterable, Sendable {
    /// It never arrives, and the sender waits in vain.
    case lost
    /// No connection: the only failure of which the sender knows that nothing was sent (hazard 12).
    case refused
    /// The connection breaks before it arrives.
    case brokenBefore
    /// It is carried out; the answer never arrives.
    case replyLost
    /// It is carried out; the connection breaks before the answer.
    case brokenAfter
    /// It is late.
    case late
    /// The answer is late.
    case replyLate
    /// It arrives twice.
    case duplicated
    /// It arrives, and a copy of it long after its sender's order has ended.
    case straggler
    /// Its sender waits in vain; it arrives long after its sender's order has ended.
    case veryLate
    /// It is carried out, and rubbish is answered.
    case garbage
    /// Something in between answers 502 and does not pass it on.
    case badGateway
    /// It is turned away with a 503 that promises that nothing was executed.
    case turnedAway
    /// It is turned away so, but a copy of it arrives after the order has ended.
    case turnedAwayStraggler
    /// It is carried out, and a 500 is answered.
    case internalError
}

/// Which faults a run has. What happens at a place depends on the seed and the place's name alone; see `Chance`.
final class Faults: Sendable {
    /// How likely each kind of fault is in this run; each seed has its own mixture.
    struct Rates: Sendable {
        var message = 0.0
        var kinds: [MessageFault] = []
        var crash = 0.0
        var freeze = 0.0
        var fullDisk = 0.0
        var clockJump = 0.0
        var provider = 0.0
        var maximumCrashes = 6
    }

    let chance: Chance
    let rates: Rates
    /// Until when faults happen.
    let end: Duration
    /// When a failing run is made shorter: the only faults allowed.
    let only: Set<String>?
    /// Faults that do not happen by chance, by the names of their messages.
    let scripted: [String: MessageFault]
    /// What has happened, in order.
    let injected = Cell<[String]>([])
    /// Set when the run is to come to rest.
    let isOver = Cell(false)
    private let crashes = Cell(0)

    init(
        _ chance: Chance, _ rates: Rates, end: Duration, only: Set<String>? = nil,
        scripted: [String: MessageFault] = [:]
    ) {
        self.chance = chance
        self.rates = rates
        self.end = end
        self.only = only
        self.scripted = scripted
    }

    /// Whether a fault happens at a place. - Parameter name: the place and the kind of fault; unique.
    func happens(_ name: String, _ rate: Double, in world: World) -> Bool {
        guard rate > 0, !isOver.value, world.scheduler.now < end, chance.share(name) < rate else { return false }
        if let only, !only.contains(name) { return false }
        injected.value.append(name)
        world.note("fault: \(name)")
        return true
    }

    /// What goes wrong with a message.
    func fault(of message: String, in world: World) -> MessageFault? {
        if let fault = scripted[message] {
            injected.value.append("\(message): \(fault.rawValue)")
            world.note("fault: \(message): \(fault.rawValue)")
            return fault
        }
        guard !rates.kinds.isEmpty, rates.message > 0 else { return nil }
        var numbers = chance.generator("kind of \(message)")
        let kind = rates.kinds[Int.random(in: 0..<rates.kinds.count, using: &numbers)]
        return happens("\(message): \(kind.rawValue)", rates.message, in: world) ? kind : nil
    }

    /// What happens to a process at a point.
    func atPoint(_ name: String, _ incarnation: Incarnation, in world: World) {
        if crashes.value < rates.maximumCrashes, happens("crash at \(name)", rates.crash, in: world) {
            crashes.value += 1
            world.crash(incarnation, at: name)
        } else if happens("freeze at \(name)", rates.freeze, in: world) {
            incarnation.freeze()
            let time = chance.milliseconds("time frozen at \(name)", in: 50...40_000)
            world.scheduler.after(time, nil) { incarnation.thaw() }
        }
    }
}
