import Money
import Prometheus
import Resilience
import ServiceClient
import StockAPI
import TestSupport
import Testing

@testable import OrderService

@Suite("Metrics of sagas")
struct SagaMetricsTests {
    private let registry = PrometheusRegistry(SagaMetrics.families)
    private let metrics: SagaMetrics
    private let total = Money(minorUnits: 2000, currency: .usd)

    init() {
        metrics = SagaMetrics(registry)
    }

    private func value(_ series: String) -> String? {
        registry.text.split(separator: "\n").first { $0.hasPrefix("\(series) ") }
            .map { String($0.dropFirst(series.count + 1)) }
    }

    @Test("every series is there before anything has happened, so that a rate misses nothing")
    func fromTheStart() {
        #expect(value(#"checkout_total{outcome="reservation_lost"}"#) == "0")
        #expect(value(#"saga_compensations_total{outcome="unknown",step="refund"}"#) == "0")
        #expect(value(#"retry_attempts_total{operation="charge",target="payment"}"#) == "0")
        #expect(value(#"checkout_limbo_minor_units{currency="USD",state="parked"}"#) == "0")
        #expect(value(#"checkout_sagas{state="parked"}"#) == "0")
    }

    @Test(
        "an end is counted by why it ended; a code that is not known here makes no label",
        arguments: [
            (Failure(kind: .refused, code: "payment-declined", detail: ""), "payment_declined"),
            (Failure(kind: .refused, code: "insufficient-stock", detail: ""), "insufficient_stock"),
            (Failure(kind: .refused, code: "item-not-found", detail: ""), "item_not_found"),
            (Failure(kind: .refused, code: "made-up-by-another-service", detail: ""), "refused"),
            (Failure(kind: .unavailable, code: "", detail: ""), "unavailable"),
            (Failure(kind: .timedOut, code: "", detail: ""), "timed_out"),
            (Failure(kind: .garbled, code: "", detail: ""), "garbled"),
            (.reservationLost, "reservation_lost"), (.deadline, "deadline"), (.withdrawn, "withdrawn"),
        ] as [(Failure, String)])
    func ends(failure: Failure, outcome: String) {
        metrics.ended(.failed(failure), after: .milliseconds(3))
        #expect(value("checkout_total{outcome=\"\(outcome)\"}") == "1")
        #expect(value(#"checkout_saga_duration_seconds_count{outcome="failed"}"#) == "1")
        #expect(value(#"checkout_saga_duration_seconds_count{outcome="completed"}"#) == "0")
    }

    @Test("an end before its beginning, by a clock that was set back, took no time")
    func clockSetBack() {
        metrics.ended(.completed(ReservedGoods(total: total, lines: [])), after: .seconds(-5))
        #expect(value(#"checkout_saga_duration_seconds_sum{outcome="completed"}"#) == "0")
    }

    @Test(
        "money may have been taken from the charge on until it is known to be given back, and never is for a mere release"
    )
    func atStake() {
        let goods = ReservedGoods(total: total, lines: [])
        #expect(Saga.Step.reserving.atStake(nil) == nil)
        #expect(Saga.Step.charging(goods).atStake(nil) == total)
        #expect(Saga.Step.completing(goods).atStake(total) == total)
        #expect(Saga.Step.releasing(.deadline, then: .nothing).atStake(total) == nil)
        #expect(Saga.Step.releasing(.reservationLost, then: .refund).atStake(total) == total)
        #expect(Saga.Step.releasing(.deadline, then: .cancel).atStake(total) == total)
        #expect(Saga.Step.canceling(.deadline).atStake(total) == total)
        #expect(Saga.Step.refunding(.reservationLost).atStake(total) == total)
        #expect(Saga.Step.completed(goods).atStake(total) == nil)
        #expect(Saga.Step.failed(.deadline).atStake(total) == nil)
    }

    @Test("what waits in the store is set with every scrape, and gone when it is gone")
    func waiting() throws {
        let euros = LimboCount.Amount(minorUnits: 1500, currency: try #require(Currency(code: "EUR")))
        metrics.set(waiting: [
            LimboCount(state: "waiting", count: 2, atStake: nil),
            LimboCount(state: "waiting", count: 1, atStake: euros),
            LimboCount(state: "parked", count: 4, atStake: LimboCount.Amount(minorUnits: 9, currency: .usd)),
        ])
        #expect(value(#"checkout_sagas{state="waiting"}"#) == "3")
        #expect(value(#"checkout_sagas{state="parked"}"#) == "4")
        #expect(value(#"checkout_limbo_minor_units{currency="EUR",state="waiting"}"#) == "1500")
        #expect(value(#"checkout_limbo_minor_units{currency="USD",state="parked"}"#) == "9")
        metrics.set(waiting: [])
        #expect(value(#"checkout_sagas{state="waiting"}"#) == "0")
        #expect(value(#"checkout_limbo_minor_units{currency="EUR",state="waiting"}"#) == "0")
    }

    @Test("each step is counted under its own name and no other, and an end under none", arguments: Saga.Step.samples)
    func steps(step: Saga.Step) {
        let names = ["reserving", "charging", "completing", "releasing", "canceling", "refunding", "waiting", "parked"]
        metrics.count(step, by: 1)
        let counted = names.filter { value(#"checkout_sagas{state="\#($0)"}"#) == "1" }
        #expect(counted == (step.status == .pending ? [step.name] : []))
        metrics.count(step, by: -1)
        #expect(names.allSatisfy { value(#"checkout_sagas{state="\#($0)"}"#) == "0" })
    }

    @Test("a saga under way is counted in its step, with what may have been taken, and in no step when it has left")
    func underWay() {
        let goods = ReservedGoods(total: total, lines: [])
        metrics.count(.reserving, by: 1)
        metrics.move(from: .reserving, to: .charging(goods))
        metrics.move(atStake: nil, to: total)
        #expect(value(#"checkout_sagas{state="reserving"}"#) == "0")
        #expect(value(#"checkout_sagas{state="charging"}"#) == "1")
        #expect(value(#"checkout_limbo_minor_units{currency="USD",state="in_flight"}"#) == "2000")
        metrics.move(atStake: total, to: nil)
        metrics.count(.charging(goods), by: -1)
        #expect(value(#"checkout_sagas{state="charging"}"#) == "0")
        #expect(value(#"checkout_limbo_minor_units{currency="USD",state="in_flight"}"#) == "0")
    }

    @Test("the breakers show as numbers")
    func breakers() {
        metrics.set(breaker: .open, of: "stock")
        metrics.set(breaker: .halfOpen, of: "payment")
        #expect(value(#"circuit_breaker_state{target="stock"}"#) == "2")
        #expect(value(#"circuit_breaker_state{target="payment"}"#) == "1")
    }

    @Test("the store tells how many sagas wait, parked or not, and what may have been taken for them")
    func waitingInTheStore() async throws {
        let fixture = try OrderFixture()
        let log = fixture.parts.log
        #expect(try await log.countWaiting() == [])
        for (parkedFor, atStake) in [(nil, total), (nil, nil), ("why", total), ("why", total)] as [(String?, Money?)] {
            let left = try await fixture.leave(.reserving, in: log)
            try #require(
                try await log.putDown(
                    left.order, SagaLog.firstLease(left.plan.orderID), for: .seconds(9), rounds: 1,
                    parkedFor: parkedFor, atStake: atStake))
        }
        #expect(
            Set(try await log.countWaiting()) == [
                LimboCount(state: "parked", count: 2, atStake: .init(minorUnits: 4000, currency: .usd)),
                LimboCount(state: "waiting", count: 1, atStake: nil),
                LimboCount(state: "waiting", count: 1, atStake: .init(minorUnits: 2000, currency: .usd)),
            ])
        #expect(try await log.countWaiting(limit: 1).map(\.count) == [1])
    }

    @Test("what waits together may be more than one order could be worth (hazard 45)")
    func waitingBeyondOneOrder() async throws {
        let fixture = try OrderFixture()
        let log = fixture.parts.log
        for _ in 0..<3 {
            let left = try await fixture.leave(.reserving, in: log)
            try #require(
                try await log.putDown(
                    left.order, SagaLog.firstLease(left.plan.orderID), for: .seconds(9), rounds: 1, parkedFor: nil,
                    atStake: Money(minorUnits: Int64.max, currency: .usd)))
        }
        let sum = 3 * Int128(Int64.max)
        let waiting = try await log.countWaiting()
        #expect(waiting == [LimboCount(state: "waiting", count: 3, atStake: .init(minorUnits: sum, currency: .usd))])
        metrics.set(waiting: waiting)
        let told = value(#"checkout_limbo_minor_units{currency="USD",state="waiting"}"#)
        #expect(told.flatMap { Double($0) } == Double(sum))
    }
}
