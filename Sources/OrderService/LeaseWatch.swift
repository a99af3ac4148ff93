import Synchronization

/// Tells dead owners from living ones without trusting anybody's clock: an owner is silent when the store has shown no sign of
/// life of it for the length of a lease, by this process's own monotonic clock (hazard 37).
final class LeaseWatch: Sendable {
    private let firstSeen = Mutex<[WaitingSaga: Duration]>([:])

    /// Of these sagas, those whose owner has been silent for `lease`.
    ///
    /// - Parameters:
    ///   - found: what the store shows now. What it no longer shows is forgotten, which bounds the memory.
    ///   - now: the monotonic clock.
    func silent(_ found: [WaitingSaga], for lease: Duration, now: Duration) -> [WaitingSaga] {
        firstSeen.withLock { firstSeen in
            let before = firstSeen
            firstSeen = [:]
            // A saga with another epoch or beat is another key: its owner lives.
            for saga in found { firstSeen[saga] = before[saga] ?? now }
            return found.filter { saga in before[saga].map { now - $0 >= lease } ?? false }
        }
    }
}
