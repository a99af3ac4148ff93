import OrderService
import PaymentService
import Resilience
import Storage

extension PlantedMistakes {
    /// Mistakes with keys, the provider, the order of things, and settings.
    static let others: [Mistake] = [
        key("fingerprint-unchecked", "A key is answered whatever the command is.") { $0.isSameCommand = true },
        key("processing-key-is-free", "A key whose checkout is under way may be used again.") {
            if case .inProgress = $0.outcome { $0.outcome = .failed }
        },
        key("success-not-replayed", "A key that has succeeded is executed again.") {
            if case .completed = $0.outcome { $0.outcome = .failed }
        },
        key("failure-is-in-progress", "A failed checkout leaves its key in progress.") {
            if case .failed = $0.outcome { $0.outcome = .inProgress }
        },
        key("other-bytes-replayed", "A replay differs from the first answer in a space.") {
            if case .completed(let receipt) = $0.outcome {
                $0.outcome = .completed(receipt: receipt + [UInt8(ascii: " ")])
            }
        },
        Mistake("keys-forgotten-too-soon", "A key is remembered for a shorter time than its client asks again.").with {
            $0.deployment = { $0.keyTimeToLive = .milliseconds(500) }
        },
        Mistake("answered-before-durable", "Order goes on before what it has decided is on the disk.").with {
            $0.acknowledgesEarly = true
        },
        Mistake("no-recovery", "What an earlier process has left is not taken up.").with {
            $0.deployment = { $0.without = ["recovery"] }
        },
        lostDriver.with { $0.deployment = { $0.without = ["orphaned sagas"] } },
        provider("unknown-is-declined", "A provider's answer that never came is taken for a no.") {
            $0 == .unknown ? .declined(.cardDeclined) : $0
        },
        provider("unknown-is-unavailable", "A provider's answer that never came is taken for nothing moved.") {
            $0 == .unknown ? .unavailable : $0
        },
        provider("unknown-is-approved", "A provider's answer that never came is taken for a yes.") {
            $0 == .unknown ? .approved : $0
        },
        provider("unavailable-is-approved", "A provider that is not available is taken for one that has paid.") {
            $0 == .unavailable ? .approved : $0
        },
        provider("declined-is-unavailable", "A provider's no is taken for try again.") {
            if case .declined = $0 { return .unavailable }
            return $0
        },
    ]

    /// Who takes an order over for the first time does not learn that it has: the order is its own, and it drives it not. What
    /// is wrong with that is seen only without the net that is there for it.
    static let lostDriver = Mistake(
        "driver-lost", "An order is taken over, and then nobody drives it."
    ).with {
        $0.statement = { statement in
            var statement = statement
            guard statement.role == .order, statement.sql.hasPrefix("UPDATE orders SET owner = ?, epoch = ?"),
                statement.arguments[1] == .integer(2), let end = statement.sql.firstRange(of: "RETURNING")
            else { return statement }
            statement.sql.removeSubrange(end.lowerBound...)
            return statement
        }
    }

    private static func key(
        _ name: String, _ sentence: String, _ misread: @escaping @Sendable (inout UsedKey) -> Void
    ) -> Mistake {
        Mistake(name, sentence).with {
            $0.decideOnKey = { known in
                var known = known
                misread(&known)
                return known.claim
            }
        }
    }

    private static func provider(
        _ name: String, _ sentence: String, _ misread: @escaping @Sendable (CardAnswer) -> CardAnswer
    ) -> Mistake {
        Mistake(name, sentence).with { $0.provider = { ProviderSeam(real: $0, misread: misread) } }
    }
}
