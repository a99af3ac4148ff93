/// What must hold of payments through outside providers when everything has come to rest.
struct PaymentChecks {
    let snapshot: Snapshot
    let world: World

    func run() {
        payments()
        refunds()
        providers()
        customers()
    }

    private func expect(_ condition: Bool, _ invariant: String, _ what: @autoclosure () -> String) {
        if !condition { world.audit.report(invariant, what()) }
    }

    private func balance(_ prefix: String) -> Int64 {
        snapshot.accounts.filter { $0.id.hasPrefix(prefix) }.reduce(0) { $0 + $1.balance }
    }

    /// INV-6, INV-11 and INV-17: each has ended, nothing is held for it, and the ledger has what the providers owe and what we have
    /// earned.
    private func payments() {
        for payment in snapshot.payments {
            expect(
                payment.isDone || ["failed", "canceled"].contains(payment.status), "INV-6",
                "payment \(payment.id) is still \(payment.status)")
            expect(payment.held == 0, "INV-6", "\(payment.held) is still held for payment \(payment.id)")
            expect(
                payment.lastEvent == (payment.isDone ? "succeeded" : payment.status), "INV-17",
                "payment \(payment.id) is \(payment.status), its events end with \(payment.lastEvent ?? "nothing")")
        }
        expect(balance("clearing:") == 0, "INV-6", "clearing holds \(balance("clearing:"))")
        for provider in ["stripe", "paypal"] {
            let owed = snapshot.payments.filter { $0.provider == provider }.reduce(0) { $0 + $1.collected }
            let booked = balance("settlement:\(provider):")
            expect(booked == owed, "INV-11", "the ledger says that \(provider) owes \(booked), its payments \(owed)")
        }
        let earned = snapshot.payments.reduce(0) { $0 + $1.earned }
        expect(
            balance("fees:") == earned, "INV-11", "the ledger has \(balance("fees:")) of fees, the payments \(earned)")
    }

    /// INV-4: what a payment says was given back of it, and of its fee, is what its refunds say; and no more than there was.
    private func refunds() {
        let refunds = Dictionary(grouping: snapshot.payments.filter { $0.refundOf != nil }) { $0.refundOf ?? "" }
        for payment in snapshot.payments where payment.refundOf == nil {
            let done = (refunds[payment.id] ?? []).filter(\.isDone)
            let (amount, fee) = (done.reduce(0) { $0 + $1.amount }, done.reduce(0) { $0 + $1.fee })
            expect(
                payment.refunded == amount && payment.feeBack == fee && payment.refunding == 0, "INV-4",
                "of payment \(payment.id) \(payment.refunded) and \(payment.feeBack) of the fee were given back, "
                    + "\(payment.refunding) is about to be; its refunds say \(amount) and \(fee)")
            expect(amount <= payment.amount && fee <= payment.fee, "INV-4", "too much was given back of \(payment.id)")
            guard payment.isDone else { continue }
            let status = amount == 0 ? "succeeded" : amount == payment.amount ? "refunded" : "partially_refunded"
            expect(
                payment.status == status, "INV-17",
                "of \(payment.amount) \(amount) was given back, and \(payment.id) is \(payment.status)")
            expect(
                amount < payment.amount || fee == payment.fee, "INV-3",
                "all of payment \(payment.id) was given back, and \(fee) of its fee of \(payment.fee)")
        }
    }

    /// INV-4: the book and the providers say the same, and nothing that failed here can still be taken there.
    private func providers() {
        for payment in snapshot.payments {
            let entry = world.books.entry(payment.id)
            if payment.isDone {
                expect(
                    entry?.state == .taken, "INV-4", "payment \(payment.id) succeeded, and its provider did not take it"
                )
                expect(entry?.amount == payment.amount, "INV-4", "the provider took another amount for \(payment.id)")
                expect(
                    entry?.refunded == payment.refunded, "INV-4",
                    "the provider gave back \(entry?.refunded ?? 0) of \(payment.id), and we \(payment.refunded)")
            } else {
                expect(
                    entry?.state != .taken && entry?.state != .underWay, "INV-4",
                    "payment \(payment.id) is \(payment.status), and its provider took it")
            }
        }
        let known = Set(snapshot.payments.map(\.id))
        for reference in world.books.references {
            expect(
                known.contains(reference), "INV-4", "a provider was asked for \(reference), which is not in the book")
        }
    }

    /// INV-1, INV-9: a key has made one payment, and what a customer was told is there, as it was asked for.
    private func customers() {
        var byKey: [String: String] = [:]
        // What an operator has made anew has no key.
        for payment in snapshot.payments where !payment.key.isEmpty {
            let key = "\(payment.user) \(payment.kind) \(payment.key)"
            expect(byKey[key] == nil, "INV-1", "the key \(key) has made two payments")
            byKey[key] = payment.id
        }
        for (plan, id) in world.audit.takenOn.value {
            let payment = snapshot.payments.first { $0.id == id }
            expect(payment != nil, "INV-9", "\(plan.name) was told that \(id) is taken on, and it is not there")
            expect(
                payment.map { $0.amount == plan.amount && $0.user == plan.user && $0.kind == plan.kind.rawValue }
                    ?? true,
                "INV-2", "\(plan.name) was told of \(id), which is another payment")
        }
    }
}
