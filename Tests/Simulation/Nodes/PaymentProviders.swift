import Correlation
import Money
import PaymentService
import ProviderAPI
import Resilience
import ServiceClient

/// What the outside providers of payments know to be true, by the references that they were asked under.
final class ProviderBooks: Sendable {
    enum State: Sendable {
        case underWay, taken, declined
        /// Nothing was taken and nothing ever will be.
        case closed
    }

    struct Entry: Sendable {
        /// The how-manieth reference this is; names it independently of the id.
        let number: Int
        var state: State?
        var askings = 0
        var amount: Int64 = 0
        /// Of a payment: what was given back of it.
        var refunded: Int64 = 0
        /// Of a payment: what it was asked for with.
        var token: SimulatedGateway.Token?
    }

    private let entries = Cell<[String: Entry]>([:])

    /// Looks at or changes what is known of a reference.
    func with<Value>(_ reference: String, _ body: (inout Entry) -> Value) -> Value {
        let new = Entry(number: entries.value.count + 1)
        return body(&entries.value[reference, default: new])
    }

    /// What is known of a reference; nil when nobody has asked for it.
    func entry(_ reference: String) -> Entry? { entries.value[reference] }

    /// All references asked for.
    var references: [String] { entries.value.keys.sorted() }
}

/// The providers as Payment's worker reaches them: idempotent by reference, but commands and answers get lost, and arrive late.
struct SimulatedGateway: ProviderGateway {
    /// Means of payment that customers of the simulation have.
    enum Token: String, CaseIterable, Sendable {
        case usual = "tok_usual"
        case declined = "tok_declined"
        /// The first answer is lost after the money was taken.
        case unknownOnce = "tok_unknown_once"
        /// Every answer to the command itself is lost, and it is not carried out.
        case lost = "tok_lost"
        /// The same, but each arrives seven seconds later.
        case late = "tok_late"
        /// Nobody can be reached.
        case unreachable = "tok_unreachable"
        /// Taken up, and settled three seconds later.
        case pending = "tok_pending"
        /// Declined; but the first seven answers, to whatever question, are about somebody else's money.
        case mixedUp = "tok_mixed_up"
        /// Nobody can be reached for a refund of it while there are faults. Not for ever: a refund that a process may have sent before
        /// it died is asked for until its outcome is known.
        case noRefunds = "tok_no_refunds"
        /// The first answer to a refund of it is lost after the money was given back.
        case refundUnknownOnce = "tok_refund_unknown_once"
    }

    private enum Behaviour: CaseIterable {
        case unknownBefore, unknownAfter, notSent, throttled, lands
        /// Somebody else answers at the provider's address, and knows nothing of it.
        case elsewhere
    }

    let incarnation: Incarnation

    private var world: World { incarnation.world }

    func perform(
        _ call: ProviderCall, at provider: Provider, as requestID: RequestID, in trace: TraceContext
    ) async -> ProviderReply {
        guard incarnation.isAlive else { return await incarnation.wait(orOnDeath: .unknown(.connectionLost)) { _ in } }
        let books = world.books
        let (number, asking) = books.with(call.reference) { entry in
            entry.askings += 1
            return (entry.number, entry.askings)
        }
        let name = "payment>\(provider.rawValue) \(call.name) \(number) #\(asking)"
        return await incarnation.wait(orOnDeath: .unknown(.connectionLost)) { answer in
            _ = world.points.pass("\(name) before asking", incarnation)
            guard incarnation.isAlive else { return }
            let behaviour = behaviour(name, call, asking)
            let time = world.chance.milliseconds("\(name) time", in: 5...50)
            func give(_ reply: ProviderReply, after wait: Duration) {
                world.scheduler.after(wait, incarnation) {
                    world.note("\(name) is answered: \(reply)")
                    _ = world.points.pass("\(name) before its answer arrives", incarnation)
                    answer.give(reply)
                }
            }
            switch behaviour {
            case nil:
                world.scheduler.after(time, nil) {
                    let reply = carryOut(call, provider)
                    give(call.isMixedUp && asking <= 7 ? call.aboutOtherMoney : reply, after: .milliseconds(5))
                }
            case .notSent: give(.notSent(.unreachable), after: time)
            case .elsewhere:
                switch call {
                case .payment, .refundStatus: give(.notFound, after: time)
                case .pay, .cancel, .refund: give(.refused(code: "not-found", detail: "no such page"), after: time)
                }
            case .throttled: give(.throttled(after: .seconds(2)), after: time)
            case .unknownBefore: give(.unknown(.timedOut), after: .seconds(1))
            case .unknownAfter:
                world.scheduler.after(time, nil) { _ = carryOut(call, provider) }
                give(.unknown(.timedOut), after: .seconds(1))
            case .lands:
                world.scheduler.after(.seconds(7), nil) { _ = carryOut(call, provider) }
                give(.unknown(.timedOut), after: .seconds(1))
            }
            _ = world.points.pass("\(name) after asking", incarnation)
        }
    }

    private func behaviour(_ name: String, _ call: ProviderCall, _ asking: Int) -> Behaviour? {
        switch call.token {
        case .unknownOnce where asking == 1: return .unknownAfter
        case .lost: return .unknownBefore
        case .late: return .lands
        case .unreachable: return .notSent
        default: break
        }
        if case .refund(let command) = call {
            switch world.books.entry(command.paymentReference)?.token {
            case .noRefunds where !world.faults.isOver.value: return .notSent
            case .refundUnknownOnce where asking == 1: return .unknownAfter
            default: break
            }
        }
        guard world.faults.happens("\(name): provider's fault", world.faults.rates.provider, in: world) else {
            return nil
        }
        var numbers = world.chance.generator("\(name) behaviour")
        return Behaviour.allCases.randomElement(using: &numbers)
    }

    private func carryOut(_ call: ProviderCall, _ provider: Provider) -> ProviderReply {
        let books = world.books
        if case .refund(let command) = call { return refund(command, provider) }
        return books.with(call.reference) { entry in
            switch call {
            case .pay(let command):
                guard entry.state == nil else { return entry.reply }
                entry.amount = command.amount.minorUnits
                entry.token = call.token
                switch call.token {
                case .declined, .mixedUp: entry.state = .declined
                case .pending:
                    entry.state = .underWay
                    world.scheduler.after(.seconds(3), nil) { settle(command.reference, provider) }
                default:
                    entry.state = .taken
                    tell(command.reference, provider, &entry)
                }
            case .cancel where entry.state == nil: entry.state = .closed
            case .payment, .cancel, .refund, .refundStatus: break
            }
            return entry.reply
        }
    }

    private func refund(_ command: ProviderRefundCommand, _ provider: Provider) -> ProviderReply {
        let books = world.books
        let amount = command.amount.minorUnits
        guard books.entry(command.reference)?.state == nil else { return .succeeded }
        let fits = books.with(command.paymentReference) { payment in
            guard payment.state == .taken, payment.refunded + amount <= payment.amount else { return false }
            payment.refunded += amount
            return true
        }
        guard fits else { return .refused(code: "refund-exceeds-payment", detail: "there is not so much left") }
        books.with(command.reference) { entry in
            entry.state = .taken
            entry.amount = amount
            tell(command.reference, provider, &entry)
        }
        return .succeeded
    }

    private func settle(_ reference: String, _ provider: Provider) {
        world.books.with(reference) { entry in
            entry.state = .taken
            tell(reference, provider, &entry)
        }
    }

    /// Tells Payment, twice and late, whether or not anybody is there.
    private func tell(_ reference: String, _ provider: Provider, _ entry: inout ProviderBooks.Entry) {
        let id = "message of \(entry.number)"
        for copy in 1...2 {
            let time = world.chance.milliseconds("\(id) #\(copy)", in: 1...4000)
            world.scheduler.after(time, nil) { [world] in
                guard let payment = world.node("payment")?.incarnation.value, let inbox = payment.inbox.value else {
                    return
                }
                _ = world.points.pass("\(id) #\(copy) before receiving", payment)
                payment.spawn { try? await inbox.take(id, reference, from: provider) }
            }
        }
    }
}

extension ProviderBooks.Entry {
    fileprivate var reply: ProviderReply {
        switch state {
        case .taken: .succeeded
        case .underWay: .pending
        case .declined: .declined(code: "card_declined")
        case .closed: .canceled
        case nil: .notFound
        }
    }
}

extension ProviderCall {
    fileprivate var reference: String {
        switch self {
        case .pay(let command): command.reference
        case .refund(let command): command.reference
        case .payment(let command), .cancel(let command): command.reference
        case .refundStatus(let command): command.reference
        }
    }

    fileprivate var token: SimulatedGateway.Token? {
        guard case .pay(let command) = self else { return nil }
        return command.token.flatMap { SimulatedGateway.Token(rawValue: $0) }
    }

    private var command: ProviderCommand? {
        switch self {
        case .pay(let command), .payment(let command), .cancel(let command): command
        case .refund, .refundStatus: nil
        }
    }

    fileprivate var isMixedUp: Bool { command?.token == SimulatedGateway.Token.mixedUp.rawValue }

    /// What is made of an answer under the right reference about a minor unit more.
    fileprivate var aboutOtherMoney: ProviderReply {
        guard let command,
            let other = try? command.amount.adding(Money(minorUnits: 1, currency: command.amount.currency))
        else { return .unknown(.garbled) }
        let answered = ProviderCommand(reference: command.reference, kind: command.kind, amount: other)
        let payment = ProviderPayment(
            id: "mixed up", command: answered, status: .succeeded, refunded: .zero(other.currency))
        return ProviderReply(payment, about: command)
    }
}
