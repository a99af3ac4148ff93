import Money
import PaymentAPI
import StockAPI
import Synchronization
import TestSupport

@testable import OrderService
@testable import ServiceClient

/// The calls that Order makes, without their arguments.
enum Operation: Hashable, Sendable {
    case reserve, charge, complete, release, refund
}

/// One call that Order made.
enum RecordedCall: Equatable, Sendable {
    case reserve(ReserveCommand)
    case charge(ChargeCommand)
    case complete(reservationID: String)
    case release(reservationID: String)
    case refund(RefundCommand)

    var operation: Operation {
        switch self {
        case .reserve: .reserve
        case .charge: .charge
        case .complete: .complete
        case .release: .release
        case .refund: .refund
        }
    }
}

/// What becomes of one call.
indirect enum Reply: Sendable {
    /// It has its effect, if the state of things allows it, and is answered.
    case answer
    /// It is refused whatever the state of things.
    case refuse(Refusal)
    /// It has its effect, and the answer is lost.
    case commitThenLose(CallTrouble)
    /// It has no effect, but its caller cannot know that.
    case lose(CallTrouble)
    /// It never leaves its caller.
    case notSent(CallTrouble)
    /// It has no effect, and the service says so.
    case notExecuted(CallTrouble, retryAfter: Duration? = nil)
    /// It arrives, waits at a gate, and then goes on as another reply.
    case wait(Gate, then: Reply)
}

/// Stock and Payment in one: they keep their promises (ids, tombstones, final states), note every call in order, and
/// follow a script where a test gives them one.
final class FakeShop: StockClient, PaymentClient {
    enum ReservationState: Sendable { case reserved, completed, canceled }
    /// `others`: other money than the order's, taken by a command that came directly.
    enum ChargeState: Sendable { case taken, returned, canceled, others }

    private struct State {
        var calls: [RecordedCall] = []
        var contexts: [CallContext] = []
        var scripts: [Operation: @Sendable (Int) -> Reply] = [:]
        var counts: [Operation: Int] = [:]
        var reservations: [String: ReservationState] = [:]
        var charges: [String: ChargeState] = [:]
        var running = 0
        var mostRunning = 0
    }

    /// The price of one of anything.
    static let unitPrice = Money(minorUnits: 1000, currency: .usd)

    private let state = Mutex(State())
    /// How many commands its callers are told that each request has carried.
    let batchSize = Mutex(1)

    /// Every call so far, in order.
    var calls: [RecordedCall] { state.withLock { $0.calls } }
    /// What every call was, in order.
    var operations: [Operation] { calls.map(\.operation) }
    /// The context of every call.
    var contexts: [CallContext] { state.withLock { $0.contexts } }
    /// How many calls were under way at the same time, at the most.
    var mostRunning: Int { state.withLock { $0.mostRunning } }
    /// Charges that took money and have not given it back.
    var unreturnedCharges: [String] {
        state.withLock { state in state.charges.filter { $0.value == .taken }.keys.sorted() }
    }

    func reservation(_ id: String) -> ReservationState? { state.withLock { $0.reservations[id] } }
    func charge(_ id: String) -> ChargeState? { state.withLock { $0.charges[id] } }

    /// Gives the calls of an operation their replies, in order; later ones are answered.
    func script(_ operation: Operation, _ replies: Reply...) {
        script(operation) { $0 <= replies.count ? replies[$0 - 1] : .answer }
    }

    /// Gives each call of an operation its reply. - Parameter reply: is given the call's number, from 1.
    func script(_ operation: Operation, _ reply: @escaping @Sendable (Int) -> Reply) {
        state.withLock { $0.scripts[operation] = reply }
    }

    /// What an earlier process has done.
    func arrange(reservation id: String, _ state: ReservationState) {
        self.state.withLock { $0.reservations[id] = state }
    }

    /// What an earlier process has done.
    func arrange(charge id: String, _ state: ChargeState) { self.state.withLock { $0.charges[id] = state } }

    // MARK: - Calls

    func reserve(_ command: ReserveCommand, _ context: CallContext) async throws(CallFailure) -> ReservedGoods {
        try await perform(.reserve(command), context) { state throws(CallFailure) in
            if state.reservations[command.reservationID] == .canceled { throw Self.conflict }
            state.reservations[command.reservationID] = state.reservations[command.reservationID] ?? .reserved
        }
        return Self.goods(command.lines)
    }

    func complete(reservationID: String, _ context: CallContext) async throws(CallFailure) {
        try await perform(.complete(reservationID: reservationID), context) { state throws(CallFailure) in
            if state.reservations[reservationID] == .canceled { throw Self.conflict }
            state.reservations[reservationID] = .completed
        }
    }

    func release(reservationID: String, _ context: CallContext) async throws(CallFailure) {
        try await perform(.release(reservationID: reservationID), context) { state throws(CallFailure) in
            if state.reservations[reservationID] == .completed { throw Self.conflict }
            state.reservations[reservationID] = .canceled
        }
    }

    func charge(_ command: ChargeCommand, _ context: CallContext) async throws(CallFailure) {
        try await perform(.charge(command), context) { state throws(CallFailure) in
            switch state.charges[command.chargeID] {
            case .canceled, .others: throw .refused(.chargeConflict)
            case .taken, .returned, nil: break
            }
            state.charges[command.chargeID] = state.charges[command.chargeID] ?? .taken
        }
    }

    func refund(_ command: RefundCommand, _ context: CallContext) async throws(CallFailure) {
        try await perform(.refund(command), context) { state throws(CallFailure) in
            switch state.charges[command.chargeID] {
            case .taken, .others: state.charges[command.chargeID] = .returned
            case nil: state.charges[command.chargeID] = .canceled
            case .returned, .canceled: break
            }
        }
    }

    static func goods(_ lines: [LineRequest]) -> ReservedGoods {
        let quantity = lines.reduce(0) { $0 + $1.quantity }
        return ReservedGoods(
            total: Money(minorUnits: unitPrice.minorUnits * quantity, currency: unitPrice.currency),
            lines: lines.map { ReservedLine(itemID: $0.itemID, quantity: $0.quantity, unitPrice: unitPrice) })
    }

    private static let conflict = CallFailure.refused(
        Refusal(code: "reservation-state-conflict", detail: "The reservation is in another state."))

    private func perform(
        _ call: RecordedCall, _ context: CallContext, _ effect: @Sendable (inout State) throws(CallFailure) -> Void
    ) async throws(CallFailure) {
        var reply: Reply = state.withLock { state in
            state.calls.append(call)
            state.contexts.append(context)
            state.counts[call.operation, default: 0] += 1
            state.running += 1
            state.mostRunning = max(state.mostRunning, state.running)
            return state.scripts[call.operation]?(state.counts[call.operation, default: 0]) ?? .answer
        }
        context.tally?.note(batchSize.withLock { $0 })
        defer { state.withLock { $0.running -= 1 } }
        while case .wait(let gate, let next) = reply {
            await gate.pass()
            reply = next
        }
        switch reply {
        case .answer: try apply(effect)
        case .refuse(let refusal): throw .refused(refusal)
        case .commitThenLose(let trouble):
            try apply(effect)
            throw .unknown(trouble)
        case .lose(let trouble): throw .unknown(trouble)
        case .notSent(let trouble): throw .notSent(trouble)
        case .notExecuted(let trouble, let retryAfter): throw .notExecuted(trouble, retryAfter: retryAfter)
        case .wait: preconditionFailure("the loop above has taken every gate away")
        }
    }

    private func apply(_ effect: (inout State) throws(CallFailure) -> Void) throws(CallFailure) {
        try state.withLock { state throws(CallFailure) in try effect(&state) }
    }
}

extension Refusal {
    static let invalidTotal = Refusal(
        code: "validation-failed", detail: "#/lines makes a total that is too large.")
    static let insufficientStock = Refusal(code: "insufficient-stock", detail: "Item 1: 2 asked for, 1 available.")
    static let itemNotFound = Refusal(code: "item-not-found", detail: "There is no item 1.")
    static let declined = Refusal(
        code: "payment-declined", detail: "The payment was declined.", declineCode: "card_declined")
    static let chargeConflict = Refusal(code: "charge-state-conflict", detail: "The id was used for another charge.")
    static let conflict = Refusal(code: "reservation-state-conflict", detail: "The reservation was canceled.")
}
