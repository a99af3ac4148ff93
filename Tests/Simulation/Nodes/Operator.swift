import GRDB
import PaymentService

/// An operator who looks at the dead letters from time to time, and has the oldest made anew.
struct Operator: Sendable {
    let incarnation: Incarnation
    let disk: Disk

    /// The oldest dead letter, while there are any that this operator still resolves.
    static func next(_ limit: Int) -> String {
        """
        SELECT payment_id FROM dead_letters WHERE resolution IS NULL
            AND \(limit) > (SELECT count(*) FROM dead_letters WHERE resolution IS NOT NULL) ORDER BY payment_id LIMIT 1
        """
    }

    func run(_ parts: PaymentService.Parts) async {
        let world = incarnation.world
        let clock = SimulatedClock(incarnation: incarnation)
        while incarnation.isAlive {
            guard (try? await clock.sleep(for: .seconds(15))) != nil, incarnation.isAlive else { return }
            let letters = try? disk.rows(Self.next(world.deployment.retriedDeadLetters)) { $0[0] as String }
            guard let letter = letters?.first else { continue }
            world.note("an operator makes \(letter) anew")
            // Twice, as somebody does who has not seen the answer.
            for _ in 1...2 { try? await parts.resolve(deadLetter: letter) }
        }
    }
}
