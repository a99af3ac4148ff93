import ServiceClient
import StrictJSON

extension String {
    /// At most so many Unicode scalars of the text, which is how `ObjectReader` counts.
    func cut(to length: Int) -> String {
        utf8.count <= length ? self : String(unicodeScalars.prefix(length))
    }
}

/// Why an order failed. Nothing is taken and nothing is held once it has ended.
public struct Failure: Hashable, Sendable {
    /// The kinds of failure; the raw value is stored.
    public enum Kind: String, Sendable {
        /// A service refused for a reason of the business: the code says which.
        case refused
        /// A service could not be reached, or said that it could not work.
        case unavailable
        /// A service did not answer in time.
        case timedOut
        /// A service answered nonsense.
        case garbled
        /// The goods were no longer reserved when they were to be handed over.
        case reservationLost
        /// The time was over before the charge could begin.
        case deadline
        /// An operator has withdrawn the order.
        case withdrawn
    }

    /// Which kind.
    public let kind: Kind
    /// The problem's code when `kind` is `refused`; else the kind again.
    public let code: String
    /// What happened, for a person.
    public let detail: String
    /// Why the payment was declined, if it was.
    public let declineCode: String?

    /// The longest code and the longest detail that are kept, in characters: what another service says is cut to what its
    /// saga can be stored with and read again.
    static let maximumCode = 64
    static let maximumDetail = 500

    /// A failure.
    public init(kind: Kind, code: String, detail: String, declineCode: String? = nil) {
        self.kind = kind
        self.code = code.isEmpty ? kind.rawValue : code.cut(to: Self.maximumCode)
        self.detail = detail.cut(to: Self.maximumDetail)
        self.declineCode = declineCode.flatMap { $0.isEmpty ? nil : $0.cut(to: Self.maximumCode) }
    }

    /// Another service refused.
    init(_ refusal: Refusal) {
        self.init(kind: .refused, code: refusal.code, detail: refusal.detail, declineCode: refusal.declineCode)
    }

    /// Another service gave no answer that could be used.
    init(_ trouble: CallTrouble, of service: String) {
        let (kind, detail): (Kind, String) =
            switch trouble {
            case .unreachable, .unavailable, .providerUnavailable: (.unavailable, "\(service) is not available.")
            case .queueFull: (.unavailable, "Too many commands for \(service) are waiting.")
            case .timedOut, .inProgress: (.timedOut, "\(service) did not answer in time.")
            case .connectionLost: (.unavailable, "The connection to \(service) broke.")
            case .garbled: (.garbled, "\(service) answered something that makes no sense.")
            }
        self.init(kind: kind, code: kind.rawValue, detail: detail)
    }

    /// Another service was not asked. That it did not answer would not be true of it (INV-10).
    static func notSent(_ trouble: CallTrouble, to service: String) -> Failure {
        trouble == .timedOut ? .deadline : Failure(trouble, of: service)
    }

    /// What is wrong with the lines of the command, if it is they; nil else. Stock's detail begins with the member, as that of every problem does
    /// (`Problem`), and carts have the same there. Of a single line nobody knows how the client has sent it.
    var fault: ValidationFailure? {
        guard detail.hasPrefix("#/lines"), detail.hasSuffix("."), let blank = detail.firstIndex(of: " ") else {
            return nil
        }
        return ValidationFailure(String(detail[..<blank]), String(detail[blank...].dropFirst().dropLast()))
    }

    /// Whether it was refused for what was asked for, and not for how things stood.
    var isInvalidCommand: Bool { kind == .refused && code == "validation-failed" }

    static let reservationLost = Failure(
        kind: .reservationLost, code: Kind.reservationLost.rawValue,
        detail: "The goods were no longer reserved when the payment was through; the payment was given back.")

    static let withdrawn = Failure(
        kind: .withdrawn, code: Kind.withdrawn.rawValue,
        detail: "The shop has withdrawn the order; whatever was paid for it is given back.")

    static let deadline = Failure(
        kind: .deadline, code: Kind.deadline.rawValue, detail: "The time was over before the payment could begin.")
}
