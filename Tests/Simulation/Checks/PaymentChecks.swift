/// What must hold of payments through outside providers when everything has come to rest.
struct PaymentChecks {
    let snapshot: Snapshot
    let world: World

    func run() {
        payments()
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
                ["succeeded", "failed", "canceled"].contains(payment.status), "INV-6",
                "payment \(payment.id) is still \(payment.status)")
            expect(payment.held == 0, "INV-6", "\(payment.held) is still held for payment \(payment.id)")
            expect(
                payment.lastEvent == payment.status, "INV-17",
                "payment \(payment.id) is \(payment.status), its events end with \(payment.lastEvent ?? "nothing")")
        }
        expect(balance("clearing:") == 0, "INV-6", "clearing holds \(balance("clearing:"))")
        for provider in ["stripe", "paypal"] {
            let owed = snapshot.payments.filter { $0.provider == provider }.reduce(0) { $0 + $1.collected }
            let booked = balance("settlement:\(provider):")
            expect(booked == owed, "INV-11", "the ledger says that \(provider) owes \(booked), its payments \(owed)")
        }
        let earned = snapshot.payments.filter { $0.status == "succeeded" }.reduce(0) { $0 + $1.fee }
        expect(
            balance("fees:") == earned, "INV-11", "the ledger has \(balance("fees:")) of fees, the payments \(earned)")
    }

    /// INV-4: the book and the providers say the same, and nothing that failed here can still be taken there.
    private func providers() {
        for payment in snapshot.payments {
            let entry = world.books.entry(payment.id)
            if payment.status == "succeeded" {
                expect(
                    entry?.state == .taken, "INV-4", "payment \(payment.id) succeeded, and its provider did not take it"
                )
                expect(entry?.amount == payment.amount, "INV-4", "the provider took another amount for \(payment.id)")
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
        for payment in snapshot.payments {
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
