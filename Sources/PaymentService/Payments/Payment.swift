import Money
import ProviderAPI
import Resilience

/// Money that moves between a wallet and the outside through a provider; or the refund of such a payment, which is one too.
struct Payment: Hashable, Sendable {
    /// The kinds; the raw value is stored and shown.
    enum Kind: String, CaseIterable, Sendable {
        /// From the customer's means of payment into the wallet.
        case deposit
        /// From the wallet to the customer.
        case withdraw
        /// From the wallet to somebody outside.
        case externalPayment = "external_payment"
        /// All or a part of one of the others, on the way back.
        case refund

        /// What a client can ask for at `POST /payments`.
        static let requestable: [Kind] = [.deposit, .withdraw, .externalPayment]

        /// Whether we earn `TRANSACTION_FEE` by it.
        var hasFee: Bool { self == .deposit || self == .withdraw }
    }

    /// The states; the raw value is stored and shown. A status never goes backwards: the database sees to it.
    enum Status: String, CaseIterable, Sendable {
        /// Nobody has taken it up; it can be canceled.
        case new
        /// The provider was or will be asked, and what it did is not known yet.
        case processing
        case succeeded
        /// No money has moved outside and none will.
        case failed
        case canceled
        case partiallyRefunded = "partially_refunded"
        case refunded

        /// Whether its end is still to come.
        var isOpen: Bool { self == .new || self == .processing }
        /// Whether there is something that could be given back.
        var isRefundable: Bool { self == .succeeded || self == .partiallyRefunded }
    }

    /// Which way the money goes, as the wallet sees it.
    enum Direction: String, Sendable {
        /// Into the wallet, once the provider has taken it.
        case inwards = "in"
        /// Out of the wallet before the provider is asked, and back if the provider does not take it.
        case outwards = "out"
    }

    /// The identity at the provider too, for ever: made and stored before the first call (docs/design.md, rule 2).
    let id: String
    let kind: Kind
    let direction: Direction
    /// Whose wallet it is.
    let user: String
    /// The user in whose name it was asked for; empty when the request named none.
    let madeBy: String
    /// The wallet's number in the ledger.
    let wallet: Int64
    /// The wallet's id, as clients know it.
    let accountID: String
    let provider: Provider
    /// What moves outside.
    let amount: Money
    /// What we earn by it; of a refund, what we give back of what we earned. Minor units, never more than the amount.
    let fee: Int64
    /// What the rounding of the fee left over, in 10⁻⁹ of a minor unit.
    let feeRemainder: Int64
    /// The customer's means of payment, if it is not the usual one.
    let token: String?
    /// Of a refund: the payment.
    let refundOf: String?
    /// The payment in the dead letters that this one was made anew for.
    let retryOf: String?
    let createdAt: Timestamp
    /// By which request it was made; nil if a version before made it.
    let origin: PaymentOrigin?

    var status: Status
    /// How far it is with the provider.
    var task: ProviderTask
    /// When it is taken up next; while somebody is at work on it, when they are given up.
    var dueAt: Timestamp
    /// Who is at work on it.
    var leaseOwner: String?
    /// Counts how often it was taken up: what was taken up before changes nothing any more (hazard 18).
    var epoch: Int64
    /// What is in clearing for it, in minor units.
    var held: Int64
    /// Minor units that refunds are about to give back.
    var refunding: Int64
    /// Minor units that were given back.
    var refunded: Int64
    /// What refunds give back of the fee, those under way included.
    var feeBack: Int64
    /// Why the last asking brought no success, for a person.
    var lastError: String?
    /// Why the provider declined.
    var declineCode: String?
    var updatedAt: Timestamp
    /// What the provider said at the last asking in its own words, for operators alone.
    var lastDetail: String?
    /// Whether a message of the provider has said that the money has moved. Only an answer to our own question settles that; until then the
    /// payment counts as one that may have been taken.
    var isSaidToHaveMoved = false

    /// Whether it is old enough to be given up for want of an answer; one that seems to be made further in the future than that was made before
    /// the clock was set back (hazard 37).
    func mayEnd(at now: Timestamp, after patience: Duration) -> Bool {
        now >= createdAt.advanced(by: patience) || createdAt > now.advanced(by: patience)
    }

    /// What can still be given back, in minor units.
    var refundable: Int64 { amount.minorUnits - refunding - refunded }

    /// What a refund of so much gives back of the fee: in proportion to all that was given back with it, so that the parts of a
    /// whole refund add up to the whole fee, whatever the rounding of each.
    func feeBack(for part: Int64) -> Int64 {
        let total = Int128(refunding + refunded + part) * Int128(fee)
        var (share, rest) = total.quotientAndRemainder(dividingBy: Int128(amount.minorUnits))
        rest *= 2
        let isAboveHalf = rest > Int128(amount.minorUnits)
        if isAboveHalf || rest == Int128(amount.minorUnits) && !share.isMultiple(of: 2) { share += 1 }
        // A part that failed has left a rounding of its own behind.
        return Int64(min(max(share - Int128(feeBack), 0), Int128(part)))
    }

    /// What the provider is asked next.
    var call: ProviderCall {
        if let refundOf {
            let command = ProviderRefundCommand(reference: id, paymentReference: refundOf, amount: amount)
            return task.phase == .send ? .refund(command) : .refundStatus(command)
        }
        let command = ProviderCommand(
            reference: id, kind: kind == .deposit ? .charge : .payout, amount: amount, token: token)
        return switch task.phase {
        case .send: .pay(command)
        case .ask: .payment(command)
        case .close: .cancel(command)
        }
    }
}

extension Payment {
    /// A payment that nobody has heard of before.
    init(
        id: String, kind: Kind, direction: Direction, _ wallet: Wallet, madeBy: String, _ provider: Provider,
        _ amount: Money, fee: Int64, feeRemainder: Int64, token: String?, refundOf: String? = nil,
        retryOf: String? = nil, origin: PaymentOrigin? = nil, at now: Timestamp
    ) {
        self.init(
            id: id, kind: kind, direction: direction, user: wallet.user, madeBy: madeBy, wallet: wallet.number,
            accountID: wallet.id, provider: provider, amount: amount, fee: fee, feeRemainder: feeRemainder,
            token: token, refundOf: refundOf, retryOf: retryOf, createdAt: now, origin: origin, status: .new,
            task: ProviderTask(isRefund: kind == .refund), dueAt: now, leaseOwner: nil, epoch: 0, held: 0,
            refunding: 0, refunded: 0, feeBack: 0, lastError: nil, declineCode: nil, updatedAt: now)
    }
}
