import Money
import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@testable import PaymentService

@Suite("The worker", .timeLimit(.minutes(5)))
struct PaymentWorkerTests {
    /// Opens an account with 102 dollars and takes 100 of them out. - Returns: the payment's id.
    private func withdraw(_ client: RouteClient, key: String = "k") async throws -> String {
        let account = try await client.openWallet("ann", "102")
        let taken = try await client.pay("withdraw", from: account, "100", key: key, user: "ann")
        return try #require(taken.text("paymentId"))
    }

    @Test("what the provider does not answer is asked again when its time has come, and not before")
    func retries() async throws {
        let gateway = ScriptedGateway(.notSent(.unreachable), .unknown(.timedOut), .throttled(after: .seconds(20)))
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.work()
            let waiting = try await client.get("/payments/\(id)", user: "ann")
            #expect(waiting.text("status") == "processing" && waiting.integer("attempts") == 1)
            #expect(waiting.text("nextRetryAt") == "2026-01-01T00:00:01.000Z")
            #expect(waiting.text("lastError")?.contains("unreachable") == true)
            for (wait, count) in [(900, 1), (200, 2), (1900, 2), (200, 3), (19_900, 3), (200, 4)] {
                fixture.test.time.advance(by: .milliseconds(wait))
                try await fixture.work()
                #expect(gateway.calls.count == count)
            }
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(
                try await client.events(ofPayment: id, user: "ann")
                    == ["created", "processing", "unanswered", "unanswered", "unanswered", "succeeded"])
        }
        #expect(Set(gateway.calls).count == 1, "each time the same command under the same reference")
        try await fixture.expectSoundPayments()
    }

    @Test(
        "a time-out after the provider has taken the money is closed and found out, never paid twice and never given back"
    )
    func timeoutAfterCommit() async throws {
        let unknown = ProviderReply.unknown(.timedOut)
        let gateway = ScriptedGateway(unknown, unknown, unknown, unknown, unknown, unknown, .succeeded)
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.workAll()
            #expect(gateway.names == ["pay", "pay", "pay", "pay", "pay", "cancel", "cancel"])
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(try await client.balance("ann") == 0)
            #expect(try await fixture.letters() == [])
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "what the provider says it never took is a dead letter: the money is back, and an operator makes it anew, once")
    func deadLetter() async throws {
        let unknown = ProviderReply.unknown(.timedOut)
        let gateway = ScriptedGateway(unknown, unknown, unknown, unknown, unknown, .canceled)
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.workAll()
            #expect(try await client.status(ofPayment: id, user: "ann") == "failed")
            #expect(try await client.balance("ann") == 10_200)
            #expect(try await fixture.letters() == [id])
            let retried = try await fixture.decide("retry", about: id)
            #expect(retried.status == 200)
            let newID = try #require(retried.text("retriedAs"))
            #expect(newID != id)
            for action in ["retry", "discard"] {
                let again = try await fixture.decide(action, about: id)
                #expect(again.code == "payment-state-conflict" && again.text("detail")?.contains(newID) == true)
            }
            try await fixture.workAll()
            let payment = try await client.get("/payments/\(newID)", user: "ann")
            #expect(payment.text("status") == "succeeded" && payment.text("retryOf") == id)
            #expect(try await client.status(ofPayment: id, user: "ann") == "failed", "a status never goes backwards")
            #expect(try await client.balance("ann") == 0)
            #expect(try await fixture.letters() == [])
            #expect(try await fixture.letters("retried") == [id])
            #expect(
                try await client.events(ofPayment: id, user: "ann").suffix(4)
                    == ["closing", "failed", "dead_lettered", "retried"])
        }
        try await fixture.expectSoundPayments()
    }

    @Test("a dead letter can be discarded, and only that is then told of it; of another payment there is none")
    func discard() async throws {
        let none = ProviderReply.notSent(.unreachable)
        let gateway = ScriptedGateway(none, none, none, none, none)
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.workAll()
            #expect(gateway.names == ["pay", "pay", "pay", "pay", "pay"], "there is nothing to close")
            let discarded = try await fixture.decide("discard", about: id)
            #expect(discarded.status == 200 && discarded.text("resolution") == "discarded")
            for action in ["retry", "discard"] {
                #expect(try await fixture.decide(action, about: id).code == "payment-state-conflict")
                #expect(try await fixture.decide(action, about: "nothing").code == "payment-not-found")
            }
            let shown = try await fixture.operate { try await $0.get("/dead-letters/\(id)") }
            #expect(shown.text("resolution") == "discarded" && shown.text("actions/0/operator") == "eve")
            #expect(try await fixture.letters() == [])
            #expect(try await fixture.letters("discarded") == [id])
        }
    }

    @Test(
        "an outage of minutes, and a provider that takes few at a time, end no payment: they wait, and may be canceled")
    func outage() async throws {
        let gateway = OutageGateway()
        let fixture = try PaymentFixture.withGateway(gateway, PaymentsConfiguration(backoff: BackoffSchedule()))
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "102")
            var ids: [String] = []
            for index in 0..<4 {
                let made = try await client.pay("withdraw", from: account, "1", key: "k\(index)", user: "ann")
                ids.append(try #require(made.text("paymentId")))
            }
            for _ in 0..<30 {
                try await fixture.work()
                fixture.test.time.advance(by: .seconds(31))
            }
            #expect(try await client.get("/payments/\(ids[0])", user: "ann").integer("attempts") ?? 0 > 5)
            let canceled = try await client.post("/payments/\(ids[0])/cancel", "{}", user: "ann")
            #expect(canceled.text("status") == "canceled")
            gateway.takes(oneOf: 4)
            try await fixture.workAll(step: .seconds(31))
            for id in ids.dropFirst() { #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded") }
            #expect(try await fixture.letters() == [])
        }
        try await fixture.expectSoundPayments()
    }

    @Test("a payment that cannot be read waits, and keeps no other from being taken up")
    func unreadable() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        try await fixture.run { client in
            let odd = try await withdraw(client, key: "odd")
            try await fixture.test.store.transaction { transaction in
                _ = try transaction.run("UPDATE payments SET currency = 'XXX'", [])
            }
            _ = try await client.openWallet("bob", "10")
            let well = try await client.post("/payments/withdraw", #"{"amount":1}"#, key: "well", user: "bob")
            for _ in 0..<3 {
                try await fixture.work()
                fixture.test.time.advance(by: .seconds(31))
            }
            let id = try #require(well.text("paymentId"))
            #expect(try await client.status(ofPayment: id, user: "bob") == "succeeded")
            let told = try fixture.test.log.events("a payment cannot be read, and waits; the others go on")
            #expect(told.count == 3)
            guard case .string(let why)? = told.first?["error"] else { return #expect(Bool(false), "no reason") }
            #expect(why.contains(odd) && why.contains("XXX"))
        }
    }

    @Test("a dead letter is not made anew when its money was spent meanwhile")
    func spentMeanwhile() async throws {
        let none = ProviderReply.notSent(.unreachable)
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(none, none, none, none, none))
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.workAll()
            #expect(try await client.withdraw("50", key: "w", user: "ann").status == 200)
            #expect(try await fixture.decide("retry", about: id).status == 402)
            #expect(try await fixture.letters() == [id])
            let shown = try await fixture.operate { try await $0.get("/dead-letters/\(id)") }
            #expect(shown.count("actions") == 0, "nothing was done")
        }
    }

    @Test("a worker that falls silent loses its payment after its lease, and changes nothing when it wakes (INV-13)")
    func fencing() async throws {
        let gate = Gate()
        let frozen = ScriptedGateway(steps: [.wait(gate, then: .declined(code: "card_declined"))])
        let fixture = try PaymentFixture.withGateway(frozen)
        let gateway = ScriptedGateway()
        let other = fixture.successor(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.worker.fill()
            await gate.arrival()
            fixture.test.time.advance(by: .seconds(29))
            try await other.work()
            #expect(gateway.calls.isEmpty, "it is another worker's")
            fixture.test.time.advance(by: .seconds(2))
            try await other.work()
            #expect(gateway.calls == frozen.calls)
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            gate.open()
            await fixture.worker.idle()
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(try await client.balance("ann") == 0)
            #expect(try await client.events(ofPayment: id, user: "ann").contains("taken_over"))
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "while another worker is at work on its payment, one that wakes neither ends it, puts it off, nor keeps it (hazard 18)",
        arguments: [
            ProviderReply.declined(code: "card_declined"), .notSent(.unreachable), .unknown(.timedOut), .canceled,
        ])
    func fencingMeanwhile(_ late: ProviderReply) async throws {
        let (early, gate) = (Gate(), Gate())
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(steps: [.wait(early, then: late)]))
        let other = fixture.successor(ScriptedGateway(steps: [.wait(gate, then: .succeeded)]))
        @Sendable func row() async throws -> [String?]? {
            try await fixture.environment.store.transaction { transaction in
                try transaction.first(
                    "SELECT status, lease_owner, due_at, epoch, may_be_taken, held, phase, attempts FROM payments", []
                ) { row in (0..<8).map { row.optionalText($0) } }
            }
        }
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.worker.fill()
            await early.arrival()
            fixture.test.time.advance(by: .seconds(31))
            try await other.worker.fill()
            await gate.arrival()
            let taken = try await row()
            fixture.test.time.advance(by: .seconds(5))
            try await fixture.worker.renewLeases()
            early.open()
            await fixture.worker.idle()
            #expect(try await row() == taken)
            #expect(try await client.balance("ann") == 0)
            gate.open()
            await other.worker.idle()
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(try await client.balance("ann") == 0)
        }
        try await fixture.expectSoundPayments()
    }

    @Test("a lease is renewed by the epoch it was taken with, whoever's name it bears (INV-13)")
    func renewalOfOldEpoch() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        try await fixture.run { client in
            let id = try await withdraw(client)
            let terms = PaymentRecords.Terms(
                owner: "one", lease: .seconds(30), maximumAttempts: 5, giveUpAfter: .zero, longestWait: .seconds(600))
            let now = fixture.environment.time.now
            let epochs = try await fixture.records { records in
                try [now, now.advanced(by: .seconds(31))].map {
                    try records.take(from: .stripe, limit: 1, at: $0, on: terms).payments.first?.epoch
                }
            }
            let (first, second) = (try #require(epochs[0]), try #require(epochs[1]))
            let renewed = try await fixture.records { records in
                try [first, second].map { try records.renew(id, epoch: $0, at: now, on: terms) }
            }
            #expect(renewed == [false, true])
        }
    }

    @Test("a worker that is alive keeps its payment for longer than a lease")
    func renewal() async throws {
        let gate = Gate()
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(steps: [.wait(gate, then: .succeeded)]))
        let gateway = ScriptedGateway()
        let other = fixture.successor(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.worker.fill()
            await gate.arrival()
            for _ in 0..<4 {
                fixture.test.time.advance(by: .seconds(20))
                try await fixture.worker.renewLeases()
                try await other.work()
            }
            #expect(gateway.calls.isEmpty)
            gate.open()
            await fixture.worker.idle()
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
        }
    }

    @Test("at a start, what an earlier process was at work on is taken up at once, and may have been taken")
    func restart() async throws {
        let gate = Gate()
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(steps: [.wait(gate, then: .succeeded)]))
        // Every later attempt is refused: without the memory of the first it would be given back.
        let gateway = ScriptedGateway(.refused(code: "unauthorized", detail: "no"), .succeeded)
        let other = fixture.successor(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.worker.fill()
            await gate.arrival()
            try await other.worker.disownAll()
            try await other.workAll(step: .seconds(2))
            #expect(gateway.names == ["pay", "cancel"])
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            gate.open()
            await fixture.worker.idle()
        }
        try await fixture.expectSoundPayments()
    }

    @Test("many workers on one store make each payment once")
    func manyWorkers() async throws {
        let gateway = ScriptedGateway()
        let fixture = try PaymentFixture.withGateway(gateway)
        let workers = [fixture] + (0..<4).map { _ in fixture.successor(gateway) }
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            for number in 0..<60 {
                #expect(
                    try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "ann").status == 202)
            }
            try await withThrowingDiscardingTaskGroup { group in
                // Little time passes: one whose lease runs out would be taken over, and asked about once more.
                for worker in workers { group.addTask { try await worker.workAll(step: .milliseconds(1)) } }
            }
            #expect(try await client.balance("ann") == 60 * 98)
        }
        #expect(gateway.calls.count == 60 && Set(gateway.calls).count == 60)
        try await fixture.expectSoundPayments()
    }

    @Test("a provider that answers about another amount moves no money here until it answers about ours")
    func contradicted() async throws {
        let other = ProviderReply.contradicted("payout of 1 USD instead of payout of 10000 USD")
        let gateway = ScriptedGateway(steps: (0..<40).map { _ in .reply(other) })
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            for _ in 0..<40 {
                try await fixture.work()
                fixture.test.time.advance(by: .seconds(31))
            }
            #expect(gateway.names == Array(repeating: "pay", count: 5) + Array(repeating: "cancel", count: 35))
            #expect(try await client.status(ofPayment: id, user: "ann") == "processing")
            #expect(try await client.balance("ann") == 0)
            try await fixture.expectSoundPayments()
            try await fixture.work()
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
        }
        try await fixture.expectSoundPayments()
    }

    @Test("no more is asked at once than is allowed, and the rest follows without waiting for the next look")
    func bounded() async throws {
        let gate = Gate()
        let gateway = ScriptedGateway(steps: (0..<4).map { _ in .wait(gate, then: .succeeded) })
        let fixture = try PaymentFixture.withGateway(
            gateway, PaymentsConfiguration(backoff: BackoffSchedule(), giveUpAfter: .zero, maximumInFlight: 4),
            isEager: true)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            for number in 0..<40 {
                _ = try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "ann")
            }
            await gate.arrival(of: 4)
            try await fixture.worker.fill()
            #expect(gateway.calls.count == 4)
            gate.open()
            try await eventually { try await client.balance("ann") == 40 * 98 }
        }
        #expect(gateway.calls.count == 40)
    }

    @Test("a provider with more payments than there is room for, and no answers, takes none of the other's room")
    func fair() async throws {
        let gate = Gate()
        let gateway = ScriptedGateway(steps: (0..<8).map { _ in .wait(gate, then: .succeeded) })
        let fixture = try PaymentFixture.withGateway(
            gateway, PaymentsConfiguration(backoff: BackoffSchedule(), giveUpAfter: .zero, maximumInFlight: 8),
            isEager: true)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            for number in 0..<40 {
                _ = try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "ann")
            }
            await gate.arrival(of: 8)
            for number in 0..<5 {
                _ = try await client.pay(
                    "deposit", from: account, "1", key: "p\(number)", user: "ann", provider: "paypal")
            }
            try await eventually { try await client.balance("ann") == 5 * 98 }
            #expect(gateway.calls.count == 13)
            gate.open()
            try await eventually { try await client.balance("ann") == 45 * 98 }
        }
        #expect(gateway.calls.count == 45)
    }

    @Test("a provider that wants to be left alone is, for all its payments, and a burst does not end in dead letters")
    func pause() async throws {
        let gateway = ScriptedGateway(
            // The one in the middle is paypal's answer.
            steps: Array(repeating: .reply(.throttled(after: .seconds(30))), count: 16) + [.reply(.succeeded)]
                + Array(repeating: .reply(.unknown(.unavailable, after: .seconds(45))), count: 4))
        let fixture = try PaymentFixture.withGateway(
            gateway,
            PaymentsConfiguration(backoff: BackoffSchedule(maximumAttempts: 3), giveUpAfter: .zero, maximumInFlight: 16)
        )
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            for number in 0..<40 {
                _ = try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "ann")
            }
            try await fixture.work()
            #expect(gateway.calls.count == 16)
            _ = try await client.pay("deposit", from: account, "1", key: "p", user: "ann", provider: "paypal")
            for _ in 0..<29 {
                fixture.test.time.advance(by: .seconds(1))
                try await fixture.successor(gateway).work()
                try await fixture.work()
            }
            #expect(gateway.calls.count == 17, "nobody asks stripe, and paypal is asked")
            fixture.test.time.advance(by: .seconds(1))
            try await fixture.work()
            let asked = gateway.calls.count
            #expect(asked > 17)
            fixture.test.time.advance(by: .seconds(44))
            try await fixture.work()
            #expect(gateway.calls.count == asked)
            try await fixture.workAll()
            #expect(try await client.balance("ann") == 41 * 98)
        }
        try await fixture.expectSoundPayments()
    }

    @Test(
        "what a provider asks for about one payment is about that one, and a pause from before the clock was set back is over"
    )
    func pauseOfOne() async throws {
        let gateway = ScriptedGateway(.unknown(.inProgress, after: .seconds(60)), .throttled(after: .seconds(60)))
        let fixture = try PaymentFixture.withGateway(gateway, isEager: false)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            _ = try await client.pay("deposit", from: account, "1", key: "a", user: "ann")
            try await fixture.work()
            _ = try await client.pay("deposit", from: account, "1", key: "b", user: "ann")
            try await fixture.work()
            #expect(gateway.calls.count == 2)
            _ = try await client.pay("deposit", from: account, "1", key: "c", user: "ann")
            try await fixture.work()
            #expect(gateway.calls.count == 2)
            try await fixture.environment.store.transaction { transaction in
                _ = try transaction.run("UPDATE provider_pauses SET until = until + 31536000000", [])
            }
            try await fixture.work()
            #expect(try await client.balance("ann") == 98)
        }
    }

    @Test("a provider that fails is left alone for 30 s, then asked once; the other one is not held up")
    func breaker() async throws {
        let gateway = ScriptedGateway(steps: (0..<10).map { _ in .reply(.unknown(.timedOut)) })
        let fixture = try PaymentFixture.withGateway(
            gateway, PaymentsConfiguration(backoff: BackoffSchedule(maximumAttempts: 20), giveUpAfter: .zero))
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            for number in 0..<10 {
                _ = try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "ann")
            }
            try await fixture.work()
            #expect(gateway.calls.count == 10)
            fixture.test.time.advance(by: .seconds(20))
            _ = try await client.pay("deposit", from: account, "1", key: "p", user: "ann", provider: "paypal")
            try await fixture.work()
            #expect(gateway.calls.count == 11, "stripe is left alone")
            #expect(try await client.balance("ann") == 98)
            fixture.test.time.advance(by: .seconds(11))
            try await fixture.work()
            try await fixture.workAll(step: .seconds(2))
            #expect(try await client.balance("ann") == 11 * 98)
        }
        #expect(gateway.calls.count == 21)
        try await fixture.expectSoundPayments()
    }

    @Test("what is due is found by one stretch of an index, however much is open")
    func plans() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        for statement in [PaymentRecords.due, PaymentRecords.strayed] {
            let plan = try await fixture.environment.store.transaction { transaction in
                try transaction.all("EXPLAIN QUERY PLAN \(statement)", ["stripe", .integer(0), .integer(1)]) {
                    $0.text(3)
                }
            }
            #expect(plan.count == 1, "\(plan)")
            #expect(plan.first?.contains("INDEX payments_due (provider=? AND due_at") == true, "\(plan)")
        }
    }

    @Test("a payment that seems to be due in a year, as the clock was set back, is taken up now")
    func clockSetBack() async throws {
        let gateway = ScriptedGateway(.notSent(.unreachable))
        let fixture = try PaymentFixture.withGateway(gateway)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.work()
            try await fixture.environment.store.transaction { transaction in
                _ = try transaction.run("UPDATE payments SET due_at = due_at + 31536000000", [])
            }
            try await fixture.work()
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
        }
    }

    @Test("nothing is overdue while its provider wants to be left alone, nor for that time when it is over")
    func pausedIsNotOverdue() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(.throttled(after: .seconds(500))))
        @Sendable func overdue() async throws -> Duration {
            try await fixture.records { try $0.backlog(of: .stripe, at: fixture.test.time.now) }.oldestDue
        }
        try await fixture.run { client in
            let account = try await client.openWallet("bob", "0")
            _ = try await client.pay("deposit", from: account, "1", key: "one", user: "bob")
            try await fixture.work()
            _ = try await client.pay("deposit", from: account, "1", key: "another", user: "bob")
            fixture.test.time.advance(by: .seconds(499))
            #expect(try await overdue() == .zero)
            fixture.test.time.advance(by: .seconds(31))
            #expect(try await overdue() == .seconds(30))
            try await fixture.work()
            #expect(try await overdue() == .zero)
        }
    }

    @Test("a payment made in the future, as the clock was set back, may be given up (hazard 37)")
    func madeInTheFuture() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(.notSent(.unreachable)), .givingUpAtOnce)
        try await fixture.run { client in
            let id = try await withdraw(client)
            try await fixture.environment.store.transaction { transaction in
                _ = try transaction.run("UPDATE payments SET created_at = created_at + 31536000000", [])
            }
            try await fixture.work()
            #expect(try await client.status(ofPayment: id, user: "ann") == "failed")
        }
    }

    @Test("the age of what is open grows while it is asked about, and is read from an index")
    func age() async throws {
        let gateway = ScriptedGateway(steps: (0..<10).map { _ in .reply(.pending) })
        let fixture = try PaymentFixture.withGateway(gateway)
        @Sendable func backlog() async throws -> Backlog {
            try await fixture.records { try $0.backlog(of: .stripe, at: fixture.test.time.now) }
        }
        try await fixture.run { client in
            let empty = try await backlog()
            #expect(empty == Backlog(count: 0, oldestDue: .zero, oldestOpen: .zero))
            _ = try await withdraw(client)
            for _ in 0..<10 {
                try await fixture.work()
                fixture.test.time.advance(by: .seconds(100))
            }
            #expect(gateway.calls.count == 10)
            let stuck = try await backlog()
            #expect(stuck.count == 1 && stuck.oldestOpen == .seconds(1000) && stuck.oldestDue < .seconds(100))
            try await fixture.work()
            #expect(try await backlog() == Backlog(count: 0, oldestDue: .zero, oldestOpen: .zero))
        }
        let plan = try await fixture.environment.store.transaction { transaction in
            try transaction.all("EXPLAIN QUERY PLAN \(PaymentRecords.oldest)", ["stripe"]) { $0.text(3) }
        }
        #expect(plan.count == 1 && plan[0].contains("INDEX payments_by_age (provider=?)"), "\(plan)")
    }

    @Test(
        "while a breaker is open, what waits says when its provider is asked next, and what nobody has sent may be canceled"
    )
    func behindBreaker() async throws {
        let gateway = ScriptedGateway(steps: (0..<10).map { _ in .reply(.unknown(.timedOut)) })
        let fixture = try PaymentFixture.withGateway(
            gateway, PaymentsConfiguration(backoff: BackoffSchedule(maximumAttempts: 20), giveUpAfter: .zero))
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let waiting = try #require(
                try await client.pay("deposit", from: account, "1", key: "w", user: "ann").text("paymentId"))
            let parts = PaymentService.Parts(
                fixture.environment,
                provider: SimulatedCard(allowsTestMethods: false, sleeper: fixture.test.sleeper), gateway: gateway,
                configuration: PaymentsConfiguration(backoff: BackoffSchedule(maximumAttempts: 20), giveUpAfter: .zero))
            for number in 0..<9 {
                _ = try await client.pay("deposit", from: account, "1", key: "k\(number)", user: "ann")
            }
            try await parts.worker.fill()
            await parts.worker.idle()
            #expect(gateway.calls.count == 10)
            fixture.test.time.advance(by: .seconds(20))
            let service = BuiltService(routes: parts.routes)
            let shown = try await service.test(in: fixture.environment) {
                try await $0.get("/payments/\(waiting)", user: "ann")
            }
            #expect(shown.text("nextRetryAt") == "2026-01-01T00:00:30.000Z")
            let sent = try await client.post("/payments/\(waiting)/cancel", "", user: "ann")
            #expect(sent.code == "payment-state-conflict")
        }
    }

    @Test(
        "a payment that was taken up and handed back unsent may be canceled, and one that may have been taken or is being sent may not"
    )
    func handedBack() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(.unknown(.timedOut)))
        let terms = PaymentRecords.Terms(
            owner: "w", lease: .seconds(30), maximumAttempts: 5, giveUpAfter: .zero, longestWait: .seconds(1200))
        try await fixture.run { client in
            let id = try await withdraw(client)
            func cancel() async throws -> RouteResponse {
                try await client.post("/payments/\(id)/cancel", "", user: "ann")
            }
            let now = fixture.test.time.now
            let taken = try await fixture.records { try $0.take(from: .stripe, limit: 1, at: now, on: terms).payments }
            #expect(try await cancel().code == "payment-state-conflict")
            try await fixture.records { records in
                for payment in taken { try records.handBack(payment, until: now, at: now) }
            }
            #expect(try await client.status(ofPayment: id, user: "ann") == "processing")
            let canceled = try await cancel()
            #expect(canceled.status == 200 && canceled.text("status") == "canceled")
            #expect(try await client.balance("ann") == 10_200)
            let second = try #require(
                try await client.post("/payments/withdraw", #"{"amount":100}"#, key: "second", user: "ann").text(
                    "paymentId"))
            try await fixture.work()
            #expect(try await client.post("/payments/\(second)/cancel", "", user: "ann").status == 409)
        }
        try await fixture.expectSoundPayments()
    }

    @Test("open charges and refunds are counted by indexes that have nothing else in them, however many there are")
    func openCharges() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway())
        for table in ["charges", "refunds"] {
            let plan = try await fixture.environment.store.transaction { transaction in
                try transaction.all("EXPLAIN QUERY PLAN \(ChargeBook.open(table))", [.integer(1)]) { $0.text(3) }
            }
            #expect(plan.contains { $0.contains("INDEX \(table)_by_age") }, "\(plan)")
            #expect(!plan.contains { $0.contains("TEMP B-TREE") }, "\(plan)")
        }
    }

    @Test("what the worker logs of a payment names the request that made it")
    func story() async throws {
        let fixture = try PaymentFixture.withGateway(ScriptedGateway(.notSent(.unreachable)))
        try await fixture.run { client in
            _ = try await client.openWallet("ann", "0")
            let made = try await client.post(
                "/payments/deposit", #"{"amount":1}"#, key: "k", user: "ann", headers: ["X-Request-ID": "story-1"])
            #expect(made.status == 202)
            try await fixture.workAll()
        }
        for message in ["a payment is asked about again", "a payment has succeeded"] {
            #expect(try fixture.test.log.events(message).map { $0["request_id"] } == [.string("story-1")])
        }
    }

    @Test("a worker that is told to stop takes up nothing more and waits for what it has asked")
    func stop() async throws {
        let gate = Gate()
        let gateway = ScriptedGateway(steps: [.wait(gate, then: .succeeded)])
        let fixture = try PaymentFixture.withGateway(gateway, isEager: true)
        try await fixture.run { client in
            let id = try await withdraw(client)
            await gate.arrival()
            let stopped = Task { await fixture.worker.stop() }
            gate.open()
            await stopped.value
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            _ = try await client.post("/payments/deposit", #"{"amount":1}"#, key: "d", user: "ann")
            try await fixture.work()
            #expect(gateway.calls.count == 1)
        }
    }

    @Test("an answer that cannot be stored is asked for again, and nothing happens twice")
    func storeFails() async throws {
        let gateway = ScriptedGateway()
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        let store = GatedStore(test.store)
        let fixture = PaymentFixture(
            test, test.environment(on: store), SimulatedCard(allowsTestMethods: false, sleeper: test.sleeper),
            gateway: gateway, configuration: .steady)
        try await fixture.run { client in
            let account = try await client.openWallet("ann", "0")
            let id = try #require(
                try await client.pay("deposit", from: account, "1", key: "k", user: "ann").text("paymentId"))
            store.failNext(1, after: 1)
            try await fixture.work()
            #expect(try await client.status(ofPayment: id, user: "ann") == "processing")
            try await fixture.workAll()
            #expect(try await client.status(ofPayment: id, user: "ann") == "succeeded")
            #expect(try await client.balance("ann") == 98)
        }
        #expect(gateway.calls.count == 2)
        try await fixture.expectSoundPayments()
    }
}
