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

    /// Releases what has expired and forgets old refusals, in transactions of bounded size between which requests are served.
    ///
    /// - Throws: `StoreError`, also when all but some reservations could be released (hazard 22): the first of these is named.
    static func sweep(_ environment: ServiceEnvironment) async throws {
        let time = environment.time
        var last: Inventory.Overdue?
        var stuck = Stuck()
        try await environment.stepByStep {
            let (after, now) = (last, time.now)
            let overdue = try await environment.store.transaction { transaction in
                try Inventory(transaction: transaction, now: now).overdue(after: after, limit: sweepLimit)
            }
            if !overdue.isEmpty { stuck.add(try await release(overdue, environment)) }
            last = overdue.last
            return overdue.count == sweepLimit
        }
        try await environment.stepByStep {
            let forgotten = try await environment.store.transaction { transaction in
                try Inventory(transaction: transaction, now: time.now)
                    .forgetRefusals(before: time.now.advanced(by: .zero - refusalMemory), limit: sweepLimit)
            }
            return forgotten == sweepLimit
        }
        if let first = stuck.first {
            throw StoreError.failed("reservations that cannot be released: \(stuck.count), of which \(first)")
        }
    }

    /// Reservations that cannot be released.
    private struct Stuck {
        var count = 0
        /// The first, and why.
        var first: String?

        mutating func add(_ other: Stuck) {
            count += other.count
            first = first ?? other.first
        }
    }

    /// Releases reservations in one transaction, or, where that fails, each in one of its own.
    ///
    /// - Returns: those that could not be released.
    private static func release(
        _ reservations: [Inventory.Overdue], _ environment: ServiceEnvironment
    ) async throws -> Stuck {
        let time = environment.time
        func release(_ some: [Inventory.Overdue]) async throws {
            try await environment.store.transaction { transaction in
                let inventory = Inventory(transaction: transaction, now: time.now)
                for reservation in some { _ = try inventory.release(id: reservation.id) }
            }
        }
        var stuck = Stuck()
        do {
            try await release(reservations)
        } catch StoreError.failed, StoreError.constraint {
            for reservation in reservations {
                do {
                    try await release([reservation])
                } catch StoreError.failed(let reason), StoreError.constraint(let reason) {
                    stuck.add(Stuck(count: 1, first: "\(reservation.id): \(reason)"))
                }
            }
        }
        return stuck
    }
}
