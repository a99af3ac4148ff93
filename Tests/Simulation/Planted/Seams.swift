import PaymentAPI
import PaymentService
import Resilience
import ServiceClient
import StockAPI
import Storage

/// What a mistake makes of a call that failed.
enum Misreading: Sendable {
    /// The failure, or another one.
    case failure(CallFailure)
    /// A success, where one has no content.
    case success
}

/// Stands in front of a client of Stock.
struct StockSeam: StockClient {
    enum Operation: Sendable { case reserve, complete, release }

    let real: any StockClient
    var command: @Sendable (ReserveCommand) -> ReserveCommand = { $0 }
    var misread: @Sendable (Operation, CallFailure) -> Misreading = { .failure($1) }

    func reserve(_ command: ReserveCommand, _ context: CallContext) async throws(CallFailure) -> ReservedGoods {
        do {
            return try await real.reserve(self.command(command), context)
        } catch {
            guard case .failure(let other) = misread(.reserve, error) else { throw error }
            throw other
        }
    }

    func complete(reservationID: String, _ context: CallContext) async throws(CallFailure) {
        do {
            try await real.complete(reservationID: reservationID, context)
        } catch {
            if case .failure(let other) = misread(.complete, error) { throw other }
        }
    }

    func release(reservationID: String, _ context: CallContext) async throws(CallFailure) {
        do {
            try await real.release(reservationID: reservationID, context)
        } catch {
            if case .failure(let other) = misread(.release, error) { throw other }
        }
    }
}

/// Stands in front of a client of Payment.
struct PaymentSeam: PaymentClient {
    enum Operation: Sendable { case charge, refund }

    let real: any PaymentClient
    var command: @Sendable (ChargeCommand, CallContext) -> ChargeCommand = { command, _ in command }
    var misread: @Sendable (Operation, CallFailure) -> Misreading = { .failure($1) }

    func charge(_ command: ChargeCommand, _ context: CallContext) async throws(CallFailure) {
        do {
            try await real.charge(self.command(command, context), context)
        } catch {
            if case .failure(let other) = misread(.charge, error) { throw other }
        }
    }

    func refund(_ command: RefundCommand, _ context: CallContext) async throws(CallFailure) {
        do {
            try await real.refund(command, context)
        } catch {
            if case .failure(let other) = misread(.refund, error) { throw other }
        }
    }
}

/// Stands in front of a provider.
struct ProviderSeam: CardProvider {
    let real: any CardProvider
    let misread: @Sendable (CardAnswer) -> CardAnswer

    func immediateAnswer(to charge: CardCharge) -> CardAnswer? { real.immediateAnswer(to: charge) }
    func immediateAnswer(to refund: CardRefund) -> CardAnswer? { real.immediateAnswer(to: refund) }
    func charge(_ charge: CardCharge) async -> CardAnswer { misread(await real.charge(charge)) }
    func refund(_ refund: CardRefund) async -> CardAnswer { misread(await real.refund(refund)) }
}
