import Correlation
import PaymentService
import ProviderAPI
import ServiceClient
import Storage

extension PlantedMistakes {
    /// Mistakes with payments through outside providers.
    static let payments: [Mistake] = [
        gateway("payment-unknown-is-nothing", "An answer of a provider that never came is taken for nothing taken.") {
            if case .unknown = $1 { return .notSent(.unreachable) }
            return $1
        },
        gateway("payment-unknown-is-success", "An answer of a provider that never came is taken for a yes.") {
            if case .unknown = $1 { return .succeeded }
            return $1
        },
        gateway("payment-closed-unasked", "A payment counts as closed whatever the provider says.") { call, reply in
            if case .cancel = call { return .canceled }
            return reply
        },
        gateway("payment-of-other-money", "An answer about another amount is taken for a yes.") {
            if case .contradicted = $1 { return .succeeded }
            return $1
        },
        gateway("payment-refund-unknown-is-refused", "An answer to a refund that never came is taken for a no.") {
            if case .refund = $0, case .unknown = $1 { return .refused(code: "refund-exceeds-payment", detail: "") }
            return $1
        },
        leftOut("payment-refund-not-counted", "A refund is made and not counted at its payment.", .payment) {
            $0.sql.hasPrefix("UPDATE payments SET refunding = refunding - ?1, refunded = refunded + ?1")
        },
        leftOut("payment-refund-not-set-aside", "A refund is begun and not set aside at its payment.", .payment) {
            $0.sql.hasPrefix("UPDATE payments SET refunding = refunding + ?1")
        }.with { $0.ignoresConstraints = true },
        leftOut("payment-refund-stays-set-aside", "What a refund that failed had set aside stays so.", .payment) {
            $0.sql.hasPrefix("UPDATE payments SET refunding = refunding - ?, fee_back")
        },
        posting("payment-not-held", "Money that goes out is not set aside.", "hold"),
        posting("payment-not-released", "Money of a payment that failed is not given back.", "release"),
        posting("payment-not-posted", "A payment out is settled and not entered.", "payout"),
        posting("payment-in-not-posted", "A payment in is settled and not entered.", "deposit"),
        leftOut("payment-not-settled", "What a provider has answered is not stored with its payment.", .payment) {
            $0.sql.hasPrefix("UPDATE payments SET status = ?, held = 0")
        },
        rewritten(
            "payment-held-for-ever", "What was held for a payment that has ended stays noted.", .payment,
            "UPDATE payments SET status = ?, held = 0,", "UPDATE payments SET status = ?,"
        ).with { $0.ignoresConstraints = true },
        Mistake("no-worker", "Nobody looks for payments that are due.").with {
            $0.deployment = { $0.without = ["payment worker"] }
        },
    ]

    private static func posting(_ name: String, _ sentence: String, _ type: String) -> Mistake {
        leftOut(name, sentence, .payment) {
            $0.sql.hasPrefix("INSERT INTO ledger_entries") && $0.arguments[1] == .text(type)
        }
    }

    private static func gateway(
        _ name: String, _ sentence: String, _ change: @escaping @Sendable (ProviderCall, ProviderReply) -> ProviderReply
    ) -> Mistake {
        Mistake(name, sentence).with { $0.gateway = { GatewaySeam(real: $0, change: change) } }
    }
}

/// Changes what the providers answer.
private struct GatewaySeam: ProviderGateway {
    let real: any ProviderGateway
    let change: @Sendable (ProviderCall, ProviderReply) -> ProviderReply

    func perform(
        _ call: ProviderCall, at provider: Provider, as requestID: RequestID, in trace: TraceContext
    ) async -> ProviderReply {
        change(call, await real.perform(call, at: provider, as: requestID, in: trace))
    }
}
