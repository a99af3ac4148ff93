import Resilience
import ServiceKit

/// What became of the attempt to begin a checkout under a key.
package enum CheckoutClaim: Equatable, Sendable {
    /// The key was free, forgotten or failed, and stands for the caller's order now: run it.
    case started
    /// The checkout was completed: answer its receipt again, to the byte (IK-11).
    case completed(receipt: [UInt8])
    /// An operator has withdrawn what was ordered.
    case withdrawn
    /// The key's checkout has not ended (IK-15).
    case inProgress
    /// The key was used for another command (IK-13).
    case mismatch

    var counted: KeyCounters.Result {
        switch self {
        case .started: .first
        case .completed, .withdrawn: .replayed
        case .inProgress: .inProgress
        case .mismatch: .mismatch
        }
    }
}

/// A key that an order was begun under, as somebody asks for a checkout under it again.
package struct UsedKey: Sendable {
    /// What has become of the order.
    package enum Outcome: Sendable {
        case inProgress
        case completed(receipt: [UInt8])
        case withdrawn
        case failed
        /// Refused for what was asked for, and not for how things stood, like a total that is too large: that binds no key (IK-17).
        case invalid
    }

    package var outcome: Outcome
    /// Whether the same is asked for as then (IK-12).
    package var isSameCommand: Bool
    /// Whether it ended so long ago that its key is free again (IK-25).
    package var isForgotten: Bool

    /// What is answered; nil if another order is to begin under the key, as the attempt after this one.
    package var claim: CheckoutClaim? {
        if isForgotten { return nil }
        if case .invalid = outcome { return nil }
        if !isSameCommand { return .mismatch }
        switch outcome {
        case .inProgress: return .inProgress
        case .completed(let receipt): return .completed(receipt: receipt)
        // An outcome like an order, which the key goes on standing for: a client that asks again must not order anew what the shop has
        // just taken back.
        case .withdrawn: return .withdrawn
        case .failed, .invalid: return nil
        }
    }

    /// - Parameters:
    ///   - known: the last order that was begun under the key.
    ///   - asked: the one that would be begun now.
    ///   - timeToLive: how long a key is remembered once its order has ended.
    init(_ known: Order, askedFor asked: Order, timeToLive: Duration) {
        outcome =
            switch known.record.step {
            case .reserving, .charging, .completing, .releasing, .canceling, .refunding: .inProgress
            case .completed(let goods): .completed(receipt: known.receipt(for: goods))
            case .failed(let failure) where failure.kind == .withdrawn: .withdrawn
            case .failed(let failure): failure.isInvalidCommand ? .invalid : .failed
            }
        let (command, other) = (known.record.plan, asked.record.plan)
        isSameCommand = command.lines == other.lines && command.method == other.method
        isForgotten = known.status != .pending && known.updatedAt.advanced(by: timeToLive) <= asked.createdAt
    }
}

/// Decides what a used key answers; replaced only by tests that plant a mistake.
package typealias KeyDecision = @Sendable (UsedKey) -> CheckoutClaim?
