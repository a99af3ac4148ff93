import Correlation
import Idempotency
import Logging
import OrderService
import PaymentAPI
import PaymentService
import Resilience
import ServiceClient
import ServiceKit
import StockAPI
import StockService

extension Node {
    /// Starts the service of this machine.
    func start(in world: World) {
        guard let disk else { return }
        let incarnation = begin(in: world)
        let clock = SimulatedClock(incarnation: incarnation)
        let life = "\(name).\(incarnation.number)"
        let numbers = Cell(world.chance.generator("ids of \(life)"))
        let keys = SQLIdempotencyStore(
            timeToLive: role == .order ? world.deployment.keyTimeToLive : world.deployment.participantKeyTimeToLive)
        let environment = ServiceEnvironment(
            store: SimulatedStore(incarnation, on: disk), keys: keys, time: clock, sleeper: clock,
            identifiers: IdentifierSource(time: clock) { numbers.value.next() }, logger: Self.logger,
            executor: incarnation)
        let service: BuiltService
        var paymentParts: PaymentService.Parts?
        switch role {
        case .order:
            let parts = order(incarnation, environment)
            service = parts.service()
            // As at the start of the only process on the store; with several, leases run out instead.
            if world.deployment.orchestrators == 1 {
                incarnation.spawn {
                    while incarnation.isAlive, (try? await parts.recovery.disownAll()) == nil {
                        try? await clock.sleep(for: .seconds(1))
                    }
                }
            }
        case .stock:
            service = StockService.build(environment, reservationTimeToLive: world.deployment.reservationTimeToLive)
        case .payment:
            let provider = LedgerProvider(incarnation: incarnation)
            let gateway = SimulatedGateway(incarnation: incarnation)
            let parts = PaymentService.Parts(
                environment, provider: world.mistake.provider?(provider) ?? provider,
                gateway: world.mistake.gateway?(gateway) ?? gateway, configuration: payments(incarnation))
            service = parts.service()
            incarnation.inbox.value = parts.inbox
            paymentParts = parts
            incarnation.spawn {
                while incarnation.isAlive, (try? await parts.worker.disownAll()) == nil {
                    try? await clock.sleep(for: .seconds(1))
                }
            }
            if world.deployment.retriedDeadLetters > 0 {
                incarnation.spawn { await Operator(incarnation: incarnation, disk: disk).run(parts) }
            }
        case .client: return
        }
        for background in service.background {
            if let task = background as? PeriodicTask { repeatedly(task, incarnation, clock) }
        }
        incarnation.endpoint.value = Endpoint(service.routes, environment, payments: paymentParts)
    }

    private func repeatedly(_ task: PeriodicTask, _ incarnation: Incarnation, _ clock: SimulatedClock) {
        let deployment = incarnation.world.deployment
        if deployment.without.contains(task.name) { return }
        let interval = deployment.housekeeping[task.name] ?? task.interval
        incarnation.spawn {
            while incarnation.isAlive {
                if task.overlaps { incarnation.spawn { try? await task.body() } } else { try? await task.body() }
                try? await clock.sleep(for: interval)
            }
        }
    }

    private func order(_ incarnation: Incarnation, _ environment: ServiceEnvironment) -> OrderService.Parts {
        let (world, deployment) = (incarnation.world, incarnation.world.deployment)
        let transport = SimulatedTransport(sender: incarnation)
        func caller(_ host: String, _ refusalCodes: Set<String>) -> ServiceCaller {
            let single = SingleCalls(
                baseURL: "http://\(host)", transport: transport, attemptTimeout: deployment.gatewayTimeout,
                time: environment.time)
            let carrier: any CommandCarrier =
                deployment.isBatched ? BatchedCalls(single: single, executor: incarnation) : single
            return ServiceCaller(carrier: carrier, refusalCodes: refusalCodes)
        }
        let stock = HTTPStockClient(caller: caller("stock", HTTPStockClient.refusalCodes))
        let payment = HTTPPaymentClient(caller: caller("payment", HTTPPaymentClient.refusalCodes))
        let jitter = Cell(world.chance.generator("jitter of \(name).\(incarnation.number)"))
        let configuration = OrderConfiguration(
            checkoutTimeout: deployment.checkoutTimeout, gatewayTimeout: deployment.gatewayTimeout,
            backoff: BackoffSchedule(
                base: deployment.backoffBase, cap: deployment.backoffCap, jitter: .milliseconds(100),
                maximumAttempts: deployment.maximumAttempts,
                random: { Double.random(in: 0..<1, using: &jitter.value) }),
            reservationTimeToLive: deployment.reservationTimeToLive, leaseDuration: deployment.leaseDuration,
            parkAfterRounds: deployment.parkAfterRounds, parkedRetry: deployment.parkedRetry,
            breaker: deployment.breaker)
        return OrderService.Parts(
            environment, stock: world.mistake.stock?(stock) ?? stock,
            payment: world.mistake.payment?(payment) ?? payment,
            configuration: configuration, decide: world.mistake.decide ?? { $0.apply($1) },
            decideOnKey: world.mistake.decideOnKey ?? { $0.claim })
    }

    private func payments(_ incarnation: Incarnation) -> PaymentsConfiguration {
        let deployment = incarnation.world.deployment
        let jitter = Cell(incarnation.world.chance.generator("jitter of \(name).\(incarnation.number)"))
        return PaymentsConfiguration(
            providerTimeout: .seconds(1),
            backoff: BackoffSchedule(
                base: deployment.backoffBase, cap: deployment.backoffCap, jitter: .milliseconds(100),
                maximumAttempts: deployment.maximumAttempts,
                random: { Double.random(in: 0..<1, using: &jitter.value) }),
            giveUpAfter: deployment.giveUpAfter, lease: deployment.leaseDuration)
    }

    private static let logger = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }
}
