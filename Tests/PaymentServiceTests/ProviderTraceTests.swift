import Correlation
import Money
import ProviderAPI
import ServiceClient
import ServiceKit
import Storage
import TestSupport
import Testing
import Tracing

@testable import PaymentService

@Suite("Traces of payments through providers", .timeLimit(.minutes(5)))
struct ProviderTraceTests {
    private let tracer = RecordingTracer()
    private let gateway = ScriptedGateway(.unknown(.timedOut), .succeeded)
    private let fixture: PaymentFixture

    init() throws {
        let test = try TestEnvironment(migrations: PaymentSchema.migrations)
        fixture = PaymentFixture(
            test, test.environment(recording: tracer),
            SimulatedCard(allowsTestMethods: false, sleeper: test.sleeper), gateway: gateway,
            configuration: .steady, isEager: false)
    }

    @Test("each asking of a provider is a client's span that points to the request by which the payment was made")
    func askings() async throws {
        let id = try await fixture.run { client in
            let account = try await client.openWallet("ann")
            let body = #"{"type":"deposit","sourceAccountId":"\#(account)","amount":1,"provider":"paypal"}"#
            let headers = [
                "X-Request-ID": "request-1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ]
            let made = try await client.post("/payments", body, key: "k", user: "ann", headers: headers)
            try await fixture.workAll()
            return try #require(made.text("paymentId"))
        }
        let request = try #require(tracer.spans("POST /payments").first)
        let askings = tracer.spans.filter { $0.name.hasPrefix("paypal ") }
        #expect(askings.map(\.name) == ["paypal pay", "paypal pay"])
        #expect(
            askings.map { $0.attributes.get("checkout.provider.answer") } == [.string("unknown"), .string("succeeded")])
        #expect(askings.map { $0.status?.code } == [.error, nil])
        for (asking, trace) in zip(askings, gateway.traces) {
            #expect(asking.kind == .client)
            #expect(asking.links.map(\.spanID) == [request.trace.spanID])
            #expect(asking.trace.traceID != request.trace.traceID)
            #expect(asking.trace == trace)
            #expect(asking.attributes.get("checkout.payment_id") == .string(id))
            #expect(asking.attributes.get("checkout.request_id") == .string("request-1"))
        }
        #expect(gateway.requestIDs == ["request-1", "request-1"])
    }

    @Test("what no sampler has chosen is not recorded")
    func unsampled() async throws {
        try await fixture.run { client in
            let account = try await client.openWallet("ann")
            let body = #"{"type":"deposit","sourceAccountId":"\#(account)","amount":1,"provider":"paypal"}"#
            let headers = ["traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"]
            _ = try await client.post("/payments", body, key: "k", user: "ann", headers: headers)
            try await fixture.workAll()
        }
        #expect(tracer.spans.filter { $0.name.hasPrefix("paypal ") }.isEmpty)
        #expect(gateway.names == ["pay", "pay"])
    }
}
