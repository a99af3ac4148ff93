import Money
import ProviderAPI
import Resilience
import Storage

/// What one provider has taken, within one transaction.
struct ProviderBooks {
    /// What a reference stands for.
    enum Entry: Equatable, Sendable {
        case payment(ProviderPayment)
        /// Nothing was taken under it and nothing ever will be.
        case canceled
    }

    /// What came of a command to take a payment.
    enum Taking: Equatable, Sendable {
        case taken(ProviderPayment)
        /// Taken before, by the same command.
        case known(ProviderPayment)
        case canceled
        /// The reference was used with another command.
        case otherCommand
        /// No more references are remembered.
        case full
    }

    /// What came of a command to give money back.
    enum Refunding: Equatable, Sendable {
        case made(ProviderRefund)
        case known(ProviderRefund)
        case otherCommand
        case noPayment
        case otherCurrency
        /// More than is left of the payment.
        case exceeds(left: Money)
        case full
    }

    let transaction: any Transaction
    let provider: Provider
    let outbox: WebhookOutbox
    let now: Timestamp
    /// How many references may be remembered.
    let maximumReferences: Int

    // MARK: - Payments

    /// Takes a payment once. - Parameter id: the provider's own, if it is a new one.
    func take(
        _ command: ProviderCommand, _ verdict: Behaviour.Verdict, id: String, settleAt: Timestamp
    ) throws -> Taking {
        switch try entry(command.reference) {
        case .canceled: return .canceled
        case .payment(let payment): return payment.command == command ? .known(payment) : .otherCommand
        case nil: break
        }
        guard try hasRoom(in: "provider_payments") else { return .full }
        var payment = ProviderPayment(
            id: id, command: command, status: .pending, refunded: .zero(command.amount.currency))
        var declineCode: String?
        switch verdict {
        case .succeed: payment.status = .succeeded
        case .decline(let code):
            payment.status = .declined
            payment.declineCode = code
            declineCode = code
        // Kept beside the payment until then.
        case .pend(let code): declineCode = code
        }
        try transaction.run(
            """
            INSERT INTO provider_payments
            (provider, reference, payment_id, kind, amount, currency, token, status, decline_code, settle_at, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(provider.rawValue), .text(command.reference), .text(id), .text(command.kind.rawValue),
                .integer(command.amount.minorUnits), .text(command.amount.currency.code), SQLValue(command.token),
                .text(payment.status.rawValue), SQLValue(declineCode), .integer(settleAt.milliseconds),
                .integer(now.milliseconds),
            ])
        try note(payment)
        return .taken(payment)
    }

    /// What a reference stands for; nil for one that was never used.
    func entry(_ reference: String) throws -> Entry? {
        try transaction.first(
            "\(Self.select) WHERE provider = ? AND reference = ?", [.text(provider.rawValue), .text(reference)],
            Self.entry)
    }

    /// Makes sure that nothing is ever taken under a reference under which nothing was; nil if no more are remembered.
    func cancel(_ reference: String, id: String) throws -> Entry? {
        if let entry = try entry(reference) { return entry }
        guard try hasRoom(in: "provider_payments") else { return nil }
        try transaction.run(
            """
            INSERT INTO provider_payments (provider, reference, payment_id, status, created_at)
            VALUES (?, ?, ?, 'canceled', ?)
            """, [.text(provider.rawValue), .text(reference), .text(id), .integer(now.milliseconds)])
        try outbox.add(WebhookEvent(ofCanceled: reference, at: now.description), of: provider, now, in: transaction)
        return .canceled
    }

    /// The plus keeps SQLite from the index by provider and reference, for which it would sort all of a provider's payments for each page.
    static let selectPage =
        "\(select) WHERE +provider = ? AND number > ? AND status <> 'canceled' ORDER BY number LIMIT ?"

    /// The payments after a number, with their numbers, oldest first.
    func payments(after number: Int64, limit: Int) throws -> [(number: Int64, payment: ProviderPayment)] {
        try transaction.all(
            Self.selectPage,
            [.text(provider.rawValue), .integer(number), .integer(Int64(limit))]
        ) { row in (row.integer(9), try Self.entry(row)) }
        .compactMap { number, entry in
            guard case .payment(let payment) = entry else { return nil }
            return (number, payment)
        }
    }

    /// Settles payments whose time as pending is over, whoever's they are. - Returns: how many.
    static func settleDue(
        now: Timestamp, limit: Int, in transaction: any Transaction, _ outbox: WebhookOutbox
    ) throws -> Int {
        let due = try transaction.all(
            """
            SELECT provider, reference, decline_code FROM provider_payments
            WHERE status = 'pending' AND settle_at <= ? ORDER BY settle_at LIMIT ?
            """, [.integer(now.milliseconds), .integer(Int64(limit))]
        ) { ($0.text(0), $0.text(1), $0.optionalText(2)) }
        for (name, reference, declineCode) in due {
            guard let provider = Provider(rawValue: name) else {
                throw StoreError.failed("a payment is of the provider \(name)")
            }
            let books = ProviderBooks(
                transaction: transaction, provider: provider, outbox: outbox, now: now, maximumReferences: 0)
            try transaction.run(
                "UPDATE provider_payments SET status = ? WHERE provider = ? AND reference = ?",
                [declineCode == nil ? "succeeded" : "declined", .text(name), .text(reference)])
            if case .payment(let payment) = try books.entry(reference) { try books.note(payment) }
        }
        return due.count
    }

    /// Enters what a payment has moved, and tells its caller.
    private func note(_ payment: ProviderPayment) throws {
        if payment.status == .succeeded {
            let sign: Int64 = payment.command.kind == .charge ? 1 : -1
            try move(payment.command.kind.rawValue, payment.command.reference, payment.command.amount, sign)
        }
        guard let event = WebhookEvent(of: payment, at: now.description) else { return }
        try outbox.add(event, of: provider, now, in: transaction)
    }

    // MARK: - Parts

    /// - Parameter sign: 1 for money that the provider has for its customer's customer, −1 for money that it has given away.
    func move(_ kind: String, _ reference: String, _ amount: Money, _ sign: Int64) throws {
        try transaction.run(
            """
            INSERT INTO provider_movements (provider, kind, reference, amount, currency, created_at)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            [
                .text(provider.rawValue), .text(kind), .text(reference), .integer(sign * amount.minorUnits),
                .text(amount.currency.code), .integer(now.milliseconds),
            ])
    }

    /// Rows are never deleted, so the last number is their count.
    func hasRoom(in table: String) throws -> Bool {
        let last = try transaction.first("SELECT ifnull(max(number), 0) FROM \(table)", []) { $0.integer(0) }
        return last ?? 0 < Int64(maximumReferences)
    }

    private static let select = """
        SELECT reference, payment_id, kind, amount, currency, token, status, refunded, decline_code, number
        FROM provider_payments
        """

    private static func entry(_ row: any SQLRow) throws -> Entry {
        guard row.text(6) != "canceled" else { return .canceled }
        guard let kind = ProviderCommand.Kind(rawValue: row.text(2)),
            var status = ProviderPayment.Status(rawValue: row.text(6))
        else { throw StoreError.failed("a payment is \(row.text(2)) and \(row.text(6))") }
        let currency = try currency(row.text(4))
        let command = ProviderCommand(
            reference: row.text(0), kind: kind, amount: Money(minorUnits: row.integer(3), currency: currency),
            token: row.optionalText(5))
        if status == .succeeded, row.integer(7) == row.integer(3) { status = .refunded }
        return .payment(
            ProviderPayment(
                id: row.text(1), command: command, status: status,
                refunded: Money(minorUnits: row.integer(7), currency: currency),
                declineCode: status == .declined ? row.optionalText(8) : nil))
    }

    static func currency(_ code: String) throws -> Currency {
        guard let currency = Currency(code: code) else { throw StoreError.failed("an amount is in \(code)") }
        return currency
    }
}
