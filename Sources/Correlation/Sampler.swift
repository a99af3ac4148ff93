/// Chooses the traces that are recorded (`OTEL_TRACES_SAMPLER` of the OpenTelemetry specification): a share of them, by their
/// ids, so that every service chooses the same ones without asking the others.
public struct Sampler: Sendable, Equatable {
    /// Of 2^63 ids that can be, how many are chosen.
    private let chosen: UInt64
    /// Whether a trace that somebody else has begun is recorded exactly if they say so.
    public let followsParent: Bool

    /// A sampler. - Parameter share: of the traces, from 0 (none) to 1 (all); what lies beyond counts as the nearer of them.
    public init(share: Double, followsParent: Bool) {
        chosen = share >= 1 ? 1 << 63 : UInt64(max(0, share) * 0x1p63)
        self.followsParent = followsParent
    }

    /// All traces, unless their beginner says otherwise: the standard's default.
    public static let parentBasedAlwaysOn = Sampler(share: 1, followsParent: true)

    /// Whether a trace is recorded.
    ///
    /// - Parameters:
    ///   - traceLow: the low half of its id, of which the upper 63 bits count, as in other implementations of `traceidratio`.
    ///   - parentIsSampled: what the caller says; nil when the trace begins here.
    func records(_ traceLow: UInt64, parentIsSampled: Bool?) -> Bool {
        if followsParent, let parentIsSampled { return parentIsSampled }
        return traceLow >> 1 < chosen
    }
}
