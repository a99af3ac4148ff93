import Hummingbird
import Resilience
import Storage
import StrictJSON

/// One thing that a service's health depends on.
public struct HealthCheck: Sendable {
    /// Shown in `checks`.
    public let name: String
    /// Without it the service cannot work at all; without another it is merely degraded.
    public let isEssential: Bool
    /// What else is shown of it.
    public let details: @Sendable () -> [String: String]
    /// Whether it works now.
    public let isHealthy: @Sendable () async -> Bool

    /// A check.
    public init(
        name: String, isEssential: Bool, details: @escaping @Sendable () -> [String: String] = { [:] },
        isHealthy: @escaping @Sendable () async -> Bool
    ) {
        self.name = name
        self.isEssential = isEssential
        self.details = details
        self.isHealthy = isHealthy
    }
}

/// The three health routes (OP-01).
struct HealthRoutes: Sendable {
    let checks: [HealthCheck]
    let drain: DrainState
    let version: String

    func add(to routes: inout RouteCatalogue) {
        routes.get("/health/live", as: .live) { _, _ in
            .json { $0.object { $0.string("status", "alive") } }
        }
        routes.get("/health/ready", as: .ready) { _, _ in
            let results = await run(checks.filter(\.isEssential))
            let isReady = !drain.isDraining && results.allSatisfy(\.isHealthy)
            return .json(status: isReady ? .ok : .serviceUnavailable) { json in
                json.object { json in
                    json.string("status", isReady ? "ready" : drain.isDraining ? "draining" : "unready")
                }
            }
        }
        routes.get("/health", as: .health) { _, _ in
            let results = await run(checks)
            let failed = results.filter { !$0.isHealthy }
            let isUnhealthy = failed.contains { $0.check.isEssential }
            return .json(status: isUnhealthy ? .serviceUnavailable : .ok) { json in
                json.object { json in
                    json.string("status", isUnhealthy ? "unhealthy" : failed.isEmpty ? "healthy" : "degraded")
                    json.object("checks") { json in
                        for result in results {
                            json.name(escaping: result.check.name)
                            json.object { json in
                                json.string("status", result.isHealthy ? "up" : "down")
                                for (name, value) in result.check.details().sorted(by: { $0.key < $1.key }) {
                                    json.string(escaping: name, value)
                                }
                            }
                        }
                    }
                    json.bool("draining", drain.isDraining)
                    json.string("version", version)
                }
            }
        }
    }

    private func run(_ checks: [HealthCheck]) async -> [(check: HealthCheck, isHealthy: Bool)] {
        await withTaskGroup { group in
            for (index, check) in checks.enumerated() {
                group.addTask { (index, await check.isHealthy()) }
            }
            var results = [Bool](repeating: false, count: checks.count)
            for await (index, isHealthy) in group { results[index] = isHealthy }
            return zip(checks, results).map { ($0, $1) }
        }
    }
}

extension HealthCheck {
    /// Belongs to the schema of every service: the row that `store` writes.
    public static let migration = Migration(
        "store probe",
        """
        CREATE TABLE store_probe (id INTEGER PRIMARY KEY CHECK (id = 1), probed_at INTEGER NOT NULL) STRICT;
        """
    )

    /// Whether the service's own store takes a durable write.
    static func store(_ store: any Store, time: any TimeSource) -> HealthCheck {
        HealthCheck(name: "store", isEssential: true) {
            let written = try? await store.transaction { transaction in
                try transaction.run(
                    """
                    INSERT INTO store_probe (id, probed_at) VALUES (1, ?)
                    ON CONFLICT (id) DO UPDATE SET probed_at = excluded.probed_at
                    """,
                    [.integer(time.now.milliseconds)]
                )
            }
            return written != nil
        }
    }
}
