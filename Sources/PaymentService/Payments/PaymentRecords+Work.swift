import ProviderAPI
import Resilience
import Storage

/// Whose turn a payment is. A payment that is due is taken up by one worker, for a time; `due_at` is then the end of that
/// time, so that what is due and what was abandoned are found by one look at one index. Every taking raises the epoch, and
/// every later write names it: who was given up changes nothing any more (hazard 18).
extension PaymentRecords {
    /// The terms on which payments are taken up.
    struct Terms: Sendable {
        /// Who takes them.
        let owner: String
        /// How long a worker may be silent.
        let lease: Duration
        /// After so many attempts a payment is closed, if it is old enough.
        let maximumAttempts: Int
        /// No payment is given up sooner.
        let giveUpAfter: Duration
        /// No payment waits longer; one that seems to was stored before the clock was set back (hazard 37).
        let longestWait: Duration
    }

    /// What a look for due payments has brought.
    struct Due: Sendable {
        var payments: [Payment] = []
        /// Why others could not be read: what a newer version has stored, or somebody by hand. They are put off, so that they keep nobody
        /// else's from being taken up.
        var unreadable: [String] = []

        var count: Int { payments.count + unreadable.count }
    }

    /// Takes up payments through a provider whose time has come, those that have waited longest first, at most `limit`.
    func take(from provider: Provider, limit: Int, at now: Timestamp, on terms: Terms) throws -> Due {
        var due = Due()
        func look(_ statement: String, _ bound: Timestamp) throws {
            let limit = SQLValue.integer(Int64(limit - due.count))
            let found = try transaction.all(
                statement, [.text(provider.rawValue), .integer(bound.milliseconds), limit]
            ) { row in (row.text(0), Result { try Self.payment(row) }) }
            for (id, payment) in found {
                do {
                    due.payments.append(try take(payment.get(), at: now, on: terms))
                } catch StoreError.failed(let reason) {
                    due.unreadable.append(reason)
                    try transaction.run(
                        "UPDATE payments SET due_at = ? WHERE payment_id = ?",
                        [.integer(now.advanced(by: terms.lease).milliseconds), .text(id)])
                }
            }
        }
        try look(Self.due, now)
        if due.count < limit { try look(Self.strayed, now.advanced(by: terms.longestWait)) }
        return due
    }

    /// What is due. Two statements, each of which is one stretch of the index: an OR between them would read all that is open.
    static let due = "\(open) AND due_at <= ? ORDER BY due_at LIMIT ?"
    /// What is due so late that it was stored before the clock was set back.
    static let strayed = "\(open) AND due_at > ? ORDER BY due_at LIMIT ?"
    private static let open = "\(select) WHERE provider = ? AND status IN ('new', 'processing')"

    private func take(_ payment: Payment, at now: Timestamp, on terms: Terms) throws -> Payment {
        var taken = payment
        let isAbandoned = payment.leaseOwner != nil
        if payment.isSaidToHaveMoved { taken.task.mayBeTaken = true }
        taken.task.begin(
            isAbandoned: isAbandoned, maximumAttempts: terms.maximumAttempts,
            mayEnd: payment.mayEnd(at: now, after: terms.giveUpAfter))
        taken.status = .processing
        taken.leaseOwner = terms.owner
        taken.dueAt = now.advanced(by: terms.lease)
        taken.epoch += 1
        taken.updatedAt = now
        try transaction.run(
            """
            UPDATE payments SET status = 'processing', phase = ?, attempts = ?, rounds = ?, may_be_taken = ?,
                lease_owner = ?, due_at = ?, epoch = ?, updated_at = ?, has_news = 0
            WHERE payment_id = ?
            """,
            [
                .text(taken.task.phase.rawValue), .integer(taken.task.attempts), .integer(taken.task.rounds),
                .integer(taken.task.mayBeTaken ? 1 : 0), .text(terms.owner), .integer(taken.dueAt.milliseconds),
                .integer(taken.epoch), .integer(now.milliseconds), .text(taken.id),
            ])
        if payment.status == .new {
            try record(.processing, of: taken, at: now)
        } else if isAbandoned {
            try record(.takenOver, of: taken, at: now)
        }
        return taken
    }

    /// Puts a payment off.
    ///
    /// - Parameter pause: how long the provider wants to be left alone; not even news shorten it.
    /// - Returns: false when it is not the caller's any more.
    func postpone(
        _ payment: Payment, for wait: Duration, pause: Duration, because reason: String, at now: Timestamp
    ) throws -> Bool {
        let (due, earliest) = (now.advanced(by: wait), now.advanced(by: pause))
        guard try putDown(payment, until: due, notBefore: earliest, because: reason, at: now) else { return false }
        // Once for each sending, and for each change of what is asked. That goes on for as long as it takes, and the trail has an end.
        if payment.task.phase == .send, payment.task.attempts <= Self.maximumRecorded {
            try record(.unanswered, of: payment, because: reason, at: now)
        } else if payment.task.hasChanged, payment.task.rounds <= Self.maximumRecorded {
            try record(payment.task.phase == .close ? .closing : .waiting, of: payment, because: reason, at: now)
        }
        return true
    }

    /// So many askings at the most leave a line in a payment's trail.
    private static let maximumRecorded: Int64 = 100

    /// Hands a payment back that was taken up and not asked about. - Returns: false when it is not the caller's any more.
    @discardableResult
    func handBack(_ payment: Payment, until due: Timestamp, at now: Timestamp) throws -> Bool {
        var task = payment
        task.task.takeBack()
        return try putDown(task, until: due, notBefore: due, because: payment.lastError, at: now)
    }

    /// What somebody has told of it meanwhile may be newer than what was answered: then it is asked about again as soon as it may.
    private func putDown(
        _ payment: Payment, until due: Timestamp, notBefore earliest: Timestamp, because reason: String?,
        at now: Timestamp
    ) throws -> Bool {
        try transaction.run(
            """
            UPDATE payments SET lease_owner = NULL, due_at = iif(has_news = 1 AND ?2 <> 'send', ?10, ?1), phase = ?2,
                attempts = ?3, rounds = ?4, may_be_taken = ?5, last_error = ?6, updated_at = ?7, has_news = 0, not_before = ?10,
                last_detail = ?11
            WHERE payment_id = ?8 AND epoch = ?9 AND status = 'processing'
            """,
            [
                .integer(due.milliseconds), .text(payment.task.phase.rawValue), .integer(payment.task.attempts),
                .integer(payment.task.rounds), .integer(payment.task.mayBeTaken ? 1 : 0), SQLValue(reason),
                .integer(now.milliseconds), .text(payment.id), .integer(payment.epoch),
                .integer(earliest.milliseconds), SQLValue(payment.lastDetail),
            ]) == 1
    }

    /// Takes an open payment that nobody is at work on away from whoever would ask about it next. - Returns: the payment as it is now.
    func takeByHand(_ payment: Payment, at now: Timestamp) throws -> Payment {
        let changed = try transaction.run(
            """
            UPDATE payments SET epoch = epoch + 1, updated_at = ?
            WHERE payment_id = ? AND epoch = ? AND status = 'processing' AND lease_owner IS NULL
            """, [.integer(now.milliseconds), .text(payment.id), .integer(payment.epoch)])
        guard changed == 1 else { throw StoreError.failed("payment \(payment.id) was looked at and is not free") }
        var taken = payment
        taken.epoch += 1
        return taken
    }

    /// Extends the time of a worker for what it is at work on. - Returns: false when it is not the worker's any more.
    func renew(_ id: String, epoch: Int64, at now: Timestamp, on terms: Terms) throws -> Bool {
        try transaction.run(
            """
            UPDATE payments SET due_at = ? WHERE payment_id = ? AND epoch = ? AND lease_owner = ? AND status = 'processing'
            """,
            [
                .integer(now.advanced(by: terms.lease).milliseconds), .text(id), .integer(epoch), .text(terms.owner),
            ]) == 1
    }

    /// At the start of the only process on the store: whoever was at work on anything is dead. What they have asked may have
    /// been taken, so the payments stay marked as abandoned. - Returns: how many.
    func disownAll(at now: Timestamp) throws -> Int {
        try transaction.run(
            """
            UPDATE payments SET due_at = ?
            WHERE status IN ('new', 'processing') AND lease_owner IS NOT NULL
            """, [.integer(now.milliseconds)])
    }

    /// Makes a payment due now that somebody has news of, or as soon as its provider may be asked. One that is being asked about is
    /// asked about again if that asking brought no end. One whose command is still to be sent keeps its pace: news are no reason
    /// to use up its attempts. - Returns: false when there is none to which news make a difference.
    func hurry(_ reference: String, at provider: Provider, now: Timestamp) throws -> Bool {
        try transaction.run(
            """
            UPDATE payments SET has_news = lease_owner IS NOT NULL,
                due_at = iif(lease_owner IS NULL, max(min(due_at, ?1), not_before), due_at)
            WHERE payment_id = ?2 AND provider = ?3 AND status = 'processing'
                AND (lease_owner IS NOT NULL OR phase <> 'send')
            """, [.integer(now.milliseconds), .text(reference), .text(provider.rawValue)]) == 1
    }

    /// Notes that a provider says it has moved the money of a payment that is open here. Its messages overtake its answers, so that is usual;
    /// but whatever else it answers from now on, nothing is given back before it has been asked to close the payment.
    ///
    /// - Parameter isRefund: what the provider says it has made.
    /// - Returns: false when there is no such payment.
    func noteMoved(_ reference: String, at provider: Provider, isRefund: Bool) throws -> Bool {
        try transaction.run(
            """
            UPDATE payments SET said_moved = 1
            WHERE payment_id = ?1 AND provider = ?2 AND (refund_of IS NOT NULL) = ?3 AND status IN ('new', 'processing')
            """, [.text(reference), .text(provider.rawValue), .integer(isRefund ? 1 : 0)]) == 1
    }

    /// Whether a message has said so, also since the payment was taken up.
    func isSaidToHaveMoved(_ id: String) throws -> Bool {
        try transaction.first("SELECT said_moved FROM payments WHERE payment_id = ?", [.text(id)]) {
            $0.integer(0) == 1
        }
            ?? false
    }

    /// Notes that a provider says it has moved the money of a payment that has ended here without that: it was declined, refused or
    /// closed there, by the provider's own word. Nothing is moved for it: a person has to find out which word is true.
    ///
    /// - Parameter isRefund: what the provider says it has made.
    /// - Returns: false when there is no such payment.
    func contradict(_ reference: String, at provider: Provider, isRefund: Bool, now: Timestamp) throws -> Bool {
        guard let payment = try payment(reference), payment.provider == provider,
            payment.status == .failed || payment.status == .canceled, (payment.refundOf != nil) == isRefund
        else { return false }
        try record(.contradicted, of: payment, at: now)
        return true
    }
}
