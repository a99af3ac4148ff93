import Resilience
import ServiceKit
import Storage

/// A payment or refund that was given up: it has failed, its money is back, and an operator may want to make it anew.
struct DeadLetter: Hashable, Sendable {
    /// What an operator has done about it; the raw value is stored and shown.
    enum Resolution: String, Sendable, CaseIterable {
        case retried, discarded
    }

    let payment: Payment
    let reason: String
    let diedAt: Timestamp
    let resolution: Resolution?
    let resolvedAt: Timestamp?
    /// The payment that was made anew for it.
    let retriedAs: String?
    /// How often the provider has said in a message, before or since, that the money has moved.
    let contradictions: Int64

    /// How the reason begins of one that was given up on less evidence than is asked for now (`PaymentsCorrections.doubts`).
    static let doubt = "not certain, as an earlier version decided it: "
    var isDoubtful: Bool { reason.hasPrefix(Self.doubt) }
}

extension PaymentRecords {
    /// How many dead letters are counted for a metric.
    static let maximumCounted = 10_000

    /// The dead letter of a payment.
    func deadLetter(_ id: String) throws -> DeadLetter? {
        let found = try transaction.first(
            "SELECT reason, died_at, resolution, resolved_at FROM dead_letters WHERE payment_id = ?", [.text(id)]
        ) { ($0.text(0), $0.integer(1), $0.optionalText(2), $0.optionalInteger(3)) }
        guard let found, let payment = try payment(id) else { return nil }
        return DeadLetter(
            payment: payment, reason: found.0, diedAt: Timestamp(milliseconds: found.1),
            resolution: found.2.flatMap { DeadLetter.Resolution(rawValue: $0) },
            resolvedAt: found.3.map { Timestamp(milliseconds: $0) }, retriedAs: try retry(of: id),
            contradictions: try countContradictions(of: id))
    }

    private func countContradictions(of id: String) throws -> Int64 {
        try transaction.first(
            "SELECT count(*) FROM payments_trail WHERE payment_id = ? AND type = ?",
            [.text(id), .text(PaymentEvent.Kind.contradicted.rawValue)]
        ) { $0.integer(0) } ?? 0
    }

    /// A page of dead letters, found in a bounded number of rows: those that nobody has resolved oldest first, by an index that has
    /// nothing else in it, the others newest first.
    func deadLetters(_ selection: OperatorSelection) throws -> Page<DeadLetter> {
        let isOpen = selection.state == "open"
        let some =
            isOpen
            ? """
            FROM dead_letters INDEXED BY dead_letters_open WHERE resolution IS NULL AND payment_id > ?1 ORDER BY payment_id
            """ : "FROM dead_letters WHERE payment_id < ?1 ORDER BY payment_id DESC"
        let cursor = isOpen ? SQLValue.text(selection.cursor ?? "") : selection.before
        let ids = try transaction.all(
            """
            SELECT some.payment_id FROM (SELECT * \(some) LIMIT \(OperatorSelection.scanned)) AS some
                JOIN payments ON payments.payment_id = some.payment_id
            WHERE ifnull(some.resolution, 'open') = ?2 AND some.died_at <= ?3 AND (?4 IS NULL OR payments.user_id = ?4)
            ORDER BY some.payment_id \(isOpen ? "" : "DESC") LIMIT ?5
            """,
            [
                cursor, .text(selection.state), .integer(selection.madeBefore?.milliseconds ?? .max),
                SQLValue(selection.user), .integer(Int64(selection.limit + 1)),
            ]
        ) { $0.text(0) }
        let scannedTo = try transaction.first(
            "SELECT payment_id \(some) LIMIT 1 OFFSET \(OperatorSelection.scanned - 1)", [cursor]
        ) { $0.text(0) }
        return Page(
            try ids.compactMap { try deadLetter($0) }, limit: selection.limit, scannedTo: scannedTo, id: \.payment.id)
    }

    /// How many nobody has resolved, up to `maximumCounted`.
    func countDeadLetters() throws -> Int64 {
        try transaction.first(
            "SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE resolution IS NULL LIMIT ?)",
            [.integer(Int64(Self.maximumCounted))]
        ) { $0.integer(0) } ?? 0
    }

    /// Notes what an operator has done. - Returns: false when one has done something before.
    func resolve(_ letter: DeadLetter, _ resolution: DeadLetter.Resolution, at now: Timestamp) throws -> Bool {
        let resolved = try transaction.run(
            "UPDATE dead_letters SET resolution = ?, resolved_at = ? WHERE payment_id = ? AND resolution IS NULL",
            [.text(resolution.rawValue), .integer(now.milliseconds), .text(letter.payment.id)])
        guard resolved == 1 else { return false }
        try record(resolution == .retried ? .retried : .discarded, of: letter.payment, at: now)
        return true
    }
}
