import ServiceClient
import StrictJSON

/// What must hold when the faults are over and everything has come to rest: the invariants of docs/hazards.md as far as the three
/// disks, the provider's ledger and the clients' answers show them.
struct FinalChecks {
    let snapshot: Snapshot
    let world: World

    func run() {
        rest()
        money()
        goods()
        agreement()
        provider()
        ledger()
        PaymentChecks(snapshot: snapshot, world: world).run()
        ClientChecks(snapshot: snapshot, world: world).run()
    }

    private func expect(_ condition: Bool, _ invariant: String, _ what: @autoclosure () -> String) {
        if !condition { world.audit.report(invariant, what()) }
    }

    /// INV-6: nothing is left in the middle.
    private func rest() {
        for order in snapshot.orders {
            expect(order.status != "pending", "INV-6", "order \(order.id) is still \(order.step)")
        }
        for reservation in snapshot.reservations {
            expect(reservation.status != "reserved", "INV-6", "reservation \(reservation.id) is still reserved")
        }
        for charge in snapshot.charges {
            expect(charge.status != "pending", "INV-6", "charge \(charge.id) is still pending")
        }
        expect(snapshot.pendingRefunds == 0, "INV-6", "\(snapshot.pendingRefunds) refunds are still pending")
        for key in snapshot.keys {
            expect(key.state != "processing", "INV-6", "key \(key.key) of \(key.operation) is still processing")
        }
    }

    /// INV-3 and INV-4: the money kept is the money of completed orders.
    private func money() {
        let completed = snapshot.orders.filter { $0.status == "completed" }
        let kept = snapshot.charges.filter { $0.status == "succeeded" }.reduce(0) { $0 + $1.amount - $1.refunded }
        let sold = completed.reduce(0) { $0 + ($1.total ?? 0) }
        expect(kept == sold, "INV-3", "\(kept) minor units were kept and \(sold) were sold for")
        var unrefunded: [String: Int] = [:]
        for charge in snapshot.charges where charge.status == "succeeded" && charge.refunded != charge.amount {
            expect(charge.refunded == 0, "INV-4", "charge \(charge.id) is refunded in part")
            let isPaid = completed.contains { $0.chargeID == charge.id && $0.id == charge.orderID }
            expect(
                isPaid, "INV-4",
                "charge \(charge.id) of order \(charge.orderID ?? "?") is kept without a completed order")
            unrefunded[charge.orderID ?? charge.id, default: 0] += 1
        }
        for (order, count) in unrefunded.sorted(by: { $0.key < $1.key }) {
            expect(count == 1, "INV-4", "order \(order) has \(count) charges that are not refunded")
        }
    }

    /// INV-5: goods are neither made nor lost.
    private func goods() {
        expect(
            snapshot.items.count == world.deployment.items.count, "INV-5", "there are other items than at the beginning"
        )
        for (item, initial) in zip(snapshot.items, world.deployment.items) {
            let reserved = snapshot.reservedSums.first { $0.item == item.id }?.quantity ?? 0
            let completed = snapshot.completedSums.first { $0.item == item.id }?.quantity ?? 0
            expect(
                item.received == initial.quantity && item.onHand + item.completed == initial.quantity, "INV-5",
                "of item \(item.id), \(initial.quantity) became \(item.onHand) and \(item.completed) sold")
            expect(item.onHand >= item.reserved && item.reserved >= 0, "INV-5", "item \(item.id) is oversold")
            expect(
                item.reserved == reserved, "INV-5",
                "item \(item.id) has \(item.reserved) reserved, its reservations hold \(reserved)")
            expect(
                item.completed == completed, "INV-5",
                "item \(item.id) has \(item.completed) sold, its reservations \(completed)")
        }
    }

    /// INV-8: a completed order, its completed reservation and its captured charge are three views of one sale.
    private func agreement() {
        for order in snapshot.orders {
            let reservation = snapshot.reservations.first { $0.id == order.reservationID }
            let charge = snapshot.charges.first { $0.id == order.chargeID }
            if order.status == "completed" {
                expect(reservation?.status == "completed", "INV-8", "order \(order.id) is completed without its goods")
                expect(
                    charge?.status == "succeeded" && charge?.refunded == 0, "INV-8",
                    "order \(order.id) is completed without its money")
                expect(
                    order.total != nil && order.total == reservation?.total && order.total == charge?.amount, "INV-8",
                    "order \(order.id), its reservation and its charge differ in the amount")
                expect(
                    reservation.map { Self.quantities($0.lines) } == Self.quantities(order.lines), "INV-8",
                    "order \(order.id) and its reservation differ in the goods")
                expect(charge?.orderID == order.id, "INV-8", "the charge of order \(order.id) is of another order")
            } else {
                expect(
                    reservation?.status != "completed", "INV-8",
                    "order \(order.id) is \(order.status) and its goods are gone")
                if order.failureCode == "payment-declined" {
                    let canPay = LedgerProvider.Method(rawValue: order.method)?.canPay ?? false
                    expect(!canPay, "INV-10", "order \(order.id) says declined, but \(order.method) can pay")
                }
            }
        }
        for reservation in snapshot.reservations where reservation.status == "completed" {
            let count = snapshot.orders.count { $0.reservationID == reservation.id && $0.status == "completed" }
            expect(count == 1, "INV-8", "reservation \(reservation.id) left the stock for \(count) completed orders")
        }
    }

    /// Payment's book and the provider's ledger say the same of every charge that the provider knows.
    private func provider() {
        for id in world.provider.ids {
            guard let entry = world.provider.entry(id) else { continue }
            let charge = snapshot.charges.first { $0.id == id }
            let refunded = entry.refunds.values.reduce(0, +)
            expect(entry.state != .underWay, "INV-6", "the provider has not finished charge \(id)")
            if entry.state == .taken {
                expect(
                    charge?.status == "succeeded", "INV-4",
                    "the provider took money for \(id), which is not in the book")
                expect(charge?.amount == entry.amount, "INV-4", "the provider took another amount for \(id)")
                expect(
                    charge?.refunded == refunded, "INV-4", "of \(id) the provider gave \(refunded) back, the book not")
            } else {
                expect(
                    charge?.status != "succeeded", "INV-4", "the book has charge \(id), which the provider never took")
                expect(refunded == 0, "INV-4", "the provider gave back what it never took, for \(id)")
            }
        }
    }

    /// INV-11: balances are the sums of their entries, no wallet is overdrawn, and the ledger, the book and the trail of each
    /// charge say the same.
    private func ledger() {
        func balance(_ matches: (Snapshot.Account) -> Bool) -> Int64 {
            snapshot.accounts.filter(matches).reduce(0) { $0 + $1.balance }
        }
        for account in snapshot.accounts {
            expect(
                account.balance == account.entries, "INV-11",
                "account \(account.id) has \(account.balance), its entries \(account.entries)")
            expect(account.kind != "wallet" || account.balance >= 0, "INV-11", "\(account.id) is overdrawn")
        }
        for charge in snapshot.charges {
            let amount = charge.status == "succeeded" ? charge.amount : 0
            expect(
                charge.paid == amount, "INV-11", "charge \(charge.id) took \(amount), the ledger says \(charge.paid)")
            expect(
                charge.returned == charge.refunded, "INV-11",
                "of charge \(charge.id) \(charge.refunded) was given back, the ledger says \(charge.returned)")
            let payer = charge.wallet.flatMap { wallet in snapshot.accounts.first { $0.number == wallet } }
            expect(
                charge.wallet == nil || payer?.user == charge.user, "INV-15",
                "charge \(charge.id) of \(charge.user) is paid by \(payer?.user ?? "nobody")")
            expect(
                charge.lastEvent == charge.status, "INV-17",
                "charge \(charge.id) is \(charge.status), its events end with \(charge.lastEvent ?? "nothing")")
        }
        let kept = snapshot.charges.filter { $0.status == "succeeded" }
        let fromWallets = kept.filter { $0.wallet != nil }.reduce(0) { $0 + $1.amount - $1.refunded }
        let byProviders = kept.filter { $0.wallet == nil }.reduce(0) { $0 + $1.amount - $1.refunded }
        let given = world.deployment.wallets.reduce(0) { $0 + $1.balance }
        let (wallets, sales) = (balance { $0.kind == "wallet" }, balance { $0.kind == "sales" })
        let paidIn = snapshot.payments.reduce(0) { $0 + $1.change }
        expect(
            wallets + fromWallets == given + paidIn, "INV-3",
            "of \(given) in wallets and \(paidIn) paid in, \(wallets) is left and \(fromWallets) was paid")
        let collected = balance { $0.kind == "settlement" && $0.id.contains("simulated") }
        expect(collected == byProviders, "INV-3", "providers owe \(collected) and not \(byProviders)")
        expect(sales == fromWallets + byProviders, "INV-3", "sales are \(sales)")
    }

    private static func quantities(_ lines: String) -> [String] {
        guard let json = try? JSONParser.parse(lines.utf8).tree else { return [] }
        let array: [JSONValue]
        switch json["lines"] ?? json {
        case .array(let elements): array = elements
        default: return []
        }
        return array.map { "\($0["itemId"]?.brief ?? "?"):\($0["quantity"]?.brief ?? "?")" }
    }
}
