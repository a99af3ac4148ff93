import Benchmark
import Money
import OrderService
import ServiceClient
import StockAPI

/// What the decisions of a checkout cost: values, without clock, network or store.
func sagaBenchmarks() {
    let total = Money(minorUnits: 2_000, currency: .usd)
    let lines = [LineRequest(itemID: 1, quantity: 2)]
    let unitPrice = Money(minorUnits: 1_000, currency: .usd)
    let goods = ReservedGoods(total: total, lines: [ReservedLine(itemID: 1, quantity: 2, unitPrice: unitPrice)])
    let plan = OrderPlan(
        orderID: "01a1fc67-dc5f-7229-9f7b-3f1897ccbcb2", reservationID: "01a1fc67-dc5f-73d2-b01a-3d9bb1be25bf",
        chargeID: "01a1fc67-dc5f-7554-912e-482e7058eb49", refundID: "01a1fc67-dc5f-7a11-8a4e-0f6a4be1c5d0", user: "",
        lines: lines, holdSeconds: 900, method: nil)

    Benchmark("Saga: from the first call to completed", configuration: .thousands) { benchmark in
        for _ in benchmark.scaledIterations {
            var saga = Saga(plan)
            blackHole(saga.apply(.reserved(.succeeded(goods), mayCharge: true)))
            blackHole(saga.apply(.charged(.succeeded(Done()))))
            blackHole(saga.apply(.completed(.succeeded(Done()))))
        }
    }
    Benchmark("Saga: declined, released and failed", configuration: .thousands) { benchmark in
        for _ in benchmark.scaledIterations {
            var saga = Saga(plan)
            blackHole(saga.apply(.reserved(.succeeded(goods), mayCharge: true)))
            blackHole(saga.apply(.charged(.notSent(.unreachable))))
            blackHole(saga.apply(.released(.succeeded(Done()))))
        }
    }
}

extension Benchmark.Configuration {
    /// For what takes less than the clock can tell: a thousand are timed together, and the figures are of one.
    static var thousands: Self {
        var configuration = Benchmark.defaultConfiguration
        configuration.scalingFactor = .kilo
        configuration.timeUnits = .nanoseconds
        return configuration
    }
}
