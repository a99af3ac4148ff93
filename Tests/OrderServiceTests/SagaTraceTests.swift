import Correlation
import ServiceClient
import ServiceKit
import StrictJSON
import TestSupport
import Testing
import Tracing

@testable import OrderService

@Suite("The trace of a checkout", .timeLimit(.minutes(5)))
struct SagaTraceTests {
    private static let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
    private let tracer = RecordingTracer()
    private let fixture: OrderFixture

    init() throws {
        let test = try TestEnvironment(migrations: OrderSchema.migrations)
        fixture = OrderFixture(test, test.environment(recording: tracer))
    }

    private func steps() -> [RecordingTracer.Recorded] { tracer.spans.filter { $0.name.hasPrefix("saga ") } }

    @Test("each step is a span under the request, and its calls are made in it")
    func steps() async throws {
        let answer = try await fixture.checkout()
        let request = try #require(tracer.spans("POST /checkout").first)
        #expect(steps().map(\.name) == ["saga reserve", "saga charge", "saga complete"])
        for (step, context) in zip(steps(), fixture.shop.contexts) {
            #expect(step.isUnder(request))
            #expect(step.kind == .internal)
            #expect(step.attributes.get("checkout.order_id") == answer.text("orderId").map { .string($0) })
            #expect(context.trace == step.trace)
        }
        #expect(steps().map { $0.attributes.get("checkout.saga.step") } == ["reserving", "charging", "completing"])
        #expect(request.attributes.get("checkout.order_id") == answer.text("orderId").map { .string($0) })
    }

    @Test("a refusal is an answer, and what has none is an error; compensations are steps")
    func outcomes() async throws {
        fixture.shop.script(.charge, .refuse(Refusal(code: "payment-declined", detail: "No.", declineCode: "x")))
        fixture.shop.script(.release, .lose(.timedOut))
        _ = try await fixture.checkout()
        #expect(steps().map(\.name) == ["saga reserve", "saga charge", "saga release"])
        #expect(steps().map { $0.status?.code } == [nil, nil, nil])
        #expect(steps()[1].attributes.get("checkout.saga.event") == .string("charge refused: x"))
        // Repeated within the step, attempt by attempt.
        #expect(fixture.shop.contexts.map(\.attempt) == [1, 1, 1, 2])
        #expect(fixture.shop.contexts[3].trace == fixture.shop.contexts[2].trace)
    }

    @Test("a step without a definite answer is an error")
    func trouble() async throws {
        fixture.shop.script(.reserve) { _ in .lose(.timedOut) }
        _ = try await fixture.checkout()
        let step = try #require(steps().first)
        #expect(step.status?.code == .error)
        #expect(step.attributes.get("error.type") == .string("no_definite_answer"))
    }

    @Test(
        "an order that is taken up goes on in a trace that links to the one in which it began, under the same request")
    func resumed() async throws {
        fixture.shop.script(.charge) { $0 <= 40 ? .lose(.timedOut) : .answer }
        try await fixture.run { client in
            let answer = try await client.checkout(
                headers: ["X-Request-ID": "request-1", "traceparent": "\(Self.header)-01"])
            #expect(answer.status == 504)
        }
        try await fixture.idle()
        let request = try #require(tracer.spans("POST /checkout").first)
        try await fixture.recover()
        let resumes = tracer.spans("resume checkout")
        #expect(!resumes.isEmpty)
        for resume in resumes {
            #expect(resume.trace.traceID != request.trace.traceID)
            #expect(resume.trace.numbers.parent == 0)
            #expect(resume.links.map(\.header) == [request.trace.header])
            #expect(resume.attributes.get("checkout.request_id") == .string("request-1"))
        }
        let last = try #require(steps().last)
        #expect(last.name == "saga complete")
        #expect(last.isUnder(try #require(resumes.last)))
        #expect(fixture.shop.contexts.allSatisfy { $0.requestID.value == "request-1" })
    }

    @Test("a trace that its caller does not record makes no spans, and none when it is taken up")
    func unsampled() async throws {
        fixture.shop.script(.charge) { $0 <= 40 ? .lose(.timedOut) : .answer }
        try await fixture.run { client in
            _ = try await client.checkout(headers: ["traceparent": "\(Self.header)-00"])
        }
        try await fixture.idle()
        try await fixture.recover()
        #expect(tracer.spans.isEmpty)
        #expect(fixture.shop.operations.last == .complete)
    }

    @Test("an order of an older version, which has no origin, is taken up under a name and a trace of its own")
    func older() async throws {
        let left = try await fixture.leave(.reserving)
        try await fixture.recover()
        #expect(try await fixture.status(of: left) == .completed)
        #expect(tracer.spans("resume checkout").map(\.links.count) == [0])
        #expect(Set(fixture.shop.contexts.map(\.requestID)).count == 1)
    }
}
