import ProviderAPI
import Resilience
import Storage

/// When providers may be asked again that have named a time. What one says about one payment holds for all of its payments, and
/// for all workers: who goes on to ask for the others is turned away as well, and uses up their attempts.
extension PaymentRecords {
    /// Notes that a provider wants to be left alone. A longer pause is not shortened, unless it is longer than any can be: that one
    /// was stored before the clock was set back (hazard 37).
    func pause(_ provider: Provider, for pause: Duration, at now: Timestamp) throws {
        try transaction.run(
            """
            INSERT INTO provider_pauses (provider, until) VALUES (?1, ?2)
            ON CONFLICT (provider) DO UPDATE SET until = iif(until > ?3, excluded.until, max(until, excluded.until))
            """,
            [
                .text(provider.rawValue), .integer(now.advanced(by: pause).milliseconds),
                .integer(now.advanced(by: ProviderTask.longestRetryAfter).milliseconds),
            ])
    }

    /// Until when a provider wants to be left alone; nil if it does not.
    func pauseEnd(of provider: Provider, at now: Timestamp) throws -> Timestamp? {
        try lastPauseEnd(of: provider, at: now).flatMap { $0 > now ? $0 : nil }
    }

    /// When the pause that a provider has asked for last ends, or has ended; nil if it never has.
    func lastPauseEnd(of provider: Provider, at now: Timestamp) throws -> Timestamp? {
        try transaction.first(
            "SELECT until FROM provider_pauses WHERE provider = ? AND until <= ?",
            [
                .text(provider.rawValue),
                .integer(now.advanced(by: ProviderTask.longestRetryAfter).milliseconds),
            ]
        ) { Timestamp(milliseconds: $0.integer(0)) }
    }
}
