import Crypto
import Money
import ProviderAPI

/// How the provider treats its callers. A value: what happens to a request follows from the seed and the request alone, whatever
/// else goes on at the time, so that a run can be had again.
struct Behaviour: Sendable {
    /// What becomes of a payment once it is taken up.
    enum Verdict: Equatable, Sendable {
        case succeed
        case decline(code: String)
        /// Left open; settled later, by a decline if there is a code.
        case pend(declineCode: String?)
    }

    /// What happens to a request before it is looked at.
    enum Entry: Equatable, Sendable {
        case take
        /// Turned away with a 429.
        case throttle
        /// A 500, and nothing was done.
        case fail
        /// Held up on its way, then looked at.
        case hold
    }

    /// What happens to the answer.
    enum Exit: Equatable, Sendable {
        case answer
        /// Held back until the caller has given up.
        case hold
        /// A 500 in its place.
        case fail
    }

    /// What happens to one request.
    struct Handling: Equatable, Sendable {
        /// How long the provider thinks.
        var delay = Duration.zero
        var entry = Entry.take
        var exit = Exit.answer
    }

    /// Names a request among all others: the same caller asking the same again is another asking.
    struct Asking: Hashable, Sendable {
        let provider: Provider
        let operation: String
        let reference: String
        /// From 1.
        let number: Int
    }

    /// The share of requests that get a 500 and do nothing.
    var errorRate = 0.0
    /// The share of requests that get a 429 and do nothing.
    var throttleRate = 0.0
    /// The share of payments and refunds that are done and whose answer is held back.
    var timeoutRate = 0.0
    /// How long the provider thinks, at least and at most.
    var delay = Duration.zero...Duration.zero
    /// Amounts are declined whose last two digits in minor units are these; nil declines none for its amount.
    var declinedEnding: Int?
    /// The share of messages that are sent twice.
    var duplicateRate = 0.0
    /// The share of messages that are held back so that later ones overtake them.
    var reorderRate = 0.0
    /// Equal seeds make equal choices.
    var seed: UInt64 = 0

    /// What becomes of a payment.
    func verdict(on command: ProviderCommand) -> Verdict {
        guard let token = TestToken(rawValue: command.token ?? TestToken.visa.rawValue) else {
            return .decline(code: DeclineCode.tokenNotSupported)
        }
        switch token {
        case .declined: return .decline(code: DeclineCode.cardDeclined)
        case .insufficientFunds: return .decline(code: DeclineCode.insufficientFunds)
        case .expiredCard: return .decline(code: DeclineCode.expiredCard)
        case .pending: return .pend(declineCode: nil)
        case .pendingDeclined: return .pend(declineCode: DeclineCode.cardDeclined)
        case .visa, .errorOnce, .error, .rateLimited, .timeoutAfterCommit, .errorAfterCommit, .late:
            let ending = Int(command.amount.minorUnits % 100)
            return ending == declinedEnding ? .decline(code: DeclineCode.cardDeclined) : .succeed
        }
    }

    /// What happens to a request. - Parameter token: of a payment; nil for every other request.
    func handling(_ asking: Asking, token: String? = nil, movesMoney: Bool) -> Handling {
        let draws = Draws(seed, "\(asking.provider)/\(asking.operation)/\(asking.reference)/\(asking.number)")
        var handling = Handling()
        handling.delay = delay.lowerBound + (delay.upperBound - delay.lowerBound) * draws[1]
        let isFirst = asking.number == 1
        switch token.flatMap({ TestToken(rawValue: $0) }) {
        case .error: handling.entry = .fail
        case .errorOnce where isFirst: handling.entry = .fail
        case .rateLimited where isFirst: handling.entry = .throttle
        case .late where isFirst: handling.entry = .hold
        case .timeoutAfterCommit: handling.exit = .hold
        case .errorAfterCommit: handling.exit = .fail
        default: handling.meet(draws[0], self, movesMoney: movesMoney)
        }
        return handling
    }

    /// How often a message is sent, and whether later ones overtake it.
    func delivery(_ provider: Provider, type: String, reference: String) -> (copies: Int, isHeldBack: Bool) {
        let draws = Draws(seed, "\(provider)/webhook/\(type)/\(reference)")
        return (draws[0] < duplicateRate ? 2 : 1, draws[1] < reorderRate)
    }
}

extension Behaviour.Handling {
    /// One draw decides between the faults, so that their rates add up.
    fileprivate mutating func meet(_ draw: Double, _ behaviour: Behaviour, movesMoney: Bool) {
        if draw < behaviour.errorRate {
            entry = .fail
        } else if draw < behaviour.errorRate + behaviour.throttleRate {
            entry = .throttle
        } else if movesMoney, draw < behaviour.errorRate + behaviour.throttleRate + behaviour.timeoutRate {
            exit = .hold
        }
    }
}

/// Numbers from 0 to below 1 that follow from a seed and a name.
private struct Draws {
    private let digest: [UInt8]

    init(_ seed: UInt64, _ name: String) {
        digest = Array(SHA256.hash(data: Array("\(seed)/\(name)".utf8)))
    }

    /// One of four.
    subscript(index: Int) -> Double {
        let bytes = digest[8 * index..<8 * index + 8]
        let number = bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return Double(number >> 11) / Double(UInt64(1) << 53)
    }
}
