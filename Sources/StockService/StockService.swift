import Resilience
import ServiceKit
import StockAPI
import Storage

/// The Stock service: items, and the reservations that hold them for orders.
public enum StockService {
    /// How many reservations one transaction of the sweep may cancel.
    static let sweepLimit = 200
    /// A refusal is remembered longer than any caller repeats a command.
    static let refusalMemory = Duration.seconds(86_400)

    /// The process that runs it.
    public static let definition = ServiceDefinition(
        name: "stock", defaultPort: 3133, migrations: StockSchema.migrations
    ) { settings, environment in
        let initialQuantity = try settings.integer("STOCK_INITIAL_QUANTITY", default: 100, in: 0...1_000_000_000)
        let timeToLive = try settings.seconds("RESERVATION_TTL_SECONDS", default: 900, in: 1...86_400)
        try await environment.store.transaction { transaction in
            try Catalogue(transaction: transaction).seed(quantity: Int64(initialQuantity))
        }
        return build(environment, reservationTimeToLive: timeToLive)
    }

    package static func build(_ environment: ServiceEnvironment, reservationTimeToLive: Duration) -> BuiltService {
        let routes = StockRoutes(environment: environment, reservationTimeToLive: reservationTimeToLive)
        let sweep = environment.periodic("reservation sweep", .seconds(1)) { try await Self.sweep(environment) }
        return BuiltService(
            routes: routes.catalogue(), operatorRoutes: ReservationDesk(environment: environment).catalogue(),
            background: [sweep])
    }

    /// Cancels what has expired and forgets old refusals, in transactions of bounded size between which requests are served.
    static func sweep(_ environment: ServiceEnvironment) async throws {
        let time = environment.time
        try await environment.stepByStep {
            let (forgotten, expired) = try await environment.store.transaction { transaction in
                let inventory = Inventory(transaction: transaction, now: time.now)
                let oldest = time.now.advanced(by: .zero - refusalMemory)
                return (
                    try inventory.forgetRefusals(before: oldest, limit: sweepLimit),
                    try inventory.expire(limit: sweepLimit)
                )
            }
            return max(forgotten, expired) == sweepLimit
        }
    }
}
