import Money
import ServiceClient
import StrictJSON

/// What a provider has said to one asking, or has not.
public enum ProviderReply: Hashable, Sendable {
    /// The money has moved, and is where it was moved to.
    case succeeded
    /// The provider has taken it up and settles it by itself: ask again, or wait for its message.
    case pending
    /// No money has moved and none will; the provider keeps that under the reference.
    case declined(code: String)
    /// Nothing was taken under the reference, and nothing ever will be.
    case canceled
    /// Nothing was taken under the reference so far. An earlier asking may still arrive: only a cancel makes that harmless.
    case notFound
    /// Another refusal, by the code of its problem. It says nothing of what an earlier asking did, unless the code does.
    case refused(code: String, detail: String)
    /// This asking took nothing; ask again after the wait.
    case throttled(after: Duration?)
    /// This asking never left this process.
    case notSent(CallTrouble)
    /// This asking may have been taken: ask, never guess.
    case unknown(CallTrouble, after: Duration? = nil)
    /// An answer about other money than was asked about, as is said for a person: a fault of the provider's, which settles nothing.
    case contradicted(String)
}

extension ProviderReply {
    private static let unspecifiedDecline = "unspecified"

    /// What a payment at the provider says of the command that it should be about.
    public init(_ payment: ProviderPayment, about command: ProviderCommand) {
        guard payment.command.reference == command.reference else {
            self = .unknown(.garbled)
            return
        }
        guard payment.command.kind == command.kind, payment.command.amount == command.amount else {
            self = .contradicted("\(payment.command.summary) instead of \(command.summary)")
            return
        }
        // No refund of ours can be there before we know of the payment's success: somebody else has given it back.
        guard payment.refunded.minorUnits == 0 else {
            let back = "\(payment.refunded.minorUnits) of which were given back"
            self = .contradicted("\(payment.command.summary), \(back), instead of \(command.summary)")
            return
        }
        switch payment.status {
        case .pending: self = .pending
        case .succeeded, .refunded: self = .succeeded
        case .declined: self = .declined(code: payment.declineCode ?? Self.unspecifiedDecline)
        }
    }

    init(_ answer: ProviderClient.Answer, about command: ProviderCommand) {
        switch answer {
        case .value(let json):
            if Self.isCanceled(json, reference: command.reference) {
                self = .canceled
            } else if let payment = try? ProviderPayment(json: json) {
                self.init(payment, about: command)
            } else {
                self = .unknown(.garbled)
            }
        case .problem(402, let refusal) where refusal.code == "payment-declined":
            self = .declined(code: refusal.bounded.declineCode ?? Self.unspecifiedDecline)
        case .problem(409, let refusal) where refusal.code == "payment-canceled": self = .canceled
        case .problem(_, let refusal): self.init(refusal)
        case .noAnswer(let reply): self = reply
        }
    }

    init(_ answer: ProviderClient.Answer, about command: ProviderRefundCommand) {
        switch answer {
        case .value(let json):
            guard let refund = try? ProviderRefund(json: json), refund.command.reference == command.reference else {
                self = .unknown(.garbled)
                return
            }
            let isThis = refund.command == command
            self = isThis ? .succeeded : .contradicted("\(refund.command.summary) instead of \(command.summary)")
        case .problem(_, let refusal): self.init(refusal)
        case .noAnswer(let reply): self = reply
        }
    }

    private init(_ refusal: Refusal) {
        let refusal = refusal.bounded
        self = .refused(code: refusal.code, detail: refusal.detail)
    }

    private static func isCanceled(_ json: JSONNode, reference: String) -> Bool {
        guard var reader = try? ObjectReader(json) else { return false }
        return reader.reference("reference") == reference
            && reader.string("status", length: 1...64) == ProviderPayment.canceledStatus
    }
}

extension Refusal {
    /// Characters of a detail that are kept.
    static let detailLimit = 300

    /// The same with codes that are words, and a detail of some lines: what a provider writes is stored, shown and logged.
    fileprivate var bounded: Refusal {
        Refusal(
            code: Self.word(code) ?? "unspecified", detail: String(detail.prefix(Self.detailLimit)),
            declineCode: declineCode.flatMap(Self.word))
    }

    private static func word(_ text: String) -> String? {
        let isWord = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        return isWord && (1...64).contains(text.utf8.count) ? text : nil
    }
}

extension ProviderCommand {
    /// For a person; short, whatever is in it.
    fileprivate var summary: String { "\(kind.rawValue) of \(amount.minorUnits) \(amount.currency.code)" }
}

extension ProviderRefundCommand {
    /// For a person; short, whatever is in it.
    fileprivate var summary: String {
        "refund of \(amount.minorUnits) \(amount.currency.code) of \(paymentReference)"
    }
}
