import CoreMetrics
import Foundation
import HTTPTypes
import Hummingbird
import Idempotency
import Prometheus
import Resilience
import ServiceClient
import Storage
import TestSupport
import Testing

@testable import ServiceKit

@Suite("Metrics of every service")
struct MetricsTests {
    private let registry = PrometheusRegistry(ServiceMetrics.families)

    private func value(_ series: String) -> String? {
        registry.text.split(separator: "\n").first { $0.hasPrefix("\(series) ") }
            .map { String($0.dropFirst(series.count + 1)) }
    }

    // MARK: - Requests

    @Test("an answer is timed by method, route and status, and a word that is no method is no label")
    func requests() {
        let metrics = RequestMetrics(registry)
        metrics.record(method: "GET", route: "/items/{id}", status: 200, duration: .milliseconds(20))
        metrics.record(method: "GET", route: "/items/{id}", status: 200, duration: .milliseconds(30))
        metrics.record(method: "BREW", route: "none", status: 405, duration: .zero)
        let name = "http_server_request_duration_seconds_count"
        let labels = #"http_request_method="GET",http_response_status_code="200",http_route="/items/{id}""#
        #expect(value("\(name){\(labels)}") == "2")
        #expect(value("http_server_request_duration_seconds_sum{\(labels)}") == "0.05")
        #expect(
            value(#"\#(name){http_request_method="_OTHER",http_response_status_code="405",http_route="none"}"#) == "1")
    }

    // MARK: - Calls

    private struct Answering: Transport {
        let answer: Result<ServiceResponse, TransportError>

        func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse { try answer.get() }
    }

    @Test(
        "a call is timed by its target and path, with its status or why there was none",
        arguments: [
            (.success(ServiceResponse(status: 503, body: [])), "503", ""), (.failure(.timedOut), "", "timed_out"),
            (.failure(.notSent("no")), "", "not_sent"), (.failure(.connectionLost("cut")), "", "connection_lost"),
        ] as [(Result<ServiceResponse, TransportError>, String, String)])
    func calls(answer: Result<ServiceResponse, TransportError>, status: String, error: String) async throws {
        let transport = MeasuredTransport(
            Answering(answer: answer), to: "stock", at: "http://stock:1", metrics: registry, time: ManualTime())
        let request = ServiceRequest(
            method: "POST", url: "http://stock:1/reserve", headers: [], body: [], timeout: .seconds(1))
        _ = try? await transport.send(request)
        let labels = """
            error_type="\(error)",http_request_method="POST",http_response_status_code="\(status)",\
            http_route="/reserve",server_address="stock"
            """
        #expect(value("http_client_request_duration_seconds_count{\(labels)}") == "1")
    }

    // MARK: - Keys and the store

    private func claim(_ keys: any IdempotencyStore, _ key: String, _ field: String, in store: any Store) async throws
        -> Claim
    {
        try await store.transaction { transaction in
            try keys.claim(
                IdempotencyScope(user: "", operation: "sell", key: IdempotencyKey(stored: key)),
                fingerprint: Fingerprint(operation: "sell", fields: [field]), reference: "r",
                now: Timestamp(milliseconds: 0), in: transaction)
        }
    }

    @Test("a keyed command is counted by what its key was; one that is undone is not counted")
    func keys() async throws {
        let test = try TestEnvironment(migrations: [])
        let keys = MeasuredIdempotencyStore(test.environment.keys, metrics: registry)
        _ = try await claim(keys, "a", "1", in: test.store)
        _ = try await claim(keys, "a", "1", in: test.store)
        _ = try await claim(keys, "a", "2", in: test.store)
        struct Undone: Error {}
        await #expect(throws: Undone.self) {
            try await test.store.transaction { transaction in
                _ = try keys.claim(
                    IdempotencyScope(user: "", operation: "sell", key: IdempotencyKey(stored: "b")),
                    fingerprint: Fingerprint(operation: "sell", fields: []), reference: "r",
                    now: Timestamp(milliseconds: 0), in: transaction)
                throw Undone()
            }
        }
        let name = "idempotency_requests_total"
        #expect(value(#"\#(name){operation="sell",result="first"}"#) == "1")
        #expect(value(#"\#(name){operation="sell",result="in_progress"}"#) == "1")
        #expect(value(#"\#(name){operation="sell",result="mismatch"}"#) == "1")
        #expect(value(#"\#(name){operation="sell",result="replayed"}"#) == "0")
    }

    private struct Failing: Store {
        func perform(_ body: @escaping @Sendable (any Transaction) throws -> Void) async throws {
            throw StoreError.full
        }
    }

    @Test("a transaction is timed when it is durable, and counted by why when the store does not take it")
    func store() async throws {
        let test = try TestEnvironment(migrations: [])
        _ = try await MeasuredStore(test.store, metrics: registry, time: test.time).transaction { _ in 1 }
        await #expect(throws: StoreError.self) {
            try await MeasuredStore(Failing(), metrics: registry, time: test.time).transaction { _ in 1 }
        }
        #expect(value("store_transaction_duration_seconds_count") == "1")
        #expect(value(#"store_transaction_failures_total{error_type="full"}"#) == "1")
    }

    // MARK: - The route

    @Test(
        "the route reads the process and the service before it answers, and answers also when the service cannot be read"
    )
    func route() async throws {
        let test = try TestEnvironment(migrations: [])
        let environment = ServiceEnvironment(
            store: test.store, keys: test.environment.keys, time: test.time, logger: test.environment.logger,
            registry: registry)
        struct Unreadable: Error {}
        let service = BuiltService(routes: RouteCatalogue(), measure: { throw Unreadable() })
        let answer = try await service.test(in: environment) { try await $0.get("/metrics") }
        #expect(answer.status == 200)
        #expect(answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8")
        #expect(try test.log.events("some metrics cannot be read").count == 1)
        #expect(value(#"checkout_build_info{version="\#(checkoutVersion)"}"#) == "1")
        #if os(Linux)
            #expect(value("process_resident_memory_bytes").flatMap { Double($0) }.map { $0 > 1_000_000 } == true)
            #expect(value("process_open_fds").flatMap { Double($0) }.map { $0 > 2 } == true)
            #expect(value("process_start_time_seconds").flatMap { Double($0) }.map { $0 > 1_600_000_000 } == true)
        #endif
    }

    @Test(
        "a scrape says how large the store's files are and how much room their disk has; a store in memory has neither"
    )
    func storeFiles() async throws {
        let test = try TestEnvironment(migrations: [])
        func scrape(_ path: String?) async throws {
            let environment = ServiceEnvironment(
                store: test.store, storePath: path, keys: test.environment.keys, logger: test.environment.logger,
                registry: registry)
            let service = BuiltService(routes: RouteCatalogue())
            #expect(try await service.test(in: environment) { try await $0.get("/metrics") }.status == 200)
        }
        try await scrape(nil)
        #expect(value(#"store_size_bytes{file="database"}"#) == nil)
        #expect(value("store_disk_available_bytes") == nil)

        let directory = try TemporaryDirectory()
        let path = "\(directory.path)/some.sqlite"
        try Data(count: 8192).write(to: URL(filePath: path))
        try await scrape(path)
        #expect(value(#"store_size_bytes{file="database"}"#) == "8192")
        #expect(value(#"store_size_bytes{file="log"}"#) == "0")
        try Data(count: 4152).write(to: URL(filePath: "\(path)-wal"))
        try await scrape(path)
        #expect(value(#"store_size_bytes{file="log"}"#) == "4152")
        let size = try #require(value("store_disk_size_bytes").flatMap { Double($0) })
        let available = try #require(value("store_disk_available_bytes").flatMap { Double($0) })
        #expect(available > 0 && available <= size && size > 8192)

        try FileManager.default.removeItem(atPath: path)
        try await scrape(path)
        #expect(try test.log.events("some metrics cannot be read").count == 1)
        #expect(value(#"store_size_bytes{file="database"}"#) == "8192")
    }

    @Test("what is not measured has no route")
    func noRoute() async throws {
        let test = try TestEnvironment(migrations: [])
        let answer = try await BuiltService(routes: RouteCatalogue()).test(in: test.environment) {
            try await $0.get("/metrics")
        }
        #expect(answer.code == "not-found")
    }
}
