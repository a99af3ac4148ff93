import HTTPTypes
import Resilience
import ServiceKit
import Storage
import StrictJSON
import TestSupport
import Testing

@Suite("Health routes")
struct HealthRoutesTests {
    private func check(_ name: String, isEssential: Bool, isHealthy: Bool) -> HealthCheck {
        HealthCheck(name: name, isEssential: isEssential) { isHealthy }
    }

    private func fixture(_ checks: [HealthCheck] = [], drain: DrainState = DrainState()) throws -> ServiceFixture {
        ServiceFixture(try TestEnvironment(migrations: []), drain: drain, checks: checks)
    }

    @Test("a service whose checks all pass is healthy and says what it has checked (OP-01)")
    func healthy() async throws {
        let answer = try await fixture([check("stock", isEssential: false, isHealthy: true)]).answer(.get, "/health")
        #expect(answer.status == 200)
        #expect(answer.header("Content-Type") == "application/json")
        #expect(answer.header("Cache-Control") == "no-store")
        #expect(
            answer.body == """
                {"status":"healthy","checks":{"store":{"status":"up"},"stock":{"status":"up"}},"draining":false,\
                "version":"\(checkoutVersion)"}
                """)
    }

    @Test("a dependency that is down makes a service degraded, and it still answers 200")
    func degraded() async throws {
        let answer = try await fixture([
            check("stock", isEssential: false, isHealthy: true), check("payment", isEssential: false, isHealthy: false),
        ]).answer(.get, "/health")
        #expect(answer.status == 200)
        #expect(try answer.member("status") == .string("degraded"))
        #expect(
            try answer.member("checks")
                == .object([
                    .init("store", .object([.init("status", .string("up"))])),
                    .init("stock", .object([.init("status", .string("up"))])),
                    .init("payment", .object([.init("status", .string("down"))])),
                ]))
    }

    @Test("what else a check shows stands beside its status, in the order of the names")
    func details() async throws {
        let check = HealthCheck(
            name: "stock", isEssential: false, details: { ["since": "12:00", "breaker": "half_open"] },
            isHealthy: { true })
        let answer = try await fixture([check]).answer(.get, "/health")
        #expect(
            answer.body.contains(#""stock":{"status":"up","breaker":"half_open","since":"12:00"}"#), "\(answer.body)")
    }

    @Test("without something essential a service is unhealthy and not ready, whatever else works")
    func unhealthy() async throws {
        let fixture = try fixture([
            check("disk", isEssential: true, isHealthy: false), check("payment", isEssential: false, isHealthy: false),
        ])
        let health = try await fixture.answer(.get, "/health")
        #expect(health.status == 503)
        #expect(try health.member("status") == .string("unhealthy"))
        let ready = try await fixture.answer(.get, "/health/ready")
        #expect(ready.status == 503)
        #expect(try ready.member("status") == .string("unready"))
    }

    @Test("a store that cannot be written makes a service unhealthy and not ready")
    func storeDown() async throws {
        let fixture = try fixture()
        try fixture.test.store.close()
        let health = try await fixture.answer(.get, "/health")
        #expect(health.status == 503)
        #expect(try health.member("status") == .string("unhealthy"))
        #expect(
            try health.member("checks") == .object([.init("store", .object([.init("status", .string("down"))]))]))
        #expect(try await fixture.answer(.get, "/health/ready").status == 503)
    }

    @Test("the check of the store writes to it, again and again")
    func storeProbe() async throws {
        let fixture = try fixture()
        for _ in 0..<2 {
            #expect(try await fixture.answer(.get, "/health/ready").status == 200)
            let probed = try await fixture.test.store.transaction { transaction in
                try transaction.all("SELECT probed_at FROM store_probe LIMIT 10", []) { $0.integer(0) }
            }
            #expect(probed == [fixture.test.time.now.milliseconds])
            fixture.test.time.advance(by: .seconds(1))
        }
    }

    @Test("a service is ready although a dependency is down")
    func readyWithoutDependency() async throws {
        let answer = try await fixture([check("payment", isEssential: false, isHealthy: false)])
            .answer(.get, "/health/ready")
        #expect(answer.status == 200)
        #expect(try answer.member("status") == .string("ready"))
    }

    @Test("a service that is stopping is not ready and says so, but it is alive and healthy (OP-07)")
    func draining() async throws {
        let fixture = try fixture(drain: try await DrainState.stopped())
        let ready = try await fixture.answer(.get, "/health/ready")
        #expect(ready.status == 503)
        #expect(try ready.member("status") == .string("draining"))
        let health = try await fixture.answer(.get, "/health")
        #expect(health.status == 200)
        #expect(try health.member("draining") == .bool(true))
        #expect(try await fixture.answer(.get, "/health/live").status == 200)
    }

    @Test("a service is alive whatever its checks say")
    func live() async throws {
        let fixture = try fixture([check("disk", isEssential: true, isHealthy: false)])
        try fixture.test.store.close()
        let answer = try await fixture.answer(.get, "/health/live")
        #expect(answer.status == 200)
        #expect(answer.body == #"{"status":"alive"}"#)
    }
}
