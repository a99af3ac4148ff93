import ProviderAPI
import Resilience
import ServiceClient
import ServiceKit
import StrictJSON
import Synchronization
import TestSupport
import Testing

@testable import MockProvider

/// A mock provider in memory, and whoever receives its messages.
struct Fixture: Sendable {
    static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    let parts: TestEnvironment
    let receiver = Receiver()
    let service: BuiltService

    init(_ change: (inout MockProviderConfiguration) throws -> Void = { _ in }) throws {
        var configuration = MockProviderConfiguration()
        let secret = try #require(WebhookSecret(Self.secret))
        for provider in Provider.allCases {
            configuration.targets[provider] = .init(url: "http://payment/webhooks/\(provider)", secrets: [secret])
        }
        try change(&configuration)
        parts = try TestEnvironment(migrations: ProviderSchema.migrations)
        service = MockProvider.build(parts.environment, configuration, transport: receiver)
    }

    func run<T: Sendable>(_ body: @escaping @Sendable (RouteClient) async throws -> T) async throws -> T {
        try await service.test(in: parts.environment, body)
    }

    /// One turn of a periodic task.
    func turn(_ name: String) async throws {
        let tasks = service.background.compactMap { $0 as? PeriodicTask }
        try await #require(tasks.first { $0.name == name }).body()
    }

    func deliver() async throws { try await turn("deliver webhooks") }
    func settle() async throws { try await turn("settle pending payments") }
}

/// Receives messages and answers with the next of its statuses; 204 when there are no more.
final class Receiver: Transport {
    private let state = Mutex<(statuses: [Int], requests: [ServiceRequest])>(([], []))

    var requests: [ServiceRequest] { state.withLock { $0.requests } }

    /// The types of the messages received, in order.
    var types: [String] {
        get throws { try requests.map { try WebhookEvent(json: try JSONParser.parse($0.body)).type } }
    }

    func answer(_ statuses: Int...) {
        state.withLock { $0.statuses += statuses }
    }

    func send(_ request: ServiceRequest) async throws(TransportError) -> ServiceResponse {
        let status = state.withLock { state in
            state.requests.append(request)
            return state.statuses.isEmpty ? 204 : state.statuses.removeFirst()
        }
        // Stands for no answer at all.
        guard status != 0 else { throw .timedOut }
        return ServiceResponse(status: status, body: [])
    }
}

extension RouteClient {
    func pay(
        _ reference: String, _ minorUnits: Int = 2000, kind: String = "charge", token: String? = nil,
        key: String? = nil, provider: String = "stripe"
    ) async throws -> RouteResponse {
        let token = token.map { #","token":"\#($0)""# } ?? ""
        let body = """
            {"reference":"\(reference)","kind":"\(kind)","amount":{"amount":\(minorUnits),"currency":"USD"}\(token)}
            """
        return try await post("/\(provider)/v1/payments", body, key: key ?? reference)
    }

    func refund(
        _ reference: String, of payment: String, _ minorUnits: Int, currency: String = "USD"
    ) async throws -> RouteResponse {
        let body = """
            {"reference":"\(reference)","paymentReference":"\(payment)",\
            "amount":{"amount":\(minorUnits),"currency":"\(currency)"}}
            """
        return try await post("/stripe/v1/refunds", body, key: reference)
    }

    func cancel(_ reference: String) async throws -> RouteResponse {
        try await post("/stripe/v1/payments/\(reference)/cancel", "{}")
    }

    func payment(_ reference: String) async throws -> RouteResponse {
        try await get("/stripe/v1/payments/\(reference)")
    }
}
